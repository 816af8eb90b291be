#include "supervisor/base/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace koi {

namespace {

std::optional<unsigned> number(std::string_view text, unsigned highest) {
    unsigned n = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
    if (error != std::errc{} || end != text.data() + text.size() || n > highest) return std::nullopt;
    return n;
}

}  // namespace

std::string_view to_string(Family f) { return f == Family::ipv4 ? "ipv4" : "ipv6"; }
int af(Family f) { return f == Family::ipv4 ? AF_INET : AF_INET6; }

std::optional<IpAddress> IpAddress::parse(std::string_view text) {
    char copy[INET6_ADDRSTRLEN + 1] = {};
    // inet_pton would stop at a zero byte and believe what is before it.
    if (text.empty() || text.size() >= sizeof copy || text.find('\0') != std::string_view::npos) return std::nullopt;
    std::copy(text.begin(), text.end(), copy);
    IpAddress a;
    if (inet_pton(AF_INET, copy, a.bytes_.data()) == 1) return a;
    a.family_ = Family::ipv6;
    if (inet_pton(AF_INET6, copy, a.bytes_.data()) == 1) return a;
    return std::nullopt;
}

IpAddress IpAddress::v4(std::array<std::uint8_t, 4> bytes) {
    IpAddress a;
    std::ranges::copy(bytes, a.bytes_.begin());
    return a;
}

IpAddress IpAddress::v6(std::array<std::uint8_t, 16> bytes) {
    IpAddress a;
    a.family_ = Family::ipv6;
    a.bytes_ = bytes;
    return a;
}

std::optional<IpAddress> IpAddress::from_bytes(std::span<const std::uint8_t> bytes) {
    if (bytes.size() != 4 && bytes.size() != 16) return std::nullopt;
    IpAddress a;
    a.family_ = bytes.size() == 4 ? Family::ipv4 : Family::ipv6;
    std::ranges::copy(bytes, a.bytes_.begin());
    return a;
}

std::optional<IpAddress> IpAddress::from_sockaddr(const sockaddr* where) {
    if (where->sa_family == AF_INET) {
        std::array<std::uint8_t, 4> bytes;
        std::memcpy(bytes.data(), &reinterpret_cast<const sockaddr_in*>(where)->sin_addr, 4);
        return v4(bytes);
    }
    if (where->sa_family == AF_INET6) {
        std::array<std::uint8_t, 16> bytes;
        std::memcpy(bytes.data(), &reinterpret_cast<const sockaddr_in6*>(where)->sin6_addr, 16);
        return v6(bytes);
    }
    return std::nullopt;
}

std::string IpAddress::text() const {
    char out[INET6_ADDRSTRLEN] = {};
    inet_ntop(af(family_), bytes_.data(), out, sizeof out);
    return out;
}

bool IpAddress::is_unspecified() const {
    return std::ranges::all_of(bytes(), [](std::uint8_t b) { return b == 0; });
}
bool IpAddress::is_multicast() const { return is_v4() ? (bytes_[0] & 0xF0) == 0xE0 : bytes_[0] == 0xFF; }
bool IpAddress::is_loopback() const {
    if (is_v4()) return bytes_[0] == 127;
    return std::all_of(bytes_.begin(), bytes_.end() - 1, [](std::uint8_t b) { return b == 0; }) && bytes_[15] == 1;
}
bool IpAddress::is_link_local() const {
    if (is_v4()) return bytes_[0] == 169 && bytes_[1] == 254;
    return bytes_[0] == 0xFE && (bytes_[1] & 0xC0) == 0x80;
}

std::uint32_t IpAddress::to_sockaddr(sockaddr_storage& out, std::uint16_t port, std::uint32_t scope) const {
    out = {};
    if (is_v4()) {
        auto& in = reinterpret_cast<sockaddr_in&>(out);
        in.sin_family = AF_INET;
        in.sin_port = htons(port);
        std::memcpy(&in.sin_addr, bytes_.data(), 4);
        return sizeof in;
    }
    auto& in = reinterpret_cast<sockaddr_in6&>(out);
    in.sin6_family = AF_INET6;
    in.sin6_port = htons(port);
    std::memcpy(&in.sin6_addr, bytes_.data(), 16);
    in.sin6_scope_id = scope;
    return sizeof in;
}

std::optional<Prefix> Prefix::parse(std::string_view text) {
    const auto slash = text.find('/');
    const auto address = IpAddress::parse(text.substr(0, slash));
    if (!address) return std::nullopt;
    if (slash == std::string_view::npos) return Prefix{*address, address->full_length()};
    const auto length = number(text.substr(slash + 1), address->full_length());
    if (!length) return std::nullopt;
    return Prefix{*address, static_cast<std::uint8_t>(*length)};
}

std::string Prefix::text() const { return address.text() + "/" + std::to_string(length); }

bool Prefix::contains(const IpAddress& other) const {
    if (other.family() != address.family()) return false;
    const auto ours = address.bytes(), theirs = other.bytes();
    const std::size_t whole = length / 8u;
    if (!std::equal(ours.begin(), ours.begin() + static_cast<std::ptrdiff_t>(whole), theirs.begin())) return false;
    const unsigned rest = length % 8u;
    if (rest == 0) return true;
    const auto mask = static_cast<std::uint8_t>(0xFF << (8 - rest));
    return (ours[whole] & mask) == (theirs[whole] & mask);
}

std::optional<Endpoint> Endpoint::parse(std::string_view text) {
    std::string_view host, port;
    if (text.starts_with('[')) {
        const auto close = text.find("]:");
        if (close == std::string_view::npos) return std::nullopt;
        host = text.substr(1, close - 1);
        port = text.substr(close + 2);
        if (host.find(':') == std::string_view::npos) return std::nullopt;  // brackets are for IPv6
    } else {
        const auto colon = text.find(':');
        if (colon == std::string_view::npos || text.find(':', colon + 1) != std::string_view::npos)
            return std::nullopt;
        host = text.substr(0, colon);
        port = text.substr(colon + 1);
    }
    const auto address = IpAddress::parse(host);
    const auto n = number(port, Port::max);
    if (!address || !n || *n == 0) return std::nullopt;
    return Endpoint{*address, *Port::of(*n)};
}

std::string Endpoint::text() const {
    const auto host = address.is_v4() ? address.text() : "[" + address.text() + "]";
    return host + ":" + std::to_string(port.value());
}

std::string_view to_string(Protocol p) {
    switch (p) {
        case Protocol::tcp: return "tcp";
        case Protocol::udp: return "udp";
        case Protocol::sctp: return "sctp";
    }
    return "?";
}

std::optional<Protocol> protocol_of(std::string_view word) {
    for (auto p : {Protocol::tcp, Protocol::udp, Protocol::sctp})
        if (word == to_string(p)) return p;
    return std::nullopt;
}

}  // namespace koi
