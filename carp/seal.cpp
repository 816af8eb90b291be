#include "carp/seal.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include <algorithm>

#include "supervisor/base/check.h"

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

// Looking an algorithm up costs more than using it, and it is always the same one.
EVP_MAC* hmac_algorithm() {
    static EVP_MAC* const found = EVP_MAC_fetch(nullptr, "HMAC", nullptr);
    return found;
}

}  // namespace

void Hmac::Free::operator()(evp_mac_ctx_st* context) const noexcept { EVP_MAC_CTX_free(context); }

Hmac::Hmac(std::string_view key) : context_(EVP_MAC_CTX_new(hmac_algorithm())) {
    char sha1[] = "SHA1";
    const OSSL_PARAM settings[] = {OSSL_PARAM_construct_utf8_string("digest", sha1, 0), OSSL_PARAM_construct_end()};
    const auto* bytes = reinterpret_cast<const unsigned char*>(key.data());
    KOI_CHECK(context_ && EVP_MAC_init(context_.get(), bytes, key.size(), settings) == 1);
}

Digest Hmac::of(std::initializer_list<Part> message) const {
    Digest digest{};
    std::size_t length = 0;
    bool fine = EVP_MAC_init(context_.get(), nullptr, 0, nullptr) == 1;  // the same key again
    for (const auto part : message) fine = fine && EVP_MAC_update(context_.get(), part.data(), part.size()) == 1;
    fine = fine && EVP_MAC_final(context_.get(), digest.data(), &length, digest.size()) == 1;
    KOI_CHECK(fine && length == digest.size());
    return digest;
}

Seal::Seal(Vhid vhid, const std::vector<IpAddress>& addresses, std::string_view password, LinkLocal link_local)
    : hmac_(password) {
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

Digest Seal::sign(std::uint64_t counter) const { return hmac_.of({messages_.front(), big_endian(counter)}); }

bool Seal::accepts(const Advert& advert) const {
    return std::ranges::any_of(messages_, [&](const Message& message) {
        const Digest ours = hmac_.of({message, big_endian(advert.counter)});
        return CRYPTO_memcmp(ours.data(), advert.digest.data(), ours.size()) == 0;
    });
}

}  // namespace koi::carp
