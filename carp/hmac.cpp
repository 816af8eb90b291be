#include "carp/hmac.h"

#include <gcrypt.h>

#include "supervisor/base/check.h"

namespace koi::carp {

namespace {

// Once per process, unless somebody else has done it. Passwords here are short-lived copies of a file that root can
// read, so locked memory would protect nothing.
void wake_library() {
    static const bool awake = [] {
        if (gcry_control(GCRYCTL_INITIALIZATION_FINISHED_P)) return true;
        const bool known = gcry_check_version(GCRYPT_VERSION) != nullptr;
        gcry_control(GCRYCTL_DISABLE_SECMEM, 0);
        gcry_control(GCRYCTL_INITIALIZATION_FINISHED, 0);
        return known;
    }();
    KOI_CHECK(awake);
}

int algorithm(Hash h) { return h == Hash::sha1 ? GCRY_MD_SHA1 : GCRY_MD_SHA256; }

}  // namespace

void Hmac::Free::operator()(gcry_md_handle* context) const noexcept { gcry_md_close(context); }

Hmac::Hmac(Hash hash, std::string_view key) : hash_(hash) {
    wake_library();
    gcry_md_hd_t context = nullptr;
    const auto opened = gcry_md_open(&context, algorithm(hash), GCRY_MD_FLAG_HMAC);
    context_.reset(context);
    KOI_CHECK(opened == 0 && gcry_md_setkey(context, key.data(), key.size()) == 0);
}

Hmac::Part Hmac::of(std::initializer_list<Part> message) const {
    gcry_md_reset(context_.get());  // keeps the key
    for (const auto part : message) gcry_md_write(context_.get(), part.data(), part.size());
    const unsigned char* read = gcry_md_read(context_.get(), algorithm(hash_));
    KOI_CHECK(read);
    return {read, gcry_md_get_algo_dlen(algorithm(hash_))};
}

bool equal(Hmac::Part a, Hmac::Part b) {
    if (a.size() != b.size()) return false;
    volatile std::uint8_t difference = 0;
    for (std::size_t i = 0; i < a.size(); ++i) difference = static_cast<std::uint8_t>(difference | (a[i] ^ b[i]));
    return difference == 0;
}

}  // namespace koi::carp
