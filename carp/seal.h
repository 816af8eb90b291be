// carp/seal.h
//
// The HMAC-SHA-1 over version, type, vhid, addresses and counter (carp.md 2.2). It covers nothing else: not the skew,
// not the source. Comparison is in constant time.
//
//     message = 02 01 | vhid | IPv4 addresses ascending, once each | IPv6 addresses ascending, once each, scope bits
//     of
//               fe80:: zeroed | counter, 8 bytes big endian
//
// Two variants exist for a vhid with link-local addresses: with and without them, and the link-local address that
// BSDs derive from the virtual MAC, fe80::200:5eff:fe00:1XX with XX = vhid (carp.md 2.3). We accept: as configured
// without link-locals, as configured with them, and without them but with the derived one. We send the one
// configured.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "carp/advert.h"
#include "carp/hmac.h"
#include "carp/settings.h"

namespace koi::carp {

class Seal {
public:
    // password: 1–19 raw bytes.
    Seal(Vhid, const std::vector<IpAddress>& addresses, std::string_view password, LinkLocal);

    Digest sign(std::uint64_t counter) const;
    bool accepts(const Advert&) const;

private:
    Hmac hmac_;
    std::vector<std::vector<std::uint8_t>> messages_;  // up to the counter; the first is the one we send
};

}  // namespace koi::carp
