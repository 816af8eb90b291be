// supervisor/base/address.h
//
// IP addresses, prefixes and endpoints as values: comparable, hashable by order, printable. Every sockaddr cast of
// Koi is in address.cpp. Printing follows RFC 5952 for IPv6; parse() accepts what inet_pton accepts, and no names.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "supervisor/base/types.h"

struct sockaddr;
struct sockaddr_storage;

namespace koi {

enum class Family : std::uint8_t { ipv4 = 4, ipv6 = 6 };
std::string_view to_string(Family);  // "ipv4", "ipv6"
int af(Family);                      // AF_INET, AF_INET6

class IpAddress {
public:
    IpAddress() = default;  // 0.0.0.0
    static std::optional<IpAddress> parse(std::string_view);
    static IpAddress v4(std::array<std::uint8_t, 4>);
    static IpAddress v6(std::array<std::uint8_t, 16>);
    static std::optional<IpAddress> from_bytes(std::span<const std::uint8_t>);  // 4 or 16 bytes, network order
    static std::optional<IpAddress> from_sockaddr(const sockaddr*);

    Family family() const { return family_; }
    bool is_v4() const { return family_ == Family::ipv4; }
    std::span<const std::uint8_t> bytes() const { return {bytes_.data(), is_v4() ? 4u : 16u}; }
    std::uint8_t full_length() const { return is_v4() ? 32 : 128; }
    std::string text() const;

    bool is_unspecified() const;
    bool is_multicast() const;
    bool is_loopback() const;
    bool is_link_local() const;  // 169.254/16, fe80::/10

    // Fills a sockaddr for this address; returns its length. scope: interface index for link-local IPv6, else 0.
    std::uint32_t to_sockaddr(sockaddr_storage&, std::uint16_t port = 0, std::uint32_t scope = 0) const;

    friend auto operator<=>(const IpAddress&, const IpAddress&) = default;  // IPv4 before IPv6, then by bytes

private:
    Family family_ = Family::ipv4;
    std::array<std::uint8_t, 16> bytes_{};
};

// An address with the length of its network: 192.0.2.10/24. Without a length, the full one.
struct Prefix {
    IpAddress address;
    std::uint8_t length = 32;
    static std::optional<Prefix> parse(std::string_view);
    std::string text() const;               // always with "/length"
    bool contains(const IpAddress&) const;  // same family and network
    friend auto operator<=>(const Prefix&, const Prefix&) = default;
};

// Where something listens: 10.0.0.7:8080 or [2001:db8::7]:8080.
struct Endpoint {
    IpAddress address;
    Port port = *Port::of(1);
    static std::optional<Endpoint> parse(std::string_view);
    std::string text() const;
    friend auto operator<=>(const Endpoint&, const Endpoint&) = default;
};

enum class Protocol : std::uint8_t { tcp = 6, udp = 17, sctp = 132 };
std::string_view to_string(Protocol);
std::optional<Protocol> protocol_of(std::string_view);

}  // namespace koi
