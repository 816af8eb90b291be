// carp/hmac.h
//
// A keyed hash: SHA-1 for the digest of every CARP advert (seal.h), SHA-256 for the tag of our trailer (trailer.h).
// libgcrypt does the arithmetic: libsystemd brings that library along, while OpenSSL would double the memory of a
// speaker.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string_view>

struct gcry_md_handle;  // libgcrypt's, behind gcry_md_hd_t

namespace koi::carp {

enum class Hash { sha1, sha256 };

// One key. Its two midstates are kept: a digest of some forty bytes costs half a microsecond. Movable, not copyable.
class Hmac {
public:
    using Part = std::span<const std::uint8_t>;

    Hmac(Hash, std::string_view key);  // not empty
    // 20 bytes for SHA-1, 32 for SHA-256; they stay where they are until the next call.
    Part of(std::initializer_list<Part> message) const;

private:
    struct Free {
        void operator()(gcry_md_handle*) const noexcept;
    };
    Hash hash_;
    std::unique_ptr<gcry_md_handle, Free> context_;
};

// In constant time: how far two digests agree must not show in how long it takes. False if one is longer.
bool equal(Hmac::Part, Hmac::Part);

}  // namespace koi::carp
