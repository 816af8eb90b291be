// ipvs/kernel/proc_table.h
//
// /proc/net/ip_vs: the kernel's table as text, in a tenth of the time a netlink dump takes. It shows services,
// schedulers, persistence, backends, forwarding methods and weights. It does not show scheduler flags, thresholds,
// tunnels, engines, the family of a firewall mark, or one-packet of IPv6: for those a full read is due now and then.
// Pure.
#pragma once

#include <string_view>

#include "ipvs/table.h"

namespace koi::ipvs {

class ProcTable {
public:
    // True if the text shows this table, as far as it shows anything. Any doubt is false.
    bool shows(std::string_view text, const Table&);

private:
    // Persistence is printed in the kernel's ticks. How many there are in a second is learned from the first table
    // that matches, and must stay so.
    std::uint32_t ticks_per_second_ = 0;
};

}  // namespace koi::ipvs
