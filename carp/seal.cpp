#include "carp/seal.h"

#include <algorithm>

namespace koi::carp {

namespace {

using Message = std::vector<std::uint8_t>;

// 0.0.0.0, 255.255.255.255 and their like mean "no address" to every implementation and are in nobody's digest.
bool is_hashed(const IpAddress& a) {
    const auto bytes = a.bytes();
    const auto all = [&](std::uint8_t value) {
        return std::ranges::all_of(bytes, [=](auto b) { return b == value; });
    };
    return !all(0x00) && !all(0xFF);
}

bool is_v6_link_local(const IpAddress& a) { return !a.is_v4() && a.is_link_local(); }

// BSD kernels keep the interface's number in bytes 2 and 3 of a link-local address; on the wire they are zero.
IpAddress without_scope(const IpAddress& a) {
    std::array<std::uint8_t, 16> bytes{};
    std::ranges::copy(a.bytes(), bytes.begin());
    bytes[2] = bytes[3] = 0;
    return IpAddress::v6(bytes);
}

// fe80::200:5eff:fe00:1XX, made from the virtual MAC 00:00:5e:00:01:XX (carp.md 2.3).
IpAddress derived_link_local(Vhid vhid) {
    return IpAddress::v6({0xFE, 0x80, 0, 0, 0, 0, 0, 0, 0x02, 0x00, 0x5E, 0xFF, 0xFE, 0x00, 0x01, vhid.value()});
}

Message message_of(Vhid vhid, std::vector<IpAddress> addresses) {
    std::ranges::sort(addresses);  // IPv4 before IPv6, each ascending, as the protocol wants it
    addresses.erase(std::unique(addresses.begin(), addresses.end()), addresses.end());
    Message message = {0x02, 0x01, vhid.value()};
    for (const auto& a : addresses) message.insert(message.end(), a.bytes().begin(), a.bytes().end());
    return message;
}

std::array<std::uint8_t, 8> big_endian(std::uint64_t counter) {
    std::array<std::uint8_t, 8> bytes;
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(counter >> (56 - 8 * i));
    return bytes;
}

}  // namespace

Seal::Seal(Vhid vhid, const std::vector<IpAddress>& addresses, std::string_view password, LinkLocal link_local)
    : hmac_(Hash::sha1, password) {
    std::vector<IpAddress> without, with;
    for (const auto& a : addresses) {
        if (!is_hashed(a)) continue;
        with.push_back(is_v6_link_local(a) ? without_scope(a) : a);
        if (!is_v6_link_local(a)) without.push_back(a);
    }
    messages_ = {message_of(vhid, without), message_of(vhid, with)};
    if (link_local == LinkLocal::include) std::swap(messages_[0], messages_[1]);
    without.push_back(derived_link_local(vhid));
    messages_.push_back(message_of(vhid, without));
    std::vector<Message> distinct;  // usually there is no link-local vip, and the first two are one
    for (auto& m : messages_)
        if (std::ranges::find(distinct, m) == distinct.end()) distinct.push_back(std::move(m));
    messages_ = std::move(distinct);
}

Digest Seal::sign(std::uint64_t counter) const {
    Digest digest;
    std::ranges::copy(hmac_.of({messages_.front(), big_endian(counter)}), digest.begin());
    return digest;
}

bool Seal::accepts(const Advert& advert) const {
    return std::ranges::any_of(messages_, [&](const Message& message) {
        return equal(hmac_.of({message, big_endian(advert.counter)}), advert.digest);
    });
}

}  // namespace koi::carp
