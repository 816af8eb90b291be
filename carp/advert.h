// carp/advert.h
//
// A CARP advert and its 36 bytes (carp.md 1.2). Pure. advert.cpp is the only file that knows where a byte goes.
//
//     off  0 version 2 and type 1: 0x21     off  5 advbase, s     (presence: 0xF2, and nobody else's business)
//          1 vhid                                6 checksum over the 36 bytes (RFC 1071)
//          2 advskew, 1/256 s                    8 counter, 8 bytes
//          3 authlen = 7                        16 HMAC-SHA-1, 20 bytes
//          4 demotion (OpenBSD; 0 elsewhere)
//
// Receivers let longer packets pass: what follows the 36 bytes is somebody's trailer and not read here.
// decode() says why not, with a reason that is counted and shown; type and authlen are checked by nobody, so not
// here.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <variant>
#include <vector>

#include "supervisor/base/address.h"
#include "supervisor/base/types.h"

namespace koi::carp {

constexpr std::size_t advert_size = 36;
using Digest = std::array<std::uint8_t, 20>;

struct Advert {
    Vhid vhid = *Vhid::of(1);
    std::uint8_t advskew = 0;  // 0–255 on the wire: 255/255 is a bow-out
    std::uint8_t advbase = 0;
    std::uint8_t demotion = 0;
    bool presence = false;  // no advert: a backup tells the master that it stands by (version 15, trailer.h)
    std::uint64_t counter = 0;
    Digest digest{};

    // "I am leaving": 255 in both fields makes every backup of every implementation promote at once (carp.md 3.5).
    bool is_bow_out() const { return advbase == 255 && advskew == 255; }
    friend bool operator==(const Advert&, const Advert&) = default;
};

// Why a packet is not an advert we act on. Spelled as printed, counted one by one.
enum class Refusal {
    too_short,      // fewer than 36 bytes
    wrong_version,  // neither CARP (2) nor VRRP we know
    vrrp,           // a VRRP router speaks on this wire: version 2 or 3 packet, not CARP
    wrong_checksum,
    wrong_ttl,     // not 255: it crossed a router
    unknown_vhid,  // a CARP advert for a vhid this node does not serve
    wrong_digest,  // another password, or another list of vips
    own_echo,      // our own advert came back
    not_a_peer,    // unicast peers are configured and this is none of them
    // Of the trailer (trailer.h):
    no_trailer,   // and one is required, of this source at least
    bad_trailer,  // it has no sense
    unknown_key,  // signed with a key id we have no key for
    wrong_tag,    // forged, edited, or signed with another key of the same id
    replayed,     // heard before, or older than what was heard
    stale_clock,  // from a node we do not know, and minutes away from our clock: recorded, or its clock is wrong
    cloned,       // another host signs with our own identity
    table_full,   // more senders than we remember
};
constexpr std::size_t refusals = 17;
std::string_view to_string(Refusal);

// Where the bytes came from and went to: NetBSD's IPv6 checksum, the trailer's tag and the TTL need it.
struct Envelope {
    IpAddress source;
    IpAddress destination;
    std::uint8_t ttl = 255;  // or hop limit
};
struct Packet {
    Envelope envelope;
    std::vector<std::uint8_t> payload;  // cut by the IP length, without the header
};

// The ones' complement sum of RFC 1071, not yet inverted. An even number of bytes.
std::uint16_t internet_sum(std::span<const std::uint8_t>);

std::array<std::uint8_t, advert_size> encode(const Advert&);  // with its checksum, without pseudo-header
// The same with NetBSD 10's IPv6 pseudo-header in the sum.
std::array<std::uint8_t, advert_size> encode_pseudo(const Advert&, const Envelope&);

// Checks, in this order: length, version (VRRP told apart: VRRPv3, and VRRPv2 by its type and plausible layout), vhid
// not 0, TTL 255, checksum (plain; over IPv6 also with pseudo-header).
std::variant<Advert, Refusal> decode(std::span<const std::uint8_t> payload, const Envelope&);

}  // namespace koi::carp
