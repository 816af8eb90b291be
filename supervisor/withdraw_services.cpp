#include "supervisor/withdraw_services.h"

#include <unistd.h>

#include "ipvs/diff.h"
#include "ipvs/kernel/kernel_datapath.h"
#include "supervisor/owned.h"

namespace koi {

namespace {

constexpr const char* deed = "letting go of virtual servers";

}  // namespace

Result<std::vector<std::string>> withdraw_services(const std::string& state_directory, ipvs::Datapath& datapath) {
    const auto owned = read_owned(state_directory);
    if (!owned) return during(deed, owned.error());
    const auto there = datapath.read();
    if (!there) return during(deed, there.error());
    const auto changes = ipvs::diff(ipvs::only(*there, *owned), {});
    const auto refused = datapath.change(changes);
    if (!refused) return during(deed, refused.error());
    std::string failed;
    for (const auto& one : *refused)
        failed += (failed.empty() ? "" : "; ") + ipvs::text(one.change) + ": " + one.error.story;
    if (!failed.empty()) return Error{std::string(deed) + ": " + failed};
    // Removed, not written empty: whoever runs this may be another user than the next koid.
    ::unlink((state_directory + "/owned.json").c_str());
    std::vector<std::string> told;
    for (const auto& change : changes) told.push_back(ipvs::text(change));
    return told;
}

Result<std::vector<std::string>> withdraw_services(const std::string& state_directory) {
    const auto owned = read_owned(state_directory);
    if (!owned) return during(deed, owned.error());
    if (owned->empty()) return std::vector<std::string>{};
    auto datapath = ipvs::KernelDatapath::open();
    if (!datapath) return during(deed, datapath.error());
    return withdraw_services(state_directory, **datapath);
}

}  // namespace koi
