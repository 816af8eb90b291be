// supervisor/vip/lease.h
//
// The kernel as a dead man's switch: an nftables table `koi` (families inet and arp) in which a guarded vip answers
// nothing unless it is leased, and a lease ends by itself. Whoever holds the lease renews it while it may speak for
// the vip; killed, hung or stopped, it needs to do nothing to fall silent.
//
//     set held   the vips this node has taken: packets for and from them, ARP and neighbour discovery are dropped
//     set leased … unless they are in here; each element times out (milliseconds, rounded up to the kernel's tick)
//
// What this machine says to itself is left alone: its own clients are served as soon as the address is here, and
// nobody else can tell. The tables outlive this process on purpose. A new one finds the leases of the old one as they
// are. A vip that is not in `held` is none of this table's business: backends that carry it on their loopback are not
// disturbed.
//
// Every call is one transaction: all of it happens or nothing. Nothing here waits: the kernel has answered when it
// has taken the request. Needs CAP_NET_ADMIN, and a kernel with nf_tables for inet and arp.
#pragma once

#include <memory>
#include <vector>

#include "supervisor/base/address.h"
#include "supervisor/base/clock.h"
#include "supervisor/base/result.h"

namespace koi::vip {

class KernelLease {
public:
    // Makes the tables, or puts their rules right; what is held and leased stays. The Error says what is missing.
    static Result<KernelLease> open();
    KernelLease(KernelLease&&) noexcept;
    KernelLease& operator=(KernelLease&&) noexcept;
    ~KernelLease();

    // From now on these answer only while they are leased, for `rest` from now (0: not at all). Again: a renewal,
    // longer or shorter.
    Outcome lease(const std::vector<IpAddress>&, Duration rest);
    // These answer as if there were no lease.
    Outcome let_go(const std::vector<IpAddress>&);

    // Takes the tables away, whoever made them, and makes none. Nothing there: done.
    static Outcome remove();

private:
    struct Inside;
    explicit KernelLease(std::unique_ptr<Inside>);
    std::unique_ptr<Inside> inside_;
};

}  // namespace koi::vip
