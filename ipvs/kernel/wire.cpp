#include "ipvs/kernel/wire.h"

#include <arpa/inet.h>
#include <linux/genetlink.h>
#include <linux/ip_vs.h>
#include <linux/netlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "supervisor/base/check.h"

namespace koi::ipvs::wire {

namespace {

constexpr std::uint32_t flag_persistent = IP_VS_SVC_F_PERSISTENT, flag_one_packet = IP_VS_SVC_F_ONEPACKET,
                        flags_of_scheduler = IP_VS_SVC_F_SCHED1 | IP_VS_SVC_F_SCHED2 | IP_VS_SVC_F_SCHED3;

// ---- writing ----------------------------------------------------------------------------------------------------

// One message under construction at the end of a buffer; its length is filled in at the end.
class Message {
public:
    Message(Bytes& out, Envelope to, std::uint8_t command, std::uint16_t extra_flags = 0)
        : out_(out), begin_(out.size()), sequence_(to.sequence), family_(to.family), flags_(extra_flags) {
        out_.resize(begin_ + NLMSG_HDRLEN);
        const genlmsghdr head{.cmd = command, .version = IPVS_GENL_VERSION, .reserved = 0};
        append(&head, sizeof head);
    }
    std::size_t finish() {
        const nlmsghdr head{.nlmsg_len = static_cast<std::uint32_t>(out_.size() - begin_),
                            .nlmsg_type = family_,
                            .nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags_),
                            .nlmsg_seq = sequence_,
                            .nlmsg_pid = 0};
        std::memcpy(out_.data() + begin_, &head, sizeof head);
        return begin_;
    }

    template <class T>
    void number(std::uint16_t type, T value) {
        attribute(type, &value, sizeof value);
    }
    void port(std::uint16_t type, std::uint16_t value) { number(type, htons(value)); }
    void string(std::uint16_t type, const std::string& s) { attribute(type, s.c_str(), s.size() + 1); }
    void address(std::uint16_t type, const IpAddress& a) {
        std::array<std::uint8_t, 16> bytes{};  // 16 also for IPv4
        std::ranges::copy(a.bytes(), bytes.begin());
        attribute(type, bytes.data(), bytes.size());
    }
    std::size_t open_nest(std::uint16_t type) {
        const auto at = out_.size();
        attribute(static_cast<std::uint16_t>(type | NLA_F_NESTED), nullptr, 0);
        return at;
    }
    void close_nest(std::size_t at) {
        const auto length = static_cast<std::uint16_t>(out_.size() - at);
        std::memcpy(out_.data() + at, &length, sizeof length);
    }

private:
    void append(const void* data, std::size_t size) {
        const auto at = out_.size();
        out_.resize(at + NLA_ALIGN(size));
        if (size) std::memcpy(out_.data() + at, data, size);
    }
    void attribute(std::uint16_t type, const void* data, std::size_t size) {
        const nlattr head{.nla_len = static_cast<std::uint16_t>(NLA_HDRLEN + size), .nla_type = type};
        append(&head, sizeof head);
        append(data, size);
    }

