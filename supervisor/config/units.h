// supervisor/config/units.h — durations as an operator writes them. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "supervisor/base/clock.h"

namespace koi::config {

// A whole number and ms, s, m or h: "100ms", "0s", "2s", "5m", "1h". nullopt: not one, or more than a year.
std::optional<Duration> parse_duration(std::string_view);
// The largest unit that says it exactly; reads in again as itself for whole milliseconds.
std::string text(Duration);

}  // namespace koi::config
