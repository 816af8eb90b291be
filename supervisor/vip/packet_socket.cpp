#include "supervisor/vip/packet_socket.h"

#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <string>

namespace koi::vip {

namespace {

constexpr std::size_t largest_frame = 1600;  // ARP and advertisements are far smaller; the rest of a frame is cut off

// A frame of a VLAN we are not in arrives without its tag and is marked as meant for another host. The same address
// may live there and is nobody's business here.
constexpr std::uint32_t packet_type = static_cast<std::uint32_t>(SKF_AD_OFF) + SKF_AD_PKTTYPE;

constexpr sock_filter only_arp[] = {
    BPF_STMT(BPF_LD | BPF_B | BPF_ABS, packet_type),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_OTHERHOST, 1, 0),
    BPF_STMT(BPF_RET | BPF_K, largest_frame),
    BPF_STMT(BPF_RET | BPF_K, 0),
};

constexpr sock_filter only_advertisements[] = {
    BPF_STMT(BPF_LD | BPF_B | BPF_ABS, packet_type),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_OTHERHOST, 5, 0),
    BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 14 + 6),  // IPv6: next header
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_ICMPV6, 0, 3),
    BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 14 + 40),  // ICMPv6: type
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 136, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, largest_frame),
    BPF_STMT(BPF_RET | BPF_K, 0),
};

sockaddr_ll place(unsigned index, std::uint16_t protocol) {
    sockaddr_ll where{};
    where.sll_family = AF_PACKET;
    where.sll_protocol = htons(protocol);
    where.sll_ifindex = static_cast<int>(index);
    return where;
}

// A socket for one protocol costs nothing to the traffic of any other; one for all protocols would look at every
// packet that the balancer forwards.
Result<Fd> open_one(unsigned index, std::uint16_t protocol, std::span<const sock_filter> filter) {
    Fd fd(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));  // 0: hears nothing until it is bound
    if (!fd && errno == EPERM) return Error{"opening a packet socket: needs CAP_NET_RAW", EPERM};
    if (!fd) return from_errno("opening a packet socket");
    if (protocol != 0) {
        const sock_fprog program{static_cast<unsigned short>(filter.size()), const_cast<sock_filter*>(filter.data())};
        if (::setsockopt(fd.get(), SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) != 0)
            return from_errno("filtering a packet socket");
    }
    const auto where = place(index, protocol);
    if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&where), sizeof where) != 0)
        return from_errno("binding a packet socket to interface number " + std::to_string(index));
    return fd;
}

Outcome wait_for(const Fd& both, const Fd& one) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = one.get();
    if (::epoll_ctl(both.get(), EPOLL_CTL_ADD, one.get(), &event) != 0)
        return from_errno("waiting for two packet sockets");
    return Done{};
}

void take_all(const Fd& fd, std::size_t most, std::vector<Frame>& frames) {
    std::uint8_t frame[largest_frame];
    while (frames.size() < most) {
        const ssize_t n = ::recv(fd.get(), frame, sizeof frame, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == ENETDOWN)
            continue;  // told once when the interface goes down; what came before is there
        if (n <= 0) return;
        frames.emplace_back(frame, frame + n);
    }
}

}  // namespace

Result<PacketSocket> PacketSocket::open(unsigned index, bool listen) {
    PacketSocket opened(index);
    auto arp = open_one(index, listen ? ETH_P_ARP : 0, only_arp);
    if (!arp) return arp.error();
    opened.arp_ = std::move(*arp);
    if (!listen) return opened;

    auto neighbours = open_one(index, ETH_P_IPV6, only_advertisements);
    if (!neighbours) return neighbours.error();
    opened.neighbours_ = std::move(*neighbours);
    opened.both_ = Fd(::epoll_create1(EPOLL_CLOEXEC));
    if (!opened.both_) return from_errno("waiting for two packet sockets");
    for (const Fd* one : {&opened.arp_, &opened.neighbours_})
        if (auto done = wait_for(opened.both_, *one); !done) return done.error();
    return opened;
}

Outcome PacketSocket::send(std::span<const std::uint8_t> frame) {
    if (frame.size() < ETH_HLEN)
        return Error{"a frame of " + std::to_string(frame.size()) + " bytes is no frame", EINVAL};
    auto where = place(index_, static_cast<std::uint16_t>(frame[12] << 8 | frame[13]));
    where.sll_halen = ETH_ALEN;
    std::copy_n(frame.begin(), ETH_ALEN, where.sll_addr);
    const auto* to = reinterpret_cast<const sockaddr*>(&where);
    if (::sendto(arp_.get(), frame.data(), frame.size(), MSG_DONTWAIT, to, sizeof where) < 0)
        return from_errno("sending on interface number " + std::to_string(index_));
    return Done{};
}

std::vector<Frame> PacketSocket::receive(std::size_t most) {
    std::vector<Frame> frames;
    take_all(arp_, neighbours_ ? (most + 1) / 2 : most, frames);
    if (neighbours_) take_all(neighbours_, most, frames);
    return frames;
}

}  // namespace koi::vip
