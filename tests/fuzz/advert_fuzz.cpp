// Whatever bytes come, decode() answers; and what it read can be written and read again.
#include <algorithm>
#include <vector>

#include "carp/advert.h"
#include "supervisor/base/check.h"

namespace {

using namespace koi;
using namespace koi::carp;

const Envelope over_v4{*IpAddress::parse("10.77.0.1"), *IpAddress::parse("224.0.0.18"), 255};
const Envelope over_v6{*IpAddress::parse("fe80::1"), *IpAddress::parse("ff02::12"), 255};

bool is(const std::variant<Advert, Refusal>& decoded, const Advert& advert) {
    return std::holds_alternative<Advert>(decoded) && std::get<Advert>(decoded) == advert;
}

void look_at(std::span<const std::uint8_t> bytes, const Envelope& envelope) {
    const auto decoded = decode(bytes, envelope);
    if (const auto* why = std::get_if<Refusal>(&decoded)) {
        KOI_CHECK(to_string(*why) != "?");
        return;
    }
    const auto& advert = std::get<Advert>(decoded);
    const auto plain = encode(advert), pseudo = encode_pseudo(advert, envelope);
    KOI_CHECK(is(decode(plain, envelope), advert));
    KOI_CHECK(is(decode(pseudo, envelope), advert));
    // Type, authlen and the two ways to sum are free; where they are ours, so is every byte. A sum of zero has two
    // spellings (RFC 1071), and ours is 0x0000.
    const bool ours = bytes[0] == 0x21 && bytes[3] == 7 && !(bytes[6] == 0xFF && bytes[7] == 0xFF);
    const auto head = bytes.first(advert_size);
    KOI_CHECK(!ours || std::ranges::equal(plain, head) || std::ranges::equal(pseudo, head));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::span bytes(data, size);
    look_at(bytes, over_v4);
    look_at(bytes, over_v6);
    // A fuzzer seldom guesses a checksum, so it is helped: the same bytes once more with the right one.
    if (size < advert_size) return 0;
    std::vector<std::uint8_t> summed(bytes.begin(), bytes.end());
    summed[6] = summed[7] = 0;
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i < advert_size; i += 2)
        sum += static_cast<std::uint32_t>(summed[i] << 8 | summed[i + 1]);
    while (sum >> 16) sum = (sum & 0xFFFF) + (sum >> 16);
    summed[6] = static_cast<std::uint8_t>(~sum >> 8);
    summed[7] = static_cast<std::uint8_t>(~sum);
    look_at(summed, over_v4);
    look_at(summed, over_v6);
    return 0;
}