    Bytes& out_;
    std::size_t begin_;
    std::uint32_t sequence_;
    std::uint16_t family_, flags_;
};

std::uint16_t af_of(Family f) { return static_cast<std::uint16_t>(af(f)); }

void write_key(Message& m, const ServiceKey& key) {
    m.number(IPVS_SVC_ATTR_AF, af_of(family(key)));
    if (const auto* mark = std::get_if<Fwmark>(&key)) {
        m.number(IPVS_SVC_ATTR_FWMARK, mark->mark);
        return;
    }
    const auto& at = std::get<Place>(key);
    m.number(IPVS_SVC_ATTR_PROTOCOL, static_cast<std::uint16_t>(at.protocol));
    m.address(IPVS_SVC_ATTR_ADDR, at.address);
    m.port(IPVS_SVC_ATTR_PORT, at.port);
}

// IPv4 wants a mask in network order, IPv6 a prefix length, never 0, even where nothing is persistent. A length that
// does not exist is the kernel's to refuse, where it can see it.
std::uint32_t netmask(Family f, std::uint8_t granularity) {
    if (f == Family::ipv6) return granularity ? granularity : 128;
    return granularity == 0 || granularity > 32 ? 0xFFFFFFFF : htonl(0xFFFFFFFFu << (32 - granularity));
}

void write_service(Message& m, const ServiceKey& key, const Service& s) {
    m.string(IPVS_SVC_ATTR_SCHED_NAME, s.scheduler);
    const std::uint32_t flags = (s.scheduler_flags & flags_of_scheduler) | (s.persistence ? flag_persistent : 0) |
                                (s.one_packet ? flag_one_packet : 0);
    // Every bit is ours to set, but for the one by which the kernel marks what stands in its table.
    m.number(IPVS_SVC_ATTR_FLAGS, ip_vs_flags{.flags = flags, .mask = ~std::uint32_t{IP_VS_SVC_F_HASHED}});
    m.number(IPVS_SVC_ATTR_TIMEOUT, s.persistence);
    m.number(IPVS_SVC_ATTR_NETMASK, netmask(family(key), s.granularity));
    // Absent takes an engine away that was there.
    if (!s.persistence_engine.empty()) m.string(IPVS_SVC_ATTR_PE_NAME, s.persistence_engine);
}

void write_key(Message& m, const BackendKey& key, Family of_service) {
    m.address(IPVS_DEST_ATTR_ADDR, key.address);
    m.port(IPVS_DEST_ATTR_PORT, key.port);
    if (key.address.family() != of_service) m.number(IPVS_DEST_ATTR_ADDR_FAMILY, af_of(key.address.family()));
}

std::uint32_t method_of(Forward f) {
    switch (f) {
        case Forward::nat: return IP_VS_CONN_F_MASQ;
        case Forward::local: return IP_VS_CONN_F_LOCALNODE;
        case Forward::tun: return IP_VS_CONN_F_TUNNEL;
        case Forward::dr: return IP_VS_CONN_F_DROUTE;
        case Forward::bypass: return IP_VS_CONN_F_BYPASS;
    }
    return IP_VS_CONN_F_MASQ;
}

void write_backend(Message& m, const Backend& b) {
    m.number(IPVS_DEST_ATTR_FWD_METHOD, method_of(b.forward));
    m.number(IPVS_DEST_ATTR_WEIGHT, b.weight);
    m.number(IPVS_DEST_ATTR_U_THRESH, b.upper_threshold);
    m.number(IPVS_DEST_ATTR_L_THRESH, b.lower_threshold);
    if (b.forward != Forward::tun || b.tunnel == Tunnel::ipip) return;  // absent means ipip, also in an edit
    m.number(IPVS_DEST_ATTR_TUN_TYPE,
             static_cast<std::uint8_t>(b.tunnel == Tunnel::gue ? IP_VS_CONN_F_TUNNEL_TYPE_GUE
                                                               : IP_VS_CONN_F_TUNNEL_TYPE_GRE));
    m.port(IPVS_DEST_ATTR_TUN_PORT, b.tunnel == Tunnel::gue ? b.tunnel_port : std::uint16_t{0});
    m.number(IPVS_DEST_ATTR_TUN_FLAGS, b.tunnel_flags);
}

// The two nests of every change: which service, and where one is meant, which backend.
std::size_t write_change(Bytes& out, Envelope to, std::uint8_t command, const ServiceKey& key,
                         const Service* service) {
    Message m(out, to, command);
    const auto nest = m.open_nest(IPVS_CMD_ATTR_SERVICE);
    write_key(m, key);
    if (service) write_service(m, key, *service);
    m.close_nest(nest);
    return m.finish();
}

std::size_t write_change(Bytes& out, Envelope to, std::uint8_t command, const ServiceKey& key,
                         const BackendKey& backend, const Backend* value) {
    Message m(out, to, command);
    const auto of = m.open_nest(IPVS_CMD_ATTR_SERVICE);
    write_key(m, key);
    m.close_nest(of);
    const auto nest = m.open_nest(IPVS_CMD_ATTR_DEST);
    write_key(m, backend, family(key));
    if (value) write_backend(m, *value);
    m.close_nest(nest);
    return m.finish();
}

struct Write {
    Bytes& out;
    Envelope to;
    std::size_t operator()(const AddService& c) const {
        return write_change(out, to, IPVS_CMD_NEW_SERVICE, c.key, &c.service);
    }
    std::size_t operator()(const EditService& c) const {
        return write_change(out, to, IPVS_CMD_SET_SERVICE, c.key, &c.service);
    }
    std::size_t operator()(const RemoveService& c) const {
        return write_change(out, to, IPVS_CMD_DEL_SERVICE, c.key, nullptr);
    }
    std::size_t operator()(const AddBackend& c) const {
        return write_change(out, to, IPVS_CMD_NEW_DEST, c.key, c.backend, &c.value);
    }
    std::size_t operator()(const EditBackend& c) const {
        return write_change(out, to, IPVS_CMD_SET_DEST, c.key, c.backend, &c.value);
    }
    std::size_t operator()(const RemoveBackend& c) const {
        return write_change(out, to, IPVS_CMD_DEL_DEST, c.key, c.backend, nullptr);
    }
};

// ---- reading ----------------------------------------------------------------------------------------------------

// The attributes of one level by their number. Later ones win, as in the kernel.
class Attributes {
public:
    explicit Attributes(View bytes) {
        while (bytes.size() >= NLA_HDRLEN) {
            nlattr head;
            std::memcpy(&head, bytes.data(), sizeof head);
            if (head.nla_len < NLA_HDRLEN || head.nla_len > bytes.size()) return;
            const std::size_t type = head.nla_type & NLA_TYPE_MASK;
            if (type < found_.size())
                found_[type] = bytes.subspan(NLA_HDRLEN, head.nla_len - std::size_t{NLA_HDRLEN});
            bytes = bytes.subspan(std::min<std::size_t>(NLA_ALIGN(head.nla_len), bytes.size()));
        }
    }
    bool has(std::size_t type) const { return found_[type].data() != nullptr; }
    View bytes(std::size_t type) const { return found_[type]; }

