#include "carp/counter.h"

#include <gtest/gtest.h>

namespace koi::carp {
namespace {

constexpr WallTime at(std::uint64_t us) { return {us, true}; }

TEST(Counter, FollowsTheWallClockAndNeverFalls) {
    Counter c({7, 3, 0});
    EXPECT_EQ(c.session(), 4) << "a start is a session";
    EXPECT_EQ(c.next(at(1'000'000)), 1'000'000u);
    EXPECT_EQ(c.next(at(1'000'000)), 1'000'001u);
    EXPECT_EQ(c.next(at(5)), 1'000'002u) << "the clock was set back";
    EXPECT_EQ(c.next(at(3'000'000)), 3'000'000u);
}

TEST(Counter, GoesOnAboveWhatWasReservedAfterACrash) {
    Counter before({7, 0, 0});
    std::uint64_t last = before.next(at(50'000'000));
    ASSERT_TRUE(before.wants_keeping());
    auto file = before.reserve();
    for (std::uint64_t t = 50'000'000; t < 200'000'000; t += 700'000) {
        last = before.next(at(t));
        if (before.wants_keeping()) file = before.reserve();
    }
    Counter after(file);
    EXPECT_GT(after.next(at(0)), last) << "even where the clock begins anew with each boot";
}

TEST(Counter, ACleanEndLeavesNoGap) {
    Counter before({7, 0, 0});
    before.next(at(1000));
    (void)before.reserve();
    Counter after(before.close());
    EXPECT_EQ(after.next(at(0)), 1001u);
}

TEST(Counter, TheReservationIsRenewedInTime) {
    Counter c({7, 0, 0});
    c.next(at(1'000'000));
    (void)c.reserve();
    EXPECT_FALSE(c.wants_keeping());
    c.next(at(1'000'000 + Counter::lead / 2 - 1));
    EXPECT_FALSE(c.wants_keeping());
    c.next(at(1'000'000 + Counter::lead / 2 + 1));
    EXPECT_TRUE(c.wants_keeping());
}

TEST(Counter, TellsTimeOnlyCloseToASynchronisedClock) {
    EXPECT_TRUE(Counter::tells_time(100'000'000, at(104'000'000)));
    EXPECT_FALSE(Counter::tells_time(100'000'000, at(106'000'000)));
    EXPECT_FALSE(Counter::tells_time(100'000'000, {100'000'000, false}))
        << "undisciplined, or the kernel does not tell: no receiver may hold it against us";
}

TEST(Counter, FollowsAClockThatNobodyVouchesFor) {
    Counter c({7, 3, 1000});
    EXPECT_EQ(c.next({5'000'000, false}), 5'000'000u);
    EXPECT_EQ(c.next({0, false}), 5'000'001u) << "even a clock that begins anew lowers nothing";
}

}  // namespace
}  // namespace koi::carp
