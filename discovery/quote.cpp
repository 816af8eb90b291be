#include "discovery/quote.h"

#include <cstdint>

namespace koi::discovery {

namespace {

// The length of the well-formed UTF-8 character at the front, 0 if there is none (RFC 3629: no overlong forms, no
// surrogates, nothing above U+10FFFF).
std::size_t character(std::string_view text) {
    const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
    const std::uint8_t first = byte(0);
    if (first < 0x80) return 1;
    const std::size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
    if (first < 0xC2 || first > 0xF4 || text.size() < length) return 0;
    for (std::size_t i = 1; i < length; ++i)
        if ((byte(i) & 0xC0) != 0x80) return 0;
    if (first == 0xE0 && byte(1) < 0xA0) return 0;
    if (first == 0xED && byte(1) > 0x9F) return 0;
    if (first == 0xF0 && byte(1) < 0x90) return 0;
    if (first == 0xF4 && byte(1) > 0x8F) return 0;
    return length;
}

void append_escaped(std::string& out, char c) {
    constexpr char digits[] = "0123456789abcdef";
    const auto byte = static_cast<std::uint8_t>(c);
    out += "\\x";
    out += digits[byte >> 4];
    out += digits[byte & 15];
}

// C1 controls are two bytes in UTF-8 and steer some terminals.
bool is_control(std::string_view c) {
    const auto first = static_cast<std::uint8_t>(c[0]);
    if (c.size() == 1) return first < 0x20 || first == 0x7F;
    return c.size() == 2 && first == 0xC2 && static_cast<std::uint8_t>(c[1]) < 0xA0;
}

}  // namespace

std::string clean(std::string_view text, std::size_t longest) {
    std::string out;
    std::size_t at = 0;
    while (at < text.size() && at < longest) {
        const std::size_t length = character(text.substr(at));
        const auto c = text.substr(at, length == 0 ? 1 : length);
        if (length == 0 || is_control(c))
            for (const char byte : c) append_escaped(out, byte);
        else
            out += c;
        at += c.size();
    }
    if (at < text.size()) out += "...";
    return out;
}

std::string shown(std::string_view text) { return '"' + clean(text, longest_quote) + '"'; }

std::size_t find_broken_utf8(std::string_view text) {
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t length = character(text.substr(at));
        if (length == 0) return at;
        at += length;
    }
    return std::string_view::npos;
}

}  // namespace koi::discovery