    template <class T>
    std::optional<T> number(std::size_t type) const {
        if (found_[type].size() < sizeof(T)) return std::nullopt;
        T value;
        std::memcpy(&value, found_[type].data(), sizeof value);
        return value;
    }
    std::optional<std::uint16_t> port(std::size_t type) const {
        const auto n = number<std::uint16_t>(type);
        return n ? std::optional(ntohs(*n)) : std::nullopt;
    }
    std::string string(std::size_t type) const {
        const auto* begin = reinterpret_cast<const char*>(found_[type].data());
        const std::string_view all(begin, found_[type].size());
        return std::string(all.substr(0, all.find('\0')));
    }
    std::optional<IpAddress> address(std::size_t type, Family f) const {
        const std::size_t length = f == Family::ipv4 ? 4 : 16;
        if (found_[type].size() < length) return std::nullopt;
        std::array<std::uint8_t, 16> bytes{};
        std::memcpy(bytes.data(), found_[type].data(), length);
        return IpAddress::from_bytes({bytes.data(), length});
    }

private:
    std::array<View, 24> found_{};
};

// The nest of this number in a row, which is a generic-netlink header and attributes.
std::optional<Attributes> nest_of(View row, std::size_t number) {
    if (row.size() < GENL_HDRLEN) return std::nullopt;
    const Attributes top(row.subspan(GENL_HDRLEN));
    if (!top.has(number)) return std::nullopt;
    return Attributes(top.bytes(number));
}

std::optional<Family> family_of(std::uint16_t number) {
    if (number == AF_INET) return Family::ipv4;
    if (number == AF_INET6) return Family::ipv6;
    return std::nullopt;
}

std::optional<ServiceKey> read_key(const Attributes& a) {
    const auto family = family_of(a.number<std::uint16_t>(IPVS_SVC_ATTR_AF).value_or(0));
    if (!family) return std::nullopt;
    if (const auto mark = a.number<std::uint32_t>(IPVS_SVC_ATTR_FWMARK)) return Fwmark{*mark, *family};
    const auto protocol = a.number<std::uint16_t>(IPVS_SVC_ATTR_PROTOCOL);
    const auto address = a.address(IPVS_SVC_ATTR_ADDR, *family);
    const auto port = a.port(IPVS_SVC_ATTR_PORT);
    if (!protocol || *protocol > 255 || !address || !port) return std::nullopt;
    return Place{static_cast<Protocol>(*protocol), *address, *port};
}

std::uint8_t granularity_of(Family f, std::uint32_t netmask) {
    const auto full = f == Family::ipv4 ? 32u : 128u;
    std::uint32_t length = netmask;
    if (f == Family::ipv4) {
        const auto mask = ntohl(netmask);
        length = static_cast<std::uint32_t>(std::countl_one(mask));
        if (length < 32 && mask << length != 0) return odd_granularity;
    }
    if (length == full) return 0;
    return length == 0 || length > full ? odd_granularity : static_cast<std::uint8_t>(length);
}

Service read_service(const Attributes& a, Family f) {
    Service s;
    s.scheduler = a.string(IPVS_SVC_ATTR_SCHED_NAME);
    const auto flags = a.number<ip_vs_flags>(IPVS_SVC_ATTR_FLAGS).value_or(ip_vs_flags{}).flags;
    s.scheduler_flags = flags & flags_of_scheduler;
    s.one_packet = flags & flag_one_packet;
    if (flags & flag_persistent) {
        s.persistence = a.number<std::uint32_t>(IPVS_SVC_ATTR_TIMEOUT).value_or(0);
        s.granularity = granularity_of(f, a.number<std::uint32_t>(IPVS_SVC_ATTR_NETMASK).value_or(0));
    }
    s.persistence_engine = a.string(IPVS_SVC_ATTR_PE_NAME);
    return s;
}

// Kernels since 4.1 count in 64 bits, in a nest of its own; the older one wraps.
Traffic read_traffic(const Attributes& a, std::size_t wide, std::size_t narrow) {
    const bool is_wide = a.has(wide);
    const Attributes stats(a.bytes(is_wide ? wide : narrow));
    const auto count = [&](std::size_t type) -> std::uint64_t {
        if (is_wide || type == IPVS_STATS_ATTR_INBYTES || type == IPVS_STATS_ATTR_OUTBYTES)
            return stats.number<std::uint64_t>(type).value_or(0);
        return stats.number<std::uint32_t>(type).value_or(0);
    };
    return {.connections = count(IPVS_STATS_ATTR_CONNS),
            .packets_in = count(IPVS_STATS_ATTR_INPKTS),
            .packets_out = count(IPVS_STATS_ATTR_OUTPKTS),
            .bytes_in = count(IPVS_STATS_ATTR_INBYTES),
            .bytes_out = count(IPVS_STATS_ATTR_OUTBYTES),
            .connections_per_second = count(IPVS_STATS_ATTR_CPS),
            .packets_in_per_second = count(IPVS_STATS_ATTR_INPPS),
            .packets_out_per_second = count(IPVS_STATS_ATTR_OUTPPS),
            .bytes_in_per_second = count(IPVS_STATS_ATTR_INBPS),
            .bytes_out_per_second = count(IPVS_STATS_ATTR_OUTBPS)};
}

std::optional<BackendKey> read_key(const Attributes& a, Family of_service) {
    std::optional<Family> family = of_service;
    if (const auto own = a.number<std::uint16_t>(IPVS_DEST_ATTR_ADDR_FAMILY)) family = family_of(*own);
    if (!family) return std::nullopt;
    const auto address = a.address(IPVS_DEST_ATTR_ADDR, *family);
    const auto port = a.port(IPVS_DEST_ATTR_PORT);
    if (!address || !port) return std::nullopt;
    return BackendKey{*address, *port};
}

Forward forward_of(std::uint32_t method) {
    switch (method & IP_VS_CONN_F_FWD_MASK) {
        case IP_VS_CONN_F_MASQ: return Forward::nat;
        case IP_VS_CONN_F_LOCALNODE: return Forward::local;
        case IP_VS_CONN_F_TUNNEL: return Forward::tun;
        case IP_VS_CONN_F_DROUTE: return Forward::dr;
        default: return Forward::bypass;  // 4, and three numbers of no meaning that the kernel lets pass
    }
}

Backend read_backend(const Attributes& a) {
    const auto u32 = [&](std::size_t type) { return a.number<std::uint32_t>(type).value_or(0); };
    Backend b;
    b.forward = forward_of(u32(IPVS_DEST_ATTR_FWD_METHOD));
    b.weight = u32(IPVS_DEST_ATTR_WEIGHT);
    b.upper_threshold = u32(IPVS_DEST_ATTR_U_THRESH);
    b.lower_threshold = u32(IPVS_DEST_ATTR_L_THRESH);
    if (b.forward != Forward::tun) return b;
    const auto type = a.number<std::uint8_t>(IPVS_DEST_ATTR_TUN_TYPE).value_or(IP_VS_CONN_F_TUNNEL_TYPE_IPIP);
    if (type == IP_VS_CONN_F_TUNNEL_TYPE_GUE) b.tunnel = Tunnel::gue;
    if (type == IP_VS_CONN_F_TUNNEL_TYPE_GRE) b.tunnel = Tunnel::gre;
    if (b.tunnel == Tunnel::gue) b.tunnel_port = a.port(IPVS_DEST_ATTR_TUN_PORT).value_or(0);
    if (b.tunnel != Tunnel::ipip) b.tunnel_flags = a.number<std::uint16_t>(IPVS_DEST_ATTR_TUN_FLAGS).value_or(0);
    return b;
}

// An errno as the kernel sends it: negative, at the front of the payload.
int code_in(View payload) {
    int code = 0;
    if (payload.size() >= sizeof code) std::memcpy(&code, payload.data(), sizeof code);
    return code < 0 && code > -4096 ? -code : 0;
}

}  // namespace

