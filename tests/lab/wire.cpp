#include "tests/lab/wire.h"

#include <algorithm>

#include "supervisor/base/check.h"

namespace koi::lab {

void Wire::add_place() {
    KOI_CHECK(places_ < most_places);
    ++places_;
}

std::vector<Instant> Wire::arrivals(std::size_t from, std::size_t to, Instant now, Dice& dice) {
    std::vector<Instant> when;
    if (!carries(from, to) || dice.chance(noise_.loss)) return when;
    const int copies = dice.chance(noise_.duplication) ? 2 : 1;
    for (int i = 0; i < copies; ++i) {
        auto& last = last_[from * most_places + to];
        last = std::max(last, now + dice.between(fastest, slowest));
        when.push_back(last + dice.between(0us, noise_.delay));
    }
    return when;
}

}  // namespace koi::lab
