#include "supervisor/base/bytes.h"

#include <limits>

#include "supervisor/base/check.h"

namespace koi {

namespace {

template <class Number>
void append(std::vector<std::uint8_t>& out, Number n) {
    for (std::size_t shift = sizeof n * 8; shift > 0; shift -= 8)
        out.push_back(static_cast<std::uint8_t>(n >> (shift - 8)));
}

}  // namespace

Writer& Writer::u8(std::uint8_t n) {
    append(out_, n);
    return *this;
}
Writer& Writer::u16(std::uint16_t n) {
    append(out_, n);
    return *this;
}
Writer& Writer::u32(std::uint32_t n) {
    append(out_, n);
    return *this;
}
Writer& Writer::u64(std::uint64_t n) {
    append(out_, n);
    return *this;
}
Writer& Writer::i64(std::int64_t n) { return u64(static_cast<std::uint64_t>(n)); }
Writer& Writer::boolean(bool b) { return u8(b ? 1 : 0); }

Writer& Writer::count(std::size_t n) {
    KOI_CHECK(n <= std::numeric_limits<std::uint32_t>::max());
    return u32(static_cast<std::uint32_t>(n));
}

Writer& Writer::string(std::string_view text) {
    count(text.size());
    out_.insert(out_.end(), text.begin(), text.end());
    return *this;
}

Writer& Writer::bytes(std::span<const std::uint8_t> some) { return count(some.size()).raw(some); }

Writer& Writer::raw(std::span<const std::uint8_t> some) {
    out_.insert(out_.end(), some.begin(), some.end());
    return *this;
}

Writer& Writer::address(const IpAddress& a) {
    u8(static_cast<std::uint8_t>(a.family()));
    const auto raw = a.bytes();
    out_.insert(out_.end(), raw.begin(), raw.end());
    return *this;
}

Writer& Writer::prefix(const Prefix& p) { return address(p.address).u8(p.length); }
Writer& Writer::endpoint(const Endpoint& e) { return address(e.address).u16(e.port.value()); }

void Reader::make_bad() {
    bad_ = true;
    in_ = {};
}

std::span<const std::uint8_t> Reader::part(std::size_t size) {
    if (size > in_.size()) {
        make_bad();
        return {};
    }
    const auto found = in_.first(size);
    in_ = in_.subspan(size);
    return found;
}

std::uint64_t Reader::number(std::size_t size) {
    std::uint64_t n = 0;
    for (const auto byte : part(size)) n = n << 8 | byte;
    return n;
}

std::uint8_t Reader::u8() { return static_cast<std::uint8_t>(number(1)); }
std::uint16_t Reader::u16() { return static_cast<std::uint16_t>(number(2)); }
std::uint32_t Reader::u32() { return static_cast<std::uint32_t>(number(4)); }
std::uint64_t Reader::u64() { return number(8); }
std::int64_t Reader::i64() { return static_cast<std::int64_t>(number(8)); }

bool Reader::boolean() {
    const auto n = u8();
    if (n > 1) make_bad();
    return n == 1;
}

std::size_t Reader::count() {
    const std::size_t n = u32();
    if (n <= left()) return n;
    make_bad();
    return 0;
}

std::span<const std::uint8_t> Reader::counted(std::size_t longest) {
    const auto size = count();
    if (size <= longest) return part(size);
    make_bad();
    return {};
}

std::string Reader::string(std::size_t longest) {
    const auto found = counted(longest);
    return {found.begin(), found.end()};
}

std::vector<std::uint8_t> Reader::bytes(std::size_t longest) {
    const auto found = counted(longest);
    return {found.begin(), found.end()};
}

IpAddress Reader::address() {
    const auto family = u8();
    if (family != 4 && family != 6) make_bad();
    const auto found = IpAddress::from_bytes(part(family == 4 ? 4 : 16));
    return found.value_or(IpAddress());
}

Prefix Reader::prefix() {
    Prefix p{address(), u8()};  // braces: in this order
    if (p.length > p.address.full_length()) make_bad();
    return bad_ ? Prefix{} : p;
}

Endpoint Reader::endpoint() {
    const auto where = address();
    const auto port = Port::of(u16());
    if (!port) make_bad();
    return bad_ ? Endpoint{} : Endpoint{where, *port};
}

}  // namespace koi
