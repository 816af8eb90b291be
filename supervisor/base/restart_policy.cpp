#include "supervisor/base/restart_policy.h"

#include <algorithm>
#include <iterator>

namespace koi {

Instant RestartPolicy::on_death(Instant now) {
    deaths_.push_back(now);
    while (deaths_.front() + limits_.within < now) deaths_.pop_front();
    const auto recent = std::ssize(deaths_);
    if (recent == 1) return now;
    const auto doublings = std::min<std::ptrdiff_t>(recent - 2, 16);
    return now + std::min<Duration>(limits_.first_pause * (1 << doublings), limits_.longest_pause);
}

}  // namespace koi
