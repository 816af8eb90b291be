#include "supervisor/vip/announce.h"

#include <algorithm>
#include <span>

namespace koi::vip {

namespace {

// Where things are in a frame. Ethernet, then ARP (RFC 826) or IPv6 (RFC 8200) and neighbour discovery (RFC 4861).
constexpr std::size_t at_source_mac = 6, at_ethertype = 12, at_payload = 14;
constexpr std::size_t arp_size = 28, at_arp_sender_mac = 8, at_arp_sender_ip = 14;
constexpr std::size_t ip6_size = 40, at_ip6_next = 6, at_ip6_hops = 7;
constexpr std::size_t nd_size = 24, at_nd_checksum = 2, at_nd_target = 8, at_nd_option = 24;

constexpr std::uint16_t ethertype_arp = 0x0806, ethertype_ipv6 = 0x86DD;
constexpr std::uint8_t icmp6 = 58, solicitation = 135, advertisement = 136;
constexpr std::uint8_t flag_router = 0x80, flag_override = 0x20;
constexpr std::uint8_t target_mac_option = 2;
constexpr Mac broadcast = {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF};

void append(Frame& f, std::span<const std::uint8_t> some) { f.insert(f.end(), some.begin(), some.end()); }
void append(Frame& f, std::initializer_list<std::uint8_t> some) { f.insert(f.end(), some.begin(), some.end()); }
void append16(Frame& f, std::uint16_t n) {
    append(f, {static_cast<std::uint8_t>(n >> 8), static_cast<std::uint8_t>(n)});
}

Frame ethernet(const Mac& to, const Mac& from, std::uint16_t type) {
    Frame f;
    f.reserve(at_payload + ip6_size + nd_size + 8);
    append(f, to);
    append(f, from);
    append16(f, type);
    return f;
}

enum class Arp : std::uint8_t { request = 1, reply = 2 };

Frame arp(Arp operation, const Mac& ours, const IpAddress& sender, const Mac& target_mac, const IpAddress& target) {
    Frame f = ethernet(broadcast, ours, ethertype_arp);
    append(f, {0, 1, 8, 0, 6, 4, 0, static_cast<std::uint8_t>(operation)});
    append(f, ours);
    append(f, sender.bytes());
    append(f, target_mac);
    append(f, target.bytes());
    return f;
}

std::uint16_t checksum(std::span<const std::uint8_t> some, std::uint32_t sum) {
    for (std::size_t i = 0; i < some.size(); ++i) sum += i % 2 ? some[i] : static_cast<std::uint32_t>(some[i] << 8);
    while (sum >> 16) sum = (sum & 0xFFFF) + (sum >> 16);
    return static_cast<std::uint16_t>(~sum);
}

// A multicast group's Ethernet address ends in the group's last four bytes (RFC 2464).
Mac mac_of(const IpAddress& group) {
    const auto b = group.bytes();
    return {0x33, 0x33, b[12], b[13], b[14], b[15]};
}

Frame neighbour_discovery(const Mac& ours, const IpAddress& from, const IpAddress& to,
                          std::span<const std::uint8_t> body) {
    Frame f = ethernet(mac_of(to), ours, ethertype_ipv6);
    append(f, {0x60, 0, 0, 0});
    append16(f, static_cast<std::uint16_t>(body.size()));
    append(f, {icmp6, 255});
    append(f, from.bytes());
    append(f, to.bytes());
    append(f, body);
    // The sum runs over both addresses, the length, the next header and the body (RFC 8200, 8.1).
    const auto summed = std::span(f).subspan(at_payload + 8);
    const auto sum = checksum(summed, static_cast<std::uint32_t>(body.size()) + icmp6);
    const std::size_t at = at_payload + ip6_size + at_nd_checksum;
    f[at] = static_cast<std::uint8_t>(sum >> 8);
    f[at + 1] = static_cast<std::uint8_t>(sum);
    return f;
}

Frame neighbour_advertisement(const IpAddress& vip, const Mac& ours, bool router) {
    Frame body = {
        advertisement, 0, 0, 0, static_cast<std::uint8_t>(flag_override | (router ? flag_router : 0)), 0, 0, 0};
    append(body, vip.bytes());
    append(body, {target_mac_option, 1});
    append(body, ours);
    const auto all_nodes = IpAddress::v6({0xFF, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});
    return neighbour_discovery(ours, vip, all_nodes, body);
}

Frame neighbour_solicitation(const IpAddress& vip, const Mac& ours) {
    Frame body = {solicitation, 0, 0, 0, 0, 0, 0, 0};
    append(body, vip.bytes());
    const auto v = vip.bytes();
    const auto group = IpAddress::v6({0xFF, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xFF, v[13], v[14], v[15]});
    return neighbour_discovery(ours, IpAddress::v6({}), group, body);
}

using Bytes = std::span<const std::uint8_t>;

Mac mac_at(Bytes some, std::size_t at) {
    Mac mac;
    std::ranges::copy(some.subspan(at, mac.size()), mac.begin());
    return mac;
}

std::optional<Stranger> read_arp(Bytes arp) {
    constexpr std::uint8_t ethernet_and_ipv4[] = {0, 1, 8, 0, 6, 4};
    if (arp.size() < arp_size || !std::ranges::equal(arp.first(6), ethernet_and_ipv4)) return std::nullopt;
    return Stranger{*IpAddress::from_bytes(arp.subspan(at_arp_sender_ip, 4)), mac_at(arp, at_arp_sender_mac)};
}

// The checksum is not looked at: between virtual interfaces of one host it has not been filled in yet.
std::optional<Stranger> read_advertisement(Bytes ip, const Mac& sender) {
    if (ip.size() < ip6_size + nd_size || ip[at_ip6_next] != icmp6 || ip[at_ip6_hops] != 255) return std::nullopt;
    const auto body = ip.subspan(ip6_size);
    if (body[0] != advertisement || body[1] != 0) return std::nullopt;
    Stranger found{*IpAddress::from_bytes(body.subspan(at_nd_target, 16)), sender};
    for (auto options = body.subspan(at_nd_option); options.size() >= 8 && options[1] != 0;) {
        if (options[0] == target_mac_option) found.mac = mac_at(options, 2);
        options = options.subspan(std::min<std::size_t>(options[1] * 8u, options.size()));
    }
    return found;
}

// ---- The timetable ----

// The pauses between the announcements at 0, 0.05, 0.25, 1, 2 and 5 s. Pauses and not moments, so that a process
// which was held up neither skips one nor says two at once.
constexpr Duration pauses[] = {50ms, 200ms, 750ms, 1s, 3s};
constexpr Duration refresh = 60s;

// Many vips are spread out, one per millisecond: a switch that is flooded learns nothing.
constexpr std::size_t batch = 50;
constexpr Duration rest = 50ms;

}  // namespace

std::vector<Frame> announcement(const IpAddress& vip, const Mac& ours, bool router) {
    if (!vip.is_v4()) return {neighbour_advertisement(vip, ours, router)};
    return {arp(Arp::request, ours, vip, Mac{}, vip), arp(Arp::reply, ours, vip, ours, vip)};
}

Frame probe(const IpAddress& vip, const Mac& ours) {
    if (!vip.is_v4()) return neighbour_solicitation(vip, ours);
    return arp(Arp::request, ours, IpAddress(), Mac{}, vip);
}

std::optional<Stranger> claims(std::span<const std::uint8_t> frame, const std::set<IpAddress>& vips,
                               const Mac& ours) {
    if (frame.size() < at_payload) return std::nullopt;
    const auto ethertype = frame[at_ethertype] << 8 | frame[at_ethertype + 1];
    const auto payload = frame.subspan(at_payload);
    std::optional<Stranger> found;
    if (ethertype == ethertype_arp) found = read_arp(payload);
    if (ethertype == ethertype_ipv6) found = read_advertisement(payload, mac_at(frame, at_source_mac));
    if (!found || found->mac == ours || !vips.contains(found->vip)) return std::nullopt;
    return found;
}

void Timetable::take(const Held& held, Instant now) { entries_[held] = Entry{now}; }

void Timetable::hold(const Held& held, Instant now) { entries_[held] = Entry{now + refresh, std::size(pauses), now}; }

void Timetable::repeat(const Held& held, Instant now) {
    const auto entry = entries_.find(held);
    if (entry == entries_.end()) return;
    // Another master may be heard many times a second; one answer per pause is enough.
    auto& [next, step, said] = entry->second;
    next = said ? std::max(now, *said + pauses[0]) : now;
    step = 0;
}

void Timetable::let_go(const Held& held) { entries_.erase(held); }

std::vector<Held> Timetable::due(Instant now) {
    std::vector<std::pair<Instant, Held>> ready;
    if (now >= rest_until_)
        for (const auto& [held, entry] : entries_)
            if (entry.next <= now) ready.push_back({entry.next, held});
    std::ranges::sort(ready);
    if (ready.size() > batch) {
        ready.resize(batch);
        rest_until_ = now + rest;
    }
    std::vector<Held> out;
    for (auto& [when, held] : ready) {
        auto& entry = entries_.at(held);
        entry.said = now;
        entry.next = now + (entry.step < std::size(pauses) ? pauses[entry.step] : refresh);
        ++entry.step;
        out.push_back(std::move(held));
    }
    return out;
}

Instant Timetable::next() const {
    Instant soonest = Instant::max();
    for (const auto& [held, entry] : entries_) soonest = std::min(soonest, entry.next);
    return std::max(soonest, rest_until_);
}

}  // namespace koi::vip
