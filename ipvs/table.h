// ipvs/table.h
//
// The virtual servers as values: what a datapath forwards. Pure. A Table is in normal form when services and backends
// are sorted by their keys, each once; every function here keeps that. Backends of one service stand in one canonical
// order on every director, because the kernel's hashing schedulers depend on it (ipvs.md 2.1).
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <variant>

#include "supervisor/base/address.h"
#include "supervisor/base/types.h"

namespace koi::ipvs {

// What identifies a service: a place (protocol, address, port) or a firewall mark with its family. The protocol of a
// foreign service may be a number that Protocol has no name for.
struct Place {
    Protocol protocol = Protocol::tcp;
    IpAddress address;
    std::uint16_t port = 0;  // 0: every port; only with persistence
    friend auto operator<=>(const Place&, const Place&) = default;
};
struct Fwmark {
    std::uint32_t mark = 0;
    Family family = Family::ipv4;
    friend auto operator<=>(const Fwmark&, const Fwmark&) = default;
};
using ServiceKey = std::variant<Place, Fwmark>;
std::string text(const ServiceKey&);  // "192.0.2.10:80/tcp", "[2001:db8::10]:80/udp", "fwmark 7 ipv4"
Family family(const ServiceKey&);

enum class Forward { nat, dr, tun, local, bypass };  // the last two only in tables that others wrote
std::string_view to_string(Forward);
enum class Tunnel { ipip, gue, gre };
std::string_view to_string(Tunnel);

// Schedulers of the kernel and the words for their flags.
extern const std::set<std::string_view> schedulers;  // rr wrr lc wlc lblc lblcr dh sh sed nq fo ovf mh twos
// sh-fallback, sh-port, mh-fallback, mh-port, flag-1, flag-2, flag-3 → 0x8, 0x10, 0x20; nullopt: no such flag for it.
std::optional<std::uint32_t> scheduler_flag(std::string_view scheduler, std::string_view word);
std::string scheduler_flags_text(std::string_view scheduler, std::uint32_t flags);  // "mh-port,mh-fallback", ""

struct BackendKey {
    IpAddress address;
    std::uint16_t port = 0;  // 0 only for fwmark services with dr or tun, and services for every port
    friend auto operator<=>(const BackendKey&, const BackendKey&) = default;
};
std::string text(const BackendKey&);

struct Backend {
    Forward forward = Forward::nat;
    std::uint32_t weight = 1;           // the kernel's range is 0..2^31-1; ours 0..65535
    std::uint32_t upper_threshold = 0;  // connections; 0: none
    std::uint32_t lower_threshold = 0;
    Tunnel tunnel = Tunnel::ipip;   // tun only
    std::uint16_t tunnel_port = 0;  // gue only
    // gue and gre: 0x1 checksum, 0x2 remote checksum (gue). Must match the device on the backend.
    std::uint16_t tunnel_flags = 0;
    // What a drained backend would weigh; 0: not known. Only for its arrival, see diff.h.
    std::uint32_t nominal_weight = 0;
    // The same if the kernel would do the same: what does not apply (a tunnel of a nat backend) and the nominal
    // weight, which cannot be read back, do not count.
    friend bool operator==(const Backend&, const Backend&);
};
std::string text(const Backend&);  // "nat, weight 1"

struct Service {
    std::string scheduler = "wrr";
    std::uint32_t scheduler_flags = 0;  // 0x8, 0x10, 0x20
    std::uint32_t persistence = 0;      // seconds; 0: off
    std::uint8_t granularity = 0;      // prefix length of persistence; 0: the full length, and the only way to say it
    std::string persistence_engine{};  // "" or "sip"
    bool one_packet = false;
    friend bool operator==(const Service&, const Service&);  // without persistence the granularity does not count
};
std::string text(const Service&);              // "mh (mh-port), persistence 300 s, granularity 24"
constexpr std::uint8_t odd_granularity = 255;  // read only: a mask that is no prefix, or of length 0

struct ServiceEntry {
    Service service{};
    std::map<BackendKey, Backend> backends{};
    friend bool operator==(const ServiceEntry&, const ServiceEntry&) = default;
};
using Table = std::map<ServiceKey, ServiceEntry>;

// One line a service, indented lines for its backends. For people, plans and golden files.
std::string print(const Table&);

// What the kernel counts. Totals since the entry was made; rates per second; copied by the kernel every 2 s.
struct Traffic {
    std::uint64_t connections = 0, packets_in = 0, packets_out = 0, bytes_in = 0, bytes_out = 0;
    std::uint64_t connections_per_second = 0, packets_in_per_second = 0, packets_out_per_second = 0,
                  bytes_in_per_second = 0, bytes_out_per_second = 0;
};
struct BackendCounters {
    Traffic traffic{};
    std::uint32_t active = 0, inactive = 0, persistent = 0;  // connections now
};
struct ServiceCounters {
    Traffic traffic{};
    std::map<BackendKey, BackendCounters> backends{};
};
using Counters = std::map<ServiceKey, ServiceCounters>;

}  // namespace koi::ipvs
