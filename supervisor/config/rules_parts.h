// supervisor/config/rules_parts.h — the three parts of rules.h, and what they tell each other.
#pragma once

#include <array>
#include <map>
#include <string_view>

#include "supervisor/config/draft.h"

namespace koi::config {

struct VipOwner {
    Vhid vhid = *Vhid::of(1);
    Spot spot;
};
using Vips = std::map<IpAddress, VipOwner>;

// A static pool as the rules about services see it. nullptr: none such.
struct PoolView {
    const PoolDraft* pool = nullptr;
    const discovery::Member* of_family[2] = {nullptr, nullptr};  // the first IPv4, the first IPv6 member
    std::map<Port, Spot> ports;                                  // each port with the first member that has it
    bool used = false;
};
using Pools = std::map<std::string_view, PoolView>;

Vips check_vips(const Draft&, Notes&);                     // rules 1–6, 19, 20
Pools check_pools(const Draft&, const Vips&, Notes&);      // rules 17, 18
void check_services(Draft&, const Vips&, Pools&, Notes&);  // rules 7–16

}  // namespace koi::config
