// supervisor/status/tree.h
//
// A status as a plain tree, from which JSON and YAML are printed, so that both have the same names. Every key is
// always there; what is not known is null. Strings are valid UTF-8.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "supervisor/status/status.h"

namespace koi::status {

nlohmann::ordered_json tree(const Status&, Part);
nlohmann::ordered_json tree(const Event&, const Status& times);

// The time of day at an instant of Koi's clock.
std::chrono::system_clock::time_point time_of_day(Instant, const Status& times);

}  // namespace koi::status
