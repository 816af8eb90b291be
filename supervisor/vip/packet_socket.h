// supervisor/vip/packet_socket.h
//
// Sends whole frames on one interface, and hears ARP and neighbour advertisements, for strangers who claim a vip.
// Needs CAP_NET_RAW.
//
// Hearing costs the other traffic nothing: it is one socket for ARP and one for IPv6, each with a filter in the
// kernel that lets only ARP and ICMPv6 type 136 of this very network (no other VLAN) through. fd() is readable when
// either is.
#pragma once

#include <span>
#include <vector>

#include "supervisor/base/fd.h"
#include "supervisor/base/result.h"
#include "supervisor/vip/announce.h"

namespace koi::vip {

class PacketSocket {
public:
    // listen: also receive; without it the socket hears nothing.
    static Result<PacketSocket> open(unsigned index, bool listen);
    // One that an earlier program of ours has opened. Closing one and opening another costs some 30 ms.
    struct Kept {
        unsigned index = 0;
        int arp = -1, neighbours = -1, both = -1;
    };
    Kept keep() const { return {index_, arp_.get(), neighbours_.get(), both_.get()}; }
    static PacketSocket adopt(const Kept& kept) {
        PacketSocket socket(kept.index);
        socket.arp_ = Fd(kept.arp);
        socket.neighbours_ = Fd(kept.neighbours);
        socket.both_ = Fd(kept.both);
        return socket;
    }

    int fd() const { return both_ ? both_.get() : arp_.get(); }
    Outcome send(std::span<const std::uint8_t> frame);
    // What waits, without blocking. At most half of it ARP, so that a flood of one kind does not hide the other.
    std::vector<Frame> receive(std::size_t most = 32);

private:
    explicit PacketSocket(unsigned index) : index_(index) {}
    unsigned index_;
    Fd arp_;         // also the one that sends
    Fd neighbours_;  // these two only when listening
    Fd both_;
};

}  // namespace koi::vip
