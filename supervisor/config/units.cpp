#include "supervisor/config/units.h"

#include <array>
#include <charconv>

namespace koi::config {

namespace {

struct Unit {
    std::string_view word;
    Duration length;
};
constexpr std::array<Unit, 4> units{{{"h", 1h}, {"m", 1min}, {"s", 1s}, {"ms", 1ms}}};  // longest first
constexpr Duration longest = 365 * 24h;

}  // namespace

std::optional<Duration> parse_duration(std::string_view text) {
    std::int64_t n = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
    if (error != std::errc{} || n < 0 || text.starts_with('-')) return std::nullopt;
    const std::string_view word = text.substr(static_cast<std::size_t>(end - text.data()));
    for (const auto& unit : units)
        if (word == unit.word) {
            if (n > longest / unit.length) return std::nullopt;
            return n * unit.length;
        }
    return std::nullopt;
}

std::string text(Duration duration) {
    if (duration == Duration::zero()) return "0s";
    for (const auto& unit : units)
        if (duration % unit.length == Duration::zero())
            return std::to_string(duration / unit.length) + std::string(unit.word);
    return std::to_string(duration.count()) + "us";
}

}  // namespace koi::config