std::size_t append(Bytes& out, const Change& change, Envelope to) { return std::visit(Write{out, to}, change); }

std::size_t append_list_services(Bytes& out, Envelope to) {
    return Message(out, to, IPVS_CMD_GET_SERVICE, NLM_F_DUMP).finish();
}

std::size_t append_list_backends(Bytes& out, const ServiceKey& key, Envelope to) {
    Message m(out, to, IPVS_CMD_GET_DEST, NLM_F_DUMP);
    const auto nest = m.open_nest(IPVS_CMD_ATTR_SERVICE);
    write_key(m, key);
    m.close_nest(nest);
    return m.finish();
}

void ask_for_answer(Bytes& out, std::size_t begin) {
    KOI_CHECK(begin + sizeof(nlmsghdr) <= out.size());
    nlmsghdr head;
    std::memcpy(&head, out.data() + begin, sizeof head);
    head.nlmsg_flags |= NLM_F_ACK;
    std::memcpy(out.data() + begin, &head, sizeof head);
}

std::optional<Reply> next_reply(View& rest, std::uint16_t family) {
    if (rest.size() < NLMSG_HDRLEN) return std::nullopt;
    nlmsghdr head;
    std::memcpy(&head, rest.data(), sizeof head);
    if (head.nlmsg_len < NLMSG_HDRLEN || head.nlmsg_len > rest.size()) return std::nullopt;
    const View payload = rest.subspan(NLMSG_HDRLEN, head.nlmsg_len - std::size_t{NLMSG_HDRLEN});
    rest = rest.subspan(std::min<std::size_t>(NLMSG_ALIGN(head.nlmsg_len), rest.size()));

    Reply reply{.sequence = head.nlmsg_seq, .row = {}};
    if (head.nlmsg_type == NLMSG_DONE) reply.kind = Reply::Kind::end;
    if (head.nlmsg_type == NLMSG_ERROR) reply.kind = Reply::Kind::answer;
    if (reply.kind != Reply::Kind::other) reply.code = code_in(payload);
    if (head.nlmsg_type == family && family >= NLMSG_MIN_TYPE) {
        reply.kind = Reply::Kind::row;
        reply.row = payload;
    }
    return reply;
}

