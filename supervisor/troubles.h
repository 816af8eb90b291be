// supervisor/troubles.h
//
// What is desired and cannot be had, and dangers that were seen: a pure reading of config, facts and desired. Worst
// first. `since` is filled in by whoever remembers the last list (keep_since).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "supervisor/config/config.h"
#include "supervisor/desired.h"
#include "supervisor/facts.h"
#include "supervisor/status/status.h"

namespace koi {

std::vector<status::Trouble> troubles(const config::Config&, const Facts&, const Desired&, Instant now);

// Which program runs in another version than the one that is installed: half a sentence. A speaker of 0.1.0 tells
// none.
std::optional<std::string> outdated(const Facts&);

// Carries over since when each trouble has lasted (same what and about); new ones begin now. Sorted: errors before
// warnings, then by age.
std::vector<status::Trouble> keep_since(std::vector<status::Trouble>, const std::vector<status::Trouble>& before,
                                        Instant now);

}  // namespace koi
