// supervisor/base/formats.h
//
// Which formats of its messages a process speaks: a lowest and a highest one. Two processes of one Koi may be of two
// releases, because an upgrade replaces files while processes run on. Whoever starts a process tells it his formats
// in its environment; the process writes the highest that both speak, and the first byte of what it says tells that
// to the one who started it, who says nothing before and answers in the same. A release that raises a format goes on
// speaking the one before.
//
// Pure.
#pragma once

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace koi {

struct Formats {
    std::uint8_t lowest = 1, highest = 1;

    bool contains(std::uint8_t format) const { return lowest <= format && format <= highest; }
    // "4-5", as it stands in an environment, and back.
    std::string text() const { return std::to_string(lowest) + "-" + std::to_string(highest); }
    static std::optional<Formats> parse(std::string_view text) {
        const auto dash = text.find('-');
        if (dash == std::string_view::npos) return std::nullopt;
        const auto number = [](std::string_view word, std::uint8_t& out) {
            const auto [end, bad] = std::from_chars(word.data(), word.data() + word.size(), out);
            return bad == std::errc{} && end == word.data() + word.size();
        };
        Formats read;
        if (!number(text.substr(0, dash), read.lowest) || !number(text.substr(dash + 1), read.highest))
            return std::nullopt;
        return read.lowest <= read.highest ? std::optional(read) : std::nullopt;
    }
    friend bool operator==(const Formats&, const Formats&) = default;
};

// The highest that both speak.
inline std::optional<std::uint8_t> common(const Formats& a, const Formats& b) {
    const auto highest = std::min(a.highest, b.highest);
    return highest >= std::max(a.lowest, b.lowest) ? std::optional(highest) : std::nullopt;
}

}  // namespace koi
