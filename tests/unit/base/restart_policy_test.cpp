#include "supervisor/base/restart_policy.h"

#include <gtest/gtest.h>

#include <vector>

namespace koi {
namespace {

const Instant start{Duration(1h)};

TEST(RestartPolicy, TheFirstDeathIsFree) { EXPECT_EQ(RestartPolicy().on_death(start), start); }

TEST(RestartPolicy, EachFurtherOneDoublesThePauseUpToALimit) {
    RestartPolicy policy({.within = 60s, .first_pause = 200ms, .longest_pause = 1s});
    std::vector<Duration> pauses;
    for (int death = 0; death < 6; ++death)
        pauses.push_back(policy.on_death(start + death * 1s) - (start + death * 1s));
    const std::vector<Duration> expected = {0ms, 200ms, 400ms, 800ms, 1s, 1s};
    EXPECT_EQ(pauses, expected);
}

TEST(RestartPolicy, ACalmSpellIsForgiven) {
    RestartPolicy policy;
    (void)policy.on_death(start);
    (void)policy.on_death(start + 1s);
    EXPECT_EQ(policy.on_death(start + 62s), start + 62s);
}

TEST(RestartPolicy, AThousandDeathsDoNotOverflow) {
    RestartPolicy policy({.within = 24h, .first_pause = 200ms, .longest_pause = 5s});
    Instant last{};
    for (int death = 0; death < 1000; ++death) last = policy.on_death(start);
    EXPECT_EQ(last, start + 5s);
}

}  // namespace
}  // namespace koi
