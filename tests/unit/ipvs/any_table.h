// Tables by dice, of everything the kernel accepts: all protocols, both families, marks, schedulers with their flags,
// persistence, forwarding methods, tunnels. Few addresses, so that two tables have much in common.
#pragma once

#include <algorithm>
#include <array>
#include <random>
#include <string>

#include "ipvs/diff.h"
#include "ipvs/table.h"

namespace koi::ipvs {

inline IpAddress ip(std::string_view text) { return *IpAddress::parse(text); }
inline Place tcp(std::string_view address, std::uint16_t port) { return {Protocol::tcp, ip(address), port}; }
inline Place udp(std::string_view address, std::uint16_t port) { return {Protocol::udp, ip(address), port}; }
inline BackendKey at(std::string_view address, std::uint16_t port) { return {ip(address), port}; }

class Dice {
public:
    explicit Dice(std::mt19937& source) : source_(source) {}
    std::uint32_t below(std::uint32_t n) { return static_cast<std::uint32_t>(source_() % n); }
    bool one_in(std::uint32_t n) { return below(n) == 0; }
    template <class List>
    auto one_of(const List& list) {
        return *std::next(std::begin(list), below(static_cast<std::uint32_t>(std::size(list))));
    }

private:
    std::mt19937& source_;
};

inline ServiceKey any_key(Dice& dice) {
    constexpr std::array addresses{"192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1", "2001:db8::2"};
    if (dice.one_in(6)) return Fwmark{1 + dice.below(3), dice.one_in(2) ? Family::ipv4 : Family::ipv6};
    const auto protocol = dice.one_of(std::array{Protocol::tcp, Protocol::tcp, Protocol::udp, Protocol::sctp});
    return Place{protocol, ip(dice.one_of(addresses)), dice.one_of(std::array<std::uint16_t, 3>{80, 443, 53})};
}

inline Service any_service(Dice& dice, const ServiceKey& key) {
    constexpr std::array kernel_schedulers{"rr", "wrr", "lc",  "wlc", "sh",   "mh",   "sed",
                                           "nq", "fo",  "ovf", "dh",  "lblc", "lblcr"};
    Service s;
    s.scheduler = dice.one_of(kernel_schedulers);
    if (s.scheduler == "sh" || s.scheduler == "mh") s.scheduler_flags = dice.below(4) * 0x8;
    if (dice.one_in(3)) {
        s.persistence = 1 + dice.below(1000);
        const bool v4 = family(key) == Family::ipv4;
        if (dice.one_in(2)) s.granularity = static_cast<std::uint8_t>(1 + dice.below(v4 ? 31 : 127));
    }
    const auto* place = std::get_if<Place>(&key);
    const bool is_udp = place && place->protocol == Protocol::udp;
    if (is_udp && s.persistence && dice.one_in(3)) s.persistence_engine = "sip";
    if (is_udp && !s.persistence && dice.one_in(3)) s.one_packet = true;
    return s;
}

inline BackendKey any_backend_key(Dice& dice, Family f) {
    const auto n = std::to_string(1 + dice.below(6));
    return {ip((f == Family::ipv4 ? "10.0.0." : "fd00::") + n), dice.one_of(std::array<std::uint16_t, 2>{8080, 80})};
}

inline Backend any_backend(Dice& dice) {
    Backend b;
    b.forward = dice.one_of(std::array{Forward::nat, Forward::dr, Forward::tun});
    b.weight = dice.one_of(std::array<std::uint32_t, 5>{0, 1, 1, 7, 65535});
    if (dice.one_in(4)) b.upper_threshold = 10 + dice.below(1000);
    if (b.upper_threshold && dice.one_in(2)) b.lower_threshold = 1 + dice.below(b.upper_threshold);
    if (b.forward != Forward::tun) return b;
    b.tunnel = dice.one_of(std::array{Tunnel::ipip, Tunnel::gue, Tunnel::gre});
    if (b.tunnel == Tunnel::gue) b.tunnel_port = static_cast<std::uint16_t>(6080 + dice.below(2));
    if (b.tunnel != Tunnel::ipip && dice.one_in(3)) b.tunnel_flags = 0x1;
    return b;
}

inline Table any_table(std::mt19937& source) {
    Dice dice(source);
    Table table;
    for (auto services = dice.below(8); services > 0; --services) {
        const auto key = any_key(dice);
        auto& entry = table[key];
        entry.service = any_service(dice, key);
        for (auto backends = dice.below(7); backends > 0; --backends) {
            const auto value = any_backend(dice);
            const auto other = family(key) == Family::ipv4 ? Family::ipv6 : Family::ipv4;
            const bool mixed = value.forward == Forward::tun && dice.one_in(4);
            auto where = any_backend_key(dice, mixed ? other : family(key));
            if (std::holds_alternative<Fwmark>(key) && value.forward != Forward::nat) where.port = 0;
            entry.backends[where] = value;
        }
    }
    return table;
}

// n services of m backends each, all distinct.
inline Table large_table(std::uint32_t services, std::uint32_t backends, const std::string& scheduler = "rr") {
    Table table;
    for (std::uint32_t s = 0; s < services; ++s) {
        const auto low = static_cast<std::uint8_t>(s % 250 + 1), high = static_cast<std::uint8_t>(s / 250);
        auto& entry = table[Place{Protocol::tcp, IpAddress::v4({192, 168, high, low}), 80}];
        entry.service.scheduler = scheduler;
        for (std::uint32_t b = 0; b < backends; ++b)
            entry.backends[{IpAddress::v4({10, high, low, static_cast<std::uint8_t>(b + 1)}), 80}] = {
                .forward = Forward::dr};
    }
    return table;
}

}  // namespace koi::ipvs
