#include "carp/counter.h"

#include <algorithm>

namespace koi::carp {

Counter::Counter(const Kept& kept) : kept_(kept), last_(kept.high) { ++kept_.session; }

std::uint64_t Counter::next(WallTime wall) { return last_ = std::max(last_ + 1, wall.us); }

bool Counter::tells_time(std::uint64_t k, WallTime wall) {
    constexpr std::uint64_t close = 5'000'000;  // µs
    return wall.synchronised && std::max(k, wall.us) - std::min(k, wall.us) <= close;
}

Counter::Kept Counter::reserve() {
    kept_.high = last_ + lead;
    return kept_;
}

Counter::Kept Counter::close() {
    kept_.high = last_;
    return kept_;
}

}  // namespace koi::carp
