#include "carp/trailer.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "supervisor/base/bytes.h"
#include "supervisor/base/check.h"

namespace koi::carp {

namespace {

constexpr std::array<std::uint8_t, 4> magic = {'K', 'O', 'I', 'A'};
constexpr std::size_t at_trailer_version = 4, tag_size = 32, after_tag = 4;
constexpr std::uint8_t hmac_sha256 = 1;
constexpr std::uint8_t leaving = 1, clock = 2, asks = 4, ready = 8, go = 16;

// Where the tag begins, and thereby how long a trailer of this version is.
constexpr std::size_t at_tag(int version) { return version == 1 ? 20 : 36; }
constexpr std::size_t size_of(int version) { return at_tag(version) + tag_size + after_tag; }

std::array<std::uint8_t, 16> as_v6(const IpAddress& a) {
    std::array<std::uint8_t, 16> out{};
    const auto bytes = a.bytes();
    if (a.is_v4()) out[10] = out[11] = 0xFF;
    std::ranges::copy(bytes, out.end() - static_cast<std::ptrdiff_t>(bytes.size()));
    return out;
}

Hmac::Part tag_of(const Hmac& key, const Envelope& way, std::span<const std::uint8_t> signed_bytes) {
    constexpr std::string_view purpose = "koi-carp-auth-v1";
    const std::array<std::uint8_t, 4> family = {static_cast<std::uint8_t>(way.source.is_v4() ? 4 : 6), 0, 0, 0};
    const auto source = as_v6(way.source), destination = as_v6(way.destination);
    return key.of({{reinterpret_cast<const std::uint8_t*>(purpose.data()), purpose.size()},
                   family,
                   source,
                   destination,
                   signed_bytes});
}

}  // namespace

std::vector<std::uint8_t> with_trailer(std::span<const std::uint8_t> advert, const Trailer& t, const Hmac& key,
                                       const Envelope& way) {
    KOI_CHECK(advert.size() == advert_size && (t.version == 1 || t.version == 2));
    Writer out;
    out.raw(advert).raw(magic).u8(static_cast<std::uint8_t>(t.version)).u8(hmac_sha256).u8(t.key);
    out.u8(static_cast<std::uint8_t>((t.leaving ? leaving : 0) | (t.clock ? clock : 0) | (t.asks ? asks : 0) |
                                     (t.ready ? ready : 0) | (t.go ? go : 0)));
    out.u16(t.interval_ms).u16(t.session).u64(t.sender);
    if (t.version > 1) out.u64(t.configuration).u16(t.healthy).u16(t.backends).u32(t.to);
    out.raw(tag_of(key, way, out.written()));
    const auto trailer = std::span(out.written()).subspan(advert_size);
    out.u16(static_cast<std::uint16_t>(~internet_sum(trailer))).u16(0);
    return out.take();
}

std::variant<std::monostate, Trailer, Refusal> read_trailer(std::span<const std::uint8_t> payload) {
    if (payload.size() < advert_size + at_trailer_version + 1) return std::monostate{};
    const auto bytes = payload.subspan(advert_size);
    if (!std::ranges::equal(bytes.first(magic.size()), magic)) return std::monostate{};
    Trailer t;
    t.version = bytes[at_trailer_version];
    if (t.version > 2) return std::monostate{};  // of a Koi to come
    if (t.version == 0 || bytes.size() != size_of(t.version)) return Refusal::bad_trailer;
    if (internet_sum(bytes) != 0xFFFF) return Refusal::bad_trailer;
    Reader in(bytes.subspan(at_trailer_version + 1));
    if (in.u8() != hmac_sha256) return Refusal::bad_trailer;
    t.key = in.u8();
    const auto flags = in.u8();
    t.leaving = (flags & leaving) != 0;
    t.clock = (flags & clock) != 0;
    t.asks = (flags & asks) != 0;
    t.ready = (flags & ready) != 0;
    t.go = (flags & go) != 0;
    t.interval_ms = in.u16();
    t.session = in.u16();
    t.sender = in.u64();
    if (t.version == 1) return t;
    t.configuration = in.u64();
    t.healthy = in.u16();
    t.backends = in.u16();
    t.to = in.u32();
    return t;
}

bool tag_fits(std::span<const std::uint8_t> payload, const Hmac& key, const Envelope& way) {
    const std::size_t covered = advert_size + at_tag(payload[advert_size + at_trailer_version]);
    return equal(tag_of(key, way, payload.first(covered)), payload.subspan(covered, tag_size));
}

}  // namespace koi::carp
