// ipvs/kernel/kernel_datapath.h
//
// ip_vs over generic netlink (ipvs.md 1 and 3): one long-lived socket, many messages per send, an acknowledgement
// asked of the last only, every wait with a time limit (2 s), after which the socket is opened anew. Needs
// CAP_NET_ADMIN in the initial user namespace. Opening resolves the family by name, which loads the module where the
// kernel may.
//
// Errors in words: no ip_vs → "the kernel has no IPVS; load it with: modprobe ip_vs"; EPERM → what privilege; ENOENT
// on a scheduler → which module would bring it.
#pragma once

#include <memory>

#include "ipvs/datapath.h"

namespace koi::ipvs {

class KernelDatapath : public Datapath {
public:
    static Result<std::unique_ptr<KernelDatapath>> open();
    ~KernelDatapath() override;
    Result<Table> read() override;
    Result<Counters> counters() override;
    Result<std::vector<Refused>> change(const std::vector<Change>&) override;
    // /proc/net/ip_vs, a tenth of a dump's cost. Blind for scheduler flags, thresholds, tunnels and engines
    // (proc_table.h).
    bool looks_like(const Table&) override;

private:
    struct Inside;
    explicit KernelDatapath(std::unique_ptr<Inside>);
    std::unique_ptr<Inside> inside_;
};

}  // namespace koi::ipvs
