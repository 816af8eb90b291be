// carp/advert_socket.h
//
// The wire: one raw socket per interface and family for IP protocol 112, shared by all vhids of that interface.
// IPv4 to 224.0.0.18 or unicast peers, IPv6 to ff02::12 or peers; TTL and hop limit 255, TOS 0x10 (IPv4), DF;
// multicast loop off; bound to the device; received TTL, source and destination are told. Needs CAP_NET_RAW.
//
// The group is left by the kernel when the interface goes, so a socket does not outlive its ifindex: open another.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "carp/advert.h"
#include "carp/settings.h"
#include "supervisor/base/fd.h"
#include "supervisor/base/result.h"

namespace koi::carp {

class AdvertSocket {
public:
    // Joins the group at once; the interface must exist. index: its ifindex.
    static Result<AdvertSocket> open(Family, const std::string& interface, unsigned index);

    // One that an earlier program of ours has opened.
    static AdvertSocket adopt(Fd fd, Family family, unsigned index) { return {std::move(fd), family, index}; }

    int fd() const { return fd_.get(); }
    unsigned index() const { return index_; }
    Family family() const { return family_; }

    // One copy to the group, or one to each peer of this family. source: our own address of this family; bytes: asked
    // for each way, because what is signed depends on it. A send error is told (ENETDOWN, ENOBUFS ...), the rest is
    // still tried.
    using Bytes = std::function<std::vector<std::uint8_t>(const Envelope&)>;
    Outcome send(const std::vector<IpAddress>& peers, const IpAddress& source, const Bytes& bytes);

    // Everything that waits, at most `most` packets so that a flood cannot hold up a timer. Never blocks.
    std::vector<Packet> receive(std::size_t most = 64);

private:
    AdvertSocket(Fd fd, Family family, unsigned index) : fd_(std::move(fd)), family_(family), index_(index) {}
    Fd fd_;
    Family family_;
    unsigned index_;
};

}  // namespace koi::carp
