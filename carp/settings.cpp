#include "carp/settings.h"

#include <algorithm>

namespace koi::carp {

namespace {

constexpr Duration shortest = Duration(1'000'000) / 256;

// n/256 s. The division is the last step, so that 255 steps are 996,093 µs and not 255 · 3,906.
constexpr Duration steps(std::int64_t n) { return Duration(n * 1'000'000 / 256); }

}  // namespace

Duration beat(Advbase base, Advskew skew) { return std::max(shortest, steps(base.value() * 256 + skew.value())); }

Duration patience(Advbase base, Advskew skew) {
    if (base.value() == 0) return std::max(steps(3), steps(3 * skew.value()));
    return steps(3 * base.value() * 256 + skew.value());
}

Duration beat(const Settings& us, Advskew sent) {
    const bool tells = us.auth.mode != Auth::Mode::off && us.interval > 0us;
    return tells ? std::max(us.interval, shortest_interval) : beat(us.advbase, sent);
}

Duration patience(Duration interval, Advskew skew) {
    const Duration one = std::max(interval, shortest_interval);
    return 3 * one + one * skew.value() / 256;
}

Duration least_patience(const Settings& us, Advskew sent) {
    if (us.auth.mode != Auth::Mode::off && us.interval > 0us) return patience(us.interval, *Advskew::of(0));
    return us.advbase.value() > 0 ? patience(us.advbase, *Advskew::of(0)) : 3 * beat(us.advbase, sent);
}

Duration lease_length(const Settings& us, Advskew sent) {
    const Duration waits = least_patience(us, sent);
    // Where adverts are 4 ms apart no margin fits any more; then half of the patience has to do.
    const Duration longest = std::max(waits - std::max<Duration>(waits / 20, 20ms), waits / 2);
    if (us.lease.kind != Lease::Kind::fixed) return longest;
    return std::min(longest, std::max(us.lease.length, beat(us, sent) * 5 / 4));
}

}  // namespace koi::carp
