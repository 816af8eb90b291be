#include "carp/advert_socket.h"

#include <net/if.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <optional>

namespace koi::carp {

namespace {

constexpr int carp_protocol = 112;
constexpr std::uint8_t every_hop = 255;  // receivers refuse less: what crossed a router was not said on this link
constexpr std::uint8_t low_delay = 0x10;
// The usual room holds some 280 adverts, which a flood fills within 3 ms, and then adverts of peers are lost as well.
constexpr int room = 4 << 20;

IpAddress group_of(Family f) {
    return f == Family::ipv4 ? IpAddress::v4({224, 0, 0, 18})
                             : IpAddress::v6({0xFF, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x12});
}

// Options are set one after the other; the first that fails is the story.
struct Options {
    int fd;
    std::optional<Error> failed;

    template <class Value>
    void set(int level, int name, const Value& value, const char* deed) {
        if (!failed && ::setsockopt(fd, level, name, &value, sizeof value) != 0) failed = from_errno(deed);
    }
};

void bind_to_device(Options& o, const std::string& interface) {
    ifreq device{};
    interface.copy(device.ifr_name, IFNAMSIZ - 1);
    o.set(SOL_SOCKET, SO_BINDTODEVICE, device, "binding the socket to the interface");
}

void prepare_v4(Options& o, unsigned index) {
    ip_mreqn group{};
    group.imr_multiaddr.s_addr = htonl(INADDR_UNSPEC_GROUP | 18);
    group.imr_ifindex = static_cast<int>(index);
    o.set(IPPROTO_IP, IP_TTL, int{every_hop}, "setting the TTL");
    o.set(IPPROTO_IP, IP_MULTICAST_TTL, int{every_hop}, "setting the multicast TTL");
    o.set(IPPROTO_IP, IP_MULTICAST_LOOP, 0, "turning multicast loop off");
    o.set(IPPROTO_IP, IP_MULTICAST_ALL, 0, "keeping to our own group");
    o.set(IPPROTO_IP, IP_TOS, int{low_delay}, "setting the type of service");
    o.set(IPPROTO_IP, IP_MTU_DISCOVER, int{IP_PMTUDISC_DO}, "forbidding fragments");
    o.set(IPPROTO_IP, IP_MULTICAST_IF, group, "choosing the interface for multicast");
    o.set(IPPROTO_IP, IP_ADD_MEMBERSHIP, group, "joining 224.0.0.18");
}

void prepare_v6(Options& o, unsigned index) {
    ipv6_mreq group{};
    std::ranges::copy(group_of(Family::ipv6).bytes(), group.ipv6mr_multiaddr.s6_addr);
    group.ipv6mr_interface = index;
    o.set(IPPROTO_IPV6, IPV6_UNICAST_HOPS, int{every_hop}, "setting the hop limit");
    o.set(IPPROTO_IPV6, IPV6_MULTICAST_HOPS, int{every_hop}, "setting the multicast hop limit");
    o.set(IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 0, "turning multicast loop off");
    o.set(IPPROTO_IPV6, IPV6_MULTICAST_IF, static_cast<int>(index), "choosing the interface for multicast");
    o.set(IPPROTO_IPV6, IPV6_RECVPKTINFO, 1, "asking for the destination of what arrives");
    o.set(IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1, "asking for the hop limit of what arrives");
    o.set(IPPROTO_IPV6, IPV6_JOIN_GROUP, group, "joining ff02::12");
}

// One control message that names our source address and the interface.
template <class Info>
struct Control {
    alignas(cmsghdr) char room[CMSG_SPACE(sizeof(Info))] = {};

