// supervisor/base/restart_policy.h
//
// When to start a dead process again. Pure. The first death within the window is free; each further one doubles the
// pause. A calm spell is forgiven: a process is as good as new when it has lived for the length of the window.
#pragma once

#include <deque>

#include "supervisor/base/clock.h"

namespace koi {

struct RestartLimits {
    Duration within = 60s;  // deaths older than this are forgotten
    Duration first_pause = 200ms;
    Duration longest_pause = 5s;  // shorter than worker_grace: a node that could come back should, before it gives up
};

class RestartPolicy {
public:
    explicit RestartPolicy(RestartLimits limits = {}) : limits_(limits) {}
    // The instant at which to start it again.
    Instant on_death(Instant now);

private:
    RestartLimits limits_;
    std::deque<Instant> deaths_;
};

}  // namespace koi
