// carp/trailer.h
//
// The authenticated trailer "KOIA" behind the 36 bytes of an advert, between Koi nodes (docs/design.md, "The
// trailer"). Pure. Every implementation of CARP lets a longer packet pass; FreeBSD 15 sums all of it, so the
// trailer's own sum is 0xFFFF.
//
//     off len  version 1, 56 bytes                   off len  version 2, 72 bytes
//       0   4  "KOIA"                                  0  20  as version 1
//       4   1  version                                20   8  digest of the configuration, 0: not known
//       5   1  algorithm = 1: HMAC-SHA-256            28   2  healthy backends   30  2  backends in all
//       6   1  key id, 1–255                          32   4  to: whom a flag is meant for, the low half of its id
//       7   1  flags                                  36  32  tag
//       8   2  interval to the next advert, ms        68   2  balance  70  2  0
//      10   2  session
//      12   8  sender id                            flags: 1 leaving  2 clock  4 asks  8 ready  16 go
//      20  32  tag
//      52   2  balance                              We send version 2 and read both.
//      54   2  0
//
//     tag = HMAC-SHA-256(key, "koi-carp-auth-v1" | family 4 or 6, 00 00 00 | source, 16 | destination, 16
//                             | the 36 bytes as sent | the trailer before its tag)       IPv4 as ::ffff:a.b.c.d
//
// The counter that stops replays is the one in the advert, which the tag covers, too.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <variant>
#include <vector>

#include "carp/advert.h"
#include "carp/hmac.h"

namespace koi::carp {

struct Trailer {
    int version = 2;
    std::uint8_t key = 1;           // 1–255
    bool leaving = false;           // the master wants somebody to take over
    bool clock = false;             // the counter is within 5 s of a clock that is synchronised
    bool asks = false;              // a backup wants to lead
    bool ready = false;             // a backup whose tables are in place
    bool go = false;                // the master hands over to `to`, now
    std::uint16_t interval_ms = 0;  // time between adverts; 0: as advbase and advskew say
    std::uint16_t session = 0;      // grows with every start of the sender
    std::uint64_t sender = 0;       // random, one for each installation
    // Version 2 alone.
    std::uint64_t configuration = 0;
    std::uint16_t healthy = 0, backends = 0;
    std::uint32_t to = 0;
    friend bool operator==(const Trailer&, const Trailer&) = default;
};

// The packet's payload: the advert's bytes, and behind them the trailer, signed for just this way.
std::vector<std::uint8_t> with_trailer(std::span<const std::uint8_t> advert, const Trailer&, const Hmac& key,
                                       const Envelope&);

// What stands behind an advert: nothing we know (somebody else's trailer, or none), a trailer whose tag is not yet
// checked, or something that claims to be one and is not (bad_trailer).
std::variant<std::monostate, Trailer, Refusal> read_trailer(std::span<const std::uint8_t> payload);
// Of a payload whose trailer could be read.
bool tag_fits(std::span<const std::uint8_t> payload, const Hmac& key, const Envelope&);

}  // namespace koi::carp
