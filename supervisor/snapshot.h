// supervisor/snapshot.h — (config, facts, desired, counters) → the one status value. Pure.
#pragma once

#include "ipvs/table.h"
#include "supervisor/config/config.h"
#include "supervisor/desired.h"
#include "supervisor/facts.h"
#include "supervisor/status/status.h"

namespace koi {

struct Circumstances {
    std::string configuration;  // path
    Instant at{}, started{}, configured{};
    std::chrono::system_clock::time_point wall{};
};

status::Status snapshot(const config::Config&, const Facts&, const Desired&, const ipvs::Counters&,
                        const std::vector<status::Trouble>&, const Circumstances&);

}  // namespace koi
