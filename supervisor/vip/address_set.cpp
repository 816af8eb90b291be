#include "supervisor/vip/address_set.h"

namespace koi::vip {

std::string Held::text() const { return prefix.text() + " on " + interface; }

std::vector<AddressChange> diff(const std::set<Held>& observed, const std::set<Held>& desired) {
    std::set<IpAddress> leaving;
    std::vector<AddressChange> removals, moves, changes;
    for (auto held = observed.rbegin(); held != observed.rend(); ++held) {
        if (desired.contains(*held)) continue;
        leaving.insert(held->prefix.address);
        removals.push_back(RemoveAddress{*held});
    }
    for (const auto& held : desired) {
        if (observed.contains(held)) continue;
        auto& when = leaving.contains(held.prefix.address) ? moves : changes;
        when.push_back(AddAddress{held});
    }
    changes.insert(changes.end(), removals.begin(), removals.end());
    changes.insert(changes.end(), moves.begin(), moves.end());
    return changes;
}

}  // namespace koi::vip
