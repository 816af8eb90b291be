#include "carp/advert.h"

#include <algorithm>

namespace koi::carp {

namespace {

using Bytes = std::array<std::uint8_t, advert_size>;

constexpr std::size_t at_version = 0, at_vhid = 1, at_advskew = 2, at_authlen = 3, at_demotion = 4, at_advbase = 5,
                      at_checksum = 6, at_counter = 8, at_digest = 16;
static_assert(at_digest + std::tuple_size_v<Digest> == advert_size);

constexpr std::uint8_t version_and_type = 0x21, presence = 0xF2, authlen = 7;
constexpr std::uint32_t pseudo_protocol = 112;  // CARP

// RFC 1071. All our spans have an even length.
std::uint32_t add(std::uint32_t sum, std::span<const std::uint8_t> bytes) {
    for (std::size_t i = 0; i + 1 < bytes.size(); i += 2)
        sum += static_cast<std::uint32_t>(bytes[i] << 8 | bytes[i + 1]);
    return sum;
}

std::uint16_t fold(std::uint32_t sum) {
    while (sum >> 16) sum = (sum & 0xFFFF) + (sum >> 16);
    return static_cast<std::uint16_t>(sum);
}

// RFC 8200, 8.1: source, destination, length and next header. NetBSD 10 puts it under the sum, with length 36.
std::uint32_t pseudo_header(const Envelope& e) {
    return add(add(0, e.source.bytes()), e.destination.bytes()) + advert_size + pseudo_protocol;
}

bool is_v6(const Envelope& e) { return !e.source.is_v4() && !e.destination.is_v4(); }

Bytes encode_with(const Advert& advert, std::uint32_t sum) {
    Bytes out{};
    out[at_version] = advert.presence ? presence : version_and_type;
    out[at_vhid] = advert.vhid.value();
    out[at_advskew] = advert.advskew;
    out[at_authlen] = authlen;
    out[at_demotion] = advert.demotion;
    out[at_advbase] = advert.advbase;
    for (std::size_t i = 0; i < 8; ++i)
        out[at_counter + i] = static_cast<std::uint8_t>(advert.counter >> (56 - 8 * i));
    std::ranges::copy(advert.digest, out.begin() + at_digest);
    const auto checksum = static_cast<std::uint16_t>(~fold(add(sum, out)));
    out[at_checksum] = static_cast<std::uint8_t>(checksum >> 8);
    out[at_checksum + 1] = static_cast<std::uint8_t>(checksum & 0xFF);
    return out;
}

// VRRP shares protocol 112, and VRRPv2 even our first byte. Version 3 says so itself. Version 2 (RFC 3768) has the
// number of its addresses where CARP has authlen: its length must fit that number, and its authentication type is 0,
// 1 or 2.
bool is_vrrp(std::span<const std::uint8_t> p) {
    constexpr std::size_t smallest = 8;
    if (p.size() < smallest) return false;
    if (p[0] == 0x31) return true;
    return p[0] == version_and_type && p[3] != authlen && p[4] <= 2 && p.size() == 16u + 4u * p[3];
}

Advert read(std::span<const std::uint8_t> p, Vhid vhid) {
    Advert advert;
    advert.presence = p[at_version] == presence;
    advert.vhid = vhid;
    advert.advskew = p[at_advskew];
    advert.advbase = p[at_advbase];
    advert.demotion = p[at_demotion];
    for (std::size_t i = 0; i < 8; ++i) advert.counter = advert.counter << 8 | p[at_counter + i];
    std::ranges::copy(p.subspan(at_digest, advert.digest.size()), advert.digest.begin());
    return advert;
}

}  // namespace

std::string_view to_string(Refusal r) {
    switch (r) {
        case Refusal::too_short: return "too_short";
        case Refusal::wrong_version: return "wrong_version";
        case Refusal::vrrp: return "vrrp";
        case Refusal::wrong_checksum: return "wrong_checksum";
        case Refusal::wrong_ttl: return "wrong_ttl";
        case Refusal::unknown_vhid: return "unknown_vhid";
        case Refusal::wrong_digest: return "wrong_digest";
        case Refusal::own_echo: return "own_echo";
        case Refusal::not_a_peer: return "not_a_peer";
        case Refusal::no_trailer: return "no_trailer";
        case Refusal::bad_trailer: return "bad_trailer";
        case Refusal::unknown_key: return "unknown_key";
        case Refusal::wrong_tag: return "wrong_tag";
        case Refusal::replayed: return "replayed";
        case Refusal::stale_clock: return "stale_clock";
        case Refusal::cloned: return "cloned";
        case Refusal::table_full: return "table_full";
    }
    return "?";
}

std::uint16_t internet_sum(std::span<const std::uint8_t> bytes) { return fold(add(0, bytes)); }

Bytes encode(const Advert& advert) { return encode_with(advert, 0); }

Bytes encode_pseudo(const Advert& advert, const Envelope& envelope) {
    return encode_with(advert, is_v6(envelope) ? pseudo_header(envelope) : 0);
}

std::variant<Advert, Refusal> decode(std::span<const std::uint8_t> payload, const Envelope& envelope) {
    if (is_vrrp(payload)) return Refusal::vrrp;
    if (payload.size() < advert_size) return Refusal::too_short;
    if (payload[at_version] >> 4 != version_and_type >> 4 && payload[at_version] != presence)
        return Refusal::wrong_version;
    const auto vhid = Vhid::of(payload[at_vhid]);
    if (!vhid) return Refusal::unknown_vhid;
    if (envelope.ttl != 255) return Refusal::wrong_ttl;
    const auto sum = add(0, payload.first(advert_size));
    const bool adds_up = fold(sum) == 0xFFFF || (is_v6(envelope) && fold(sum + pseudo_header(envelope)) == 0xFFFF);
    if (!adds_up) return Refusal::wrong_checksum;
    return read(payload, *vhid);
}

}  // namespace koi::carp
