// supervisor/status/words.h
//
// Numbers, times and sentences as people read them. Pure.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "supervisor/base/clock.h"

namespace koi::status {

// "3 s", "2 min", "4 h", "3 d": two digits of precision at least, never more than is useful at 3 a.m. Cut, not
// rounded. A negative age (the clock was read in between) is "0 s".
std::string age(Duration);
// "0", "999", "1.2k", "45k", "7.8M": never more than four columns below a quadrillion.
std::string amount(std::uint64_t);
// "0 B", "999 B", "1.2 kB", "45 MB": powers of 1000.
std::string bytes(std::uint64_t);
// "1 trouble", "2 troubles"
std::string counted(std::size_t n, std::string_view one, std::string_view many);
// "2024-05-04T03:02:01.123Z"
std::string rfc3339(std::chrono::system_clock::time_point);

// Valid UTF-8 without control characters: words that came from strangers must not steer the operator's terminal. Line
// ends and tabs become a space, anything else that cannot be shown a '?'.
std::string clean(std::string_view);
// Columns on a terminal: one for each code point; colours take none.
std::size_t width(std::string_view);
// Lines of at most `columns` columns, broken at spaces; a longer word is broken where it must be. Never empty.
std::vector<std::string> wrap(std::string_view, std::size_t columns);

}  // namespace koi::status
