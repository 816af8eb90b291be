#include "supervisor/speaker/withdraw.h"

#include <algorithm>

#include "supervisor/speaker/resume.h"
#include "supervisor/vip/kernel_addresses.h"
#include "supervisor/vip/lease.h"

namespace koi::speaker {

Result<std::vector<vip::Held>> withdraw(const std::string& runtime_directory, After after) {
    auto kernel = vip::KernelAddresses::open();
    if (!kernel) return during("letting go of addresses", kernel.error());
    const auto found = kernel->addresses();
    if (!found) return during("letting go of addresses", found.error());
    const auto recorded = read_held(runtime_directory);

    std::vector<vip::Held> gone;
    std::string failed;
    bool some_stay = false;
    for (const auto& address : *found) {
        const bool ours = address.ours || (recorded && recorded->contains(address.held));
        if (!ours) continue;
        if (after == After::death && address.ends) {
            some_stay = true;
            continue;
        }
        if (const auto done = kernel->remove(address.held))
            gone.push_back(address.held);
        else
            failed += (failed.empty() ? "" : "; ") + done.error().story;
    }
    // The table only says when an address must not answer: without addresses nobody needs it. Where one could not be
    // removed, it stays and keeps that one silent.
    if (failed.empty() && !some_stay) (void)vip::KernelLease::remove();
    if (!failed.empty()) return Error{"letting go of addresses: " + failed};
    // An unreadable record is no reason to keep an address, and nothing is held any more.
    if (!some_stay) (void)write_held(runtime_directory, {});
    return gone;
}

}  // namespace koi::speaker
