#include "ipvs/table.h"

#include <array>
#include <tuple>
#include <utility>
#include <vector>

namespace koi::ipvs {

namespace {

std::string place(const IpAddress& address, std::uint16_t port) {
    const auto host = address.is_v4() ? address.text() : "[" + address.text() + "]";
    return host + ":" + std::to_string(port);
}

std::string protocol_text(Protocol p) {
    const auto word = to_string(p);
    return word == "?" ? "protocol-" + std::to_string(static_cast<unsigned>(p)) : std::string(word);
}

// What of a backend's tunnel the kernel looks at.
std::tuple<Tunnel, std::uint16_t, std::uint16_t> effective_tunnel(const Backend& b) {
    if (b.forward != Forward::tun || b.tunnel == Tunnel::ipip)
        return {Tunnel::ipip, std::uint16_t{0}, std::uint16_t{0}};
    return {b.tunnel, b.tunnel == Tunnel::gue ? b.tunnel_port : std::uint16_t{0}, b.tunnel_flags};
}

// In the order in which they are printed.
using FlagWord = std::pair<std::uint32_t, std::string_view>;
constexpr std::array<FlagWord, 3> sh_words{{{0x10, "sh-port"}, {0x8, "sh-fallback"}, {0x20, "flag-3"}}};
constexpr std::array<FlagWord, 3> mh_words{{{0x10, "mh-port"}, {0x8, "mh-fallback"}, {0x20, "flag-3"}}};
constexpr std::array<FlagWord, 3> plain_words{{{0x8, "flag-1"}, {0x10, "flag-2"}, {0x20, "flag-3"}}};

const std::array<FlagWord, 3>& words_of(std::string_view scheduler) {
    if (scheduler == "sh") return sh_words;
    if (scheduler == "mh") return mh_words;
    return plain_words;
}

std::optional<std::uint32_t> find(const std::array<FlagWord, 3>& words, std::string_view word) {
    for (const auto& [flag, name] : words)
        if (name == word) return flag;
    return std::nullopt;
}

std::string tunnel_text(const Backend& b) {
    const auto [tunnel, port, flags] = effective_tunnel(b);
    std::string out(to_string(tunnel));
    if (tunnel == Tunnel::gue) out += " port " + std::to_string(port);
    if (flags & 0x1) out += " checksum";
    if (flags & 0x2) out += " remote-checksum";
    return out;
}

}  // namespace

const std::set<std::string_view> schedulers{"rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh",
                                            "sh", "sed", "nq", "fo",  "ovf",  "mh",    "twos"};

std::string text(const ServiceKey& key) {
    if (const auto* at = std::get_if<Place>(&key))
        return place(at->address, at->port) + "/" + protocol_text(at->protocol);
    const auto& mark = std::get<Fwmark>(key);
    return "fwmark " + std::to_string(mark.mark) + " " + std::string(to_string(mark.family));
}

Family family(const ServiceKey& key) {
    if (const auto* at = std::get_if<Place>(&key)) return at->address.family();
    return std::get<Fwmark>(key).family;
}

std::string_view to_string(Forward f) {
    switch (f) {
        case Forward::nat: return "nat";
        case Forward::dr: return "dr";
        case Forward::tun: return "tun";
        case Forward::local: return "local";
        case Forward::bypass: return "bypass";
    }
    return "?";
}

std::string_view to_string(Tunnel t) {
    switch (t) {
        case Tunnel::ipip: return "ipip";
        case Tunnel::gue: return "gue";
        case Tunnel::gre: return "gre";
    }
    return "?";
}

std::optional<std::uint32_t> scheduler_flag(std::string_view scheduler, std::string_view word) {
    if (auto flag = find(words_of(scheduler), word)) return flag;
    return find(plain_words, word);
}

std::string scheduler_flags_text(std::string_view scheduler, std::uint32_t flags) {
    std::string out;
    for (const auto& [flag, word] : words_of(scheduler)) {
        if (!(flags & flag)) continue;
        if (!out.empty()) out += ",";
        out += word;
    }
    return out;
}

std::string text(const BackendKey& key) { return place(key.address, key.port); }

bool operator==(const Backend& a, const Backend& b) {
    return std::tie(a.forward, a.weight, a.upper_threshold, a.lower_threshold) ==
               std::tie(b.forward, b.weight, b.upper_threshold, b.lower_threshold) &&
           effective_tunnel(a) == effective_tunnel(b);
}

bool operator==(const Service& a, const Service& b) {
    return std::tie(a.scheduler, a.scheduler_flags, a.persistence, a.persistence_engine, a.one_packet) ==
               std::tie(b.scheduler, b.scheduler_flags, b.persistence, b.persistence_engine, b.one_packet) &&
           (a.persistence == 0 || a.granularity == b.granularity);
}

std::string text(const Backend& b) {
    std::string out(to_string(b.forward));
    if (b.forward == Forward::tun) out += " " + tunnel_text(b);
    out += ", weight " + std::to_string(b.weight);
    if (b.upper_threshold) out += ", at most " + std::to_string(b.upper_threshold) + " connections";
    if (b.lower_threshold) out += ", again below " + std::to_string(b.lower_threshold);
    return out;
}

std::string text(const Service& s) {
    std::string out = s.scheduler;
    if (const auto flags = scheduler_flags_text(s.scheduler, s.scheduler_flags); !flags.empty())
        out += " (" + flags + ")";
    if (s.persistence) {
        out += ", persistence " + std::to_string(s.persistence) + " s";
        if (s.granularity == odd_granularity)
            out += ", granularity odd";
        else if (s.granularity)
            out += ", granularity " + std::to_string(s.granularity);
    }
    if (!s.persistence_engine.empty()) out += ", engine " + s.persistence_engine;
    if (s.one_packet) out += ", one-packet";
    return out;
}

std::string print(const Table& table) {
    std::string out;
    for (const auto& [key, entry] : table) {
        out += text(key) + "  " + text(entry.service) + "\n";
        for (const auto& [backend, value] : entry.backends) out += "    " + text(backend) + "  " + text(value) + "\n";
    }
    return out;
}

}  // namespace koi::ipvs