    void put(msghdr& message, int level, int type, const Info& info) {
        message.msg_control = room;
        message.msg_controllen = sizeof room;
        cmsghdr* head = CMSG_FIRSTHDR(&message);
        head->cmsg_level = level;
        head->cmsg_type = type;
        head->cmsg_len = CMSG_LEN(sizeof(Info));
        std::memcpy(CMSG_DATA(head), &info, sizeof info);
    }
};

std::optional<Error> send_to(int fd, const std::vector<std::uint8_t>& bytes, const Envelope& envelope,
                             unsigned index) {
    iovec part{const_cast<std::uint8_t*>(bytes.data()), bytes.size()};
    sockaddr_storage to;
    msghdr message{};
    message.msg_namelen = envelope.destination.to_sockaddr(to, 0, index);
    message.msg_name = &to;
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    Control<in_pktinfo> v4;
    Control<in6_pktinfo> v6;
    if (envelope.source.is_v4()) {
        in_pktinfo info{};
        info.ipi_ifindex = static_cast<int>(index);
        std::memcpy(&info.ipi_spec_dst, envelope.source.bytes().data(), 4);
        v4.put(message, IPPROTO_IP, IP_PKTINFO, info);
    } else {
        in6_pktinfo info{};
        info.ipi6_ifindex = index;
        std::memcpy(&info.ipi6_addr, envelope.source.bytes().data(), 16);
        v6.put(message, IPPROTO_IPV6, IPV6_PKTINFO, info);
    }
    while (::sendmsg(fd, &message, 0) < 0) {
        if (errno == EINTR) continue;
        return from_errno("sending an advert from " + envelope.source.text() + " to " + envelope.destination.text());
    }
    return std::nullopt;
}

// A raw IPv4 socket hands over the header as well. Ethernet pads short frames, so the header's length counts.
std::optional<Packet> open_v4(std::span<const std::uint8_t> packet) {
    if (packet.size() < sizeof(iphdr)) return std::nullopt;
    iphdr head;
    std::memcpy(&head, packet.data(), sizeof head);
    const std::size_t header = head.ihl * 4u, whole = std::min<std::size_t>(ntohs(head.tot_len), packet.size());
    if (head.version != 4 || header < sizeof head || header > whole) return std::nullopt;
    const auto address = [&](std::size_t at) { return *IpAddress::from_bytes(packet.subspan(at, 4)); };
    const auto payload = packet.first(whole).subspan(header);
    return Packet{{address(offsetof(iphdr, saddr)), address(offsetof(iphdr, daddr)), head.ttl},
                  {payload.begin(), payload.end()}};
}

// A raw IPv6 socket hands over the payload; the rest comes beside it. A packet without it counts as from afar.
std::optional<Packet> open_v6(std::span<const std::uint8_t> payload, msghdr& message) {
    const auto source = IpAddress::from_sockaddr(static_cast<const sockaddr*>(message.msg_name));
    if (!source) return std::nullopt;
    Packet packet{{*source, group_of(Family::ipv6), 0}, {payload.begin(), payload.end()}};
    for (cmsghdr* c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
        if (c->cmsg_level != IPPROTO_IPV6) continue;
        if (c->cmsg_type == IPV6_HOPLIMIT) {
            int hops = 0;
            std::memcpy(&hops, CMSG_DATA(c), sizeof hops);
            packet.envelope.ttl = static_cast<std::uint8_t>(hops);
        } else if (c->cmsg_type == IPV6_PKTINFO) {
            in6_pktinfo info;
            std::memcpy(&info, CMSG_DATA(c), sizeof info);
            packet.envelope.destination = *IpAddress::from_bytes(info.ipi6_addr.s6_addr);
        }
    }
    return packet;
}

}  // namespace

Result<AdvertSocket> AdvertSocket::open(Family family, const std::string& interface, unsigned index) {
    const std::string deed = "opening the " + std::string(to_string(family)) + " advert socket on " + interface;
    Fd fd(::socket(af(family), SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, carp_protocol));
    if (!fd && errno == EPERM)
        return Error{deed + ": not permitted; raw sockets need root or the capability CAP_NET_RAW", EPERM};
    if (!fd) return from_errno(deed);
    (void)::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);  // unprivileged: as it is
    Options options{fd.get(), {}};
    bind_to_device(options, interface);
    if (family == Family::ipv4) prepare_v4(options, index);
    if (family == Family::ipv6) prepare_v6(options, index);
    if (options.failed) return during(deed, *options.failed);
    return AdvertSocket(std::move(fd), family, index);
}

Outcome AdvertSocket::send(const std::vector<IpAddress>& peers, const IpAddress& source, const Bytes& bytes) {
    std::vector<IpAddress> destinations;
    std::ranges::copy_if(peers, std::back_inserter(destinations),
                         [this](const IpAddress& peer) { return peer.family() == family_; });
    if (peers.empty()) destinations.push_back(group_of(family_));
    // What is said to nobody must not count as said: the lease would go on.
    if (destinations.empty()) return Error{"no peer has an " + std::string(to_string(family_)) + " address"};
    std::optional<Error> first;
    for (const auto& to : destinations) {
        const Envelope envelope{source, to, every_hop};
        auto failed = send_to(fd_.get(), bytes(envelope), envelope, index_);
        if (failed && !first) first = std::move(failed);
    }
    if (first) return *first;
    return Done{};
}

std::vector<Packet> AdvertSocket::receive(std::size_t most) {
    std::vector<Packet> packets;
    for (std::size_t n = 0; n < most; ++n) {
        std::array<std::uint8_t, 2048> bytes;  // longer ones are cut: nobody reads past the trailer
        alignas(cmsghdr) char control[256];
        sockaddr_storage from{};
        iovec part{bytes.data(), bytes.size()};
        msghdr message{};
        message.msg_name = &from;
        message.msg_namelen = sizeof from;
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        message.msg_control = control;
        message.msg_controllen = sizeof control;
        const ssize_t length = ::recvmsg(fd_.get(), &message, 0);
        if (length < 0 && errno == EINTR) continue;
        if (length < 0) break;  // nothing left; or ENETDOWN, which the link's end tells, too
        const auto got = std::span(bytes).first(static_cast<std::size_t>(length));
        auto packet = family_ == Family::ipv4 ? open_v4(got) : open_v6(got, message);
        if (packet) packets.push_back(std::move(*packet));
    }
    return packets;
}

}  // namespace koi::carp
