// carp/seal.h
//
// The HMAC-SHA-1 over version, type, vhid, addresses and counter (carp.md 2.2). It covers nothing else: not the skew,
// not the source. Pure apart from libgcrypt's arithmetic: libsystemd brings that library along, while OpenSSL would
// double the memory of a speaker. Comparison is in constant time.
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
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "carp/advert.h"
#include "carp/settings.h"

struct gcry_md_handle;  // libgcrypt's, behind gcry_md_hd_t

namespace koi::carp {

// HMAC-SHA-1 with one key. The key's two midstates are kept: a digest costs half a microsecond. Movable, not
// copyable.
class Hmac {
public:
    using Part = std::span<const std::uint8_t>;

    explicit Hmac(std::string_view key);  // not empty
    Digest of(std::initializer_list<Part> message) const;

private:
    struct Free {
        void operator()(gcry_md_handle*) const noexcept;
    };
    std::unique_ptr<gcry_md_handle, Free> context_;
};

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