std::optional<ServiceRow> decode_service(View row) {
    const auto a = nest_of(row, IPVS_CMD_ATTR_SERVICE);
    if (!a) return std::nullopt;
    const auto key = read_key(*a);
    if (!key) return std::nullopt;
    return ServiceRow{*key, read_service(*a, family(*key)),
                      read_traffic(*a, IPVS_SVC_ATTR_STATS64, IPVS_SVC_ATTR_STATS)};
}

std::optional<BackendRow> decode_backend(View row, Family of_service) {
    const auto a = nest_of(row, IPVS_CMD_ATTR_DEST);
    if (!a) return std::nullopt;
    const auto key = read_key(*a, of_service);
    if (!key) return std::nullopt;
    const auto u32 = [&](std::size_t type) { return a->number<std::uint32_t>(type).value_or(0); };
    return BackendRow{*key,
                      read_backend(*a),
                      {.traffic = read_traffic(*a, IPVS_DEST_ATTR_STATS64, IPVS_DEST_ATTR_STATS),
                       .active = u32(IPVS_DEST_ATTR_ACTIVE_CONNS),
                       .inactive = u32(IPVS_DEST_ATTR_INACT_CONNS),
                       .persistent = u32(IPVS_DEST_ATTR_PERSIST_CONNS)}};
}

}  // namespace koi::ipvs::wire
