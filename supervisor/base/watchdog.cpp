#include "supervisor/base/watchdog.h"

#include <systemd/sd-daemon.h>

#include <algorithm>

namespace koi {

namespace {
constexpr Duration shortest = 1s;
constexpr int answers_within = 3;
}  // namespace

Duration watchdog_time(Duration peers_patience) { return std::max(shortest, peers_patience / 2); }

Watchdog::Watchdog(Loop& loop) : loop_(loop), wanted_(sd_watchdog_enabled(0, nullptr) > 0) {}

// What systemd waits now may be what an earlier program of this process has set.
void Watchdog::start() {
    if (wanted_) answer();
}

void Watchdog::set(Duration time) {
    if (!wanted_ || time == time_) return;
    time_ = time;
    sd_notifyf(0, "WATCHDOG_USEC=%lld", static_cast<long long>(time.count()));
    answer();
}

// First in its turn: an answer says that turns go round, not that all work is done.
void Watchdog::answer() {
    sd_notify(0, "WATCHDOG=1");
    const Duration pause = std::max(time_, shortest) / answers_within;
    timer_ = loop_.at(Loop::clock() + pause, Priority::carp, "watchdog", [this] { answer(); });
}

}  // namespace koi
