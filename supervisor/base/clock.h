// supervisor/base/clock.h
//
// Koi's time: CLOCK_BOOTTIME in microseconds, which no administrator can step. There is no now() on purpose: the loop
// reads the clock once per event and passes the instant down, so a test can let a year pass.
#pragma once

#include <chrono>
#include <cstdint>

namespace koi {

struct Clock {
    using duration = std::chrono::duration<std::int64_t, std::micro>;
    using rep = duration::rep;
    using period = duration::period;
    using time_point = std::chrono::time_point<Clock>;
    static constexpr bool is_steady = true;
};

// What the rest of the world calls now. Nothing waits by it; it only tells what is old.
struct WallTime {
    std::uint64_t us = 0;  // since 1970
    // Somebody disciplines this clock, and the kernel says so. Unknown counts as no: a clock that we cannot vouch for
    // must not refuse a peer's advert, for then two nodes would lead; nor do we ask our peers to judge us by it.
    bool synchronised = false;
};

using Duration = Clock::duration;
using Instant = Clock::time_point;

using namespace std::chrono_literals;

}  // namespace koi
