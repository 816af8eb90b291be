#include <gtest/gtest.h>

#include <random>

#include "supervisor/vip/announce.h"

namespace koi::vip {
namespace {

Held held(std::uint8_t last) { return {"eth0", {IpAddress::v4({192, 0, 2, last}), 32}}; }

// When one vip is announced between now and the end, if the caller is always on time.
std::vector<Duration> moments(Timetable& table, Instant now, Instant end) {
    std::vector<Duration> out;
    while (table.next() <= end) {
        now = std::max(now, table.next());
        for ([[maybe_unused]] const auto& one : table.due(now)) out.push_back(now.time_since_epoch());
    }
    return out;
}

TEST(Timetable, SixTimesInFiveSecondsAndThenOnceAMinute) {  // rules 1 and 3
    Timetable table;
    table.take(held(10), Instant(0s));
    EXPECT_EQ(moments(table, Instant(0s), Instant(200s)),
              (std::vector<Duration>{0ms, 50ms, 250ms, 1s, 2s, 5s, 65s, 125s, 185s}));
}

TEST(Timetable, NothingIsDueWhenNothingIsHeld) {
    Timetable table;
    EXPECT_EQ(table.next(), Instant::max());
    EXPECT_TRUE(table.due(Instant(1h)).empty());
}

TEST(Timetable, NothingIsSaidBeforeItIsTime) {
    Timetable table;
    table.take(held(10), Instant(1s));
    EXPECT_TRUE(table.due(Instant(999ms)).empty());
    EXPECT_EQ(table.due(Instant(1s)), std::vector<Held>{held(10)});
    EXPECT_TRUE(table.due(Instant(1s)).empty()) << "said";
}

TEST(Timetable, AnotherMasterStartsItFromTheBeginning) {  // rule 2
    Timetable table;
    table.take(held(10), Instant(0s));
    moments(table, Instant(0s), Instant(10s));
    table.repeat(held(10), Instant(10s));
    EXPECT_EQ(moments(table, Instant(10s), Instant(20s)),
              (std::vector<Duration>{10s, 10s + 50ms, 10s + 250ms, 11s, 12s, 15s}));
}

TEST(Timetable, AFloodOfOtherMastersIsAnsweredTwentyTimesASecondAtMost) {
    Timetable table;
    table.take(held(10), Instant(0s));
    unsigned said = 0;
    for (Instant now(0s); now < Instant(1s); now += 1ms) {
        table.repeat(held(10), now);
        said += static_cast<unsigned>(table.due(now).size());
    }
    EXPECT_EQ(said, 20u);
}

TEST(Timetable, WhatIsNotHeldIsNotRepeated) {
    Timetable table;
    table.repeat(held(10), Instant(0s));
    EXPECT_EQ(table.next(), Instant::max());
}

TEST(Timetable, AHeldUpProcessNeitherSkipsNorHurries) {
    Timetable table;
    table.take(held(10), Instant(0s));
    EXPECT_EQ(table.due(Instant(30s)).size(), 1u);
    EXPECT_EQ(moments(table, Instant(30s), Instant(60s)),
              (std::vector<Duration>{30s + 50ms, 30s + 250ms, 31s, 32s, 35s}));
}

TEST(Timetable, ManyVipsAreSpreadOut) {
    Timetable table;
    for (std::uint8_t n = 0; n < 250; ++n) table.take(held(n), Instant(0s));
    std::map<Duration, std::size_t> per_moment;
    std::set<Held> first_round;
    for (Instant now(0s); now < Instant(250ms); now += 1ms)
        for (const auto& one : table.due(now)) {
            ++per_moment[now.time_since_epoch()];
            first_round.insert(one);
        }
    EXPECT_EQ(first_round.size(), 250u) << "each was said once before any is said again";
    ASSERT_EQ(per_moment.size(), 5u);
    for (const auto& [when, count] : per_moment) EXPECT_EQ(count, 50u) << when.count();
    EXPECT_GE(table.next(), Instant(250ms)) << "the caller can rest until then";
}

// The law: nothing is said about an address before it is taken or after it was let go, whatever else happens.
TEST(Timetable, NothingIsEverSaidAboutAnAddressThatIsNotHeld) {
    for (unsigned seed = 0; seed < 500; ++seed) {
        std::mt19937 dice(seed);
        Timetable table;
        std::set<Held> holding;
        Instant now(0s);
        for (int step = 0; step < 200; ++step) {
            now += Duration(dice() % 2'000'000);
            const auto one = held(static_cast<std::uint8_t>(dice() % 4));
            switch (dice() % 4) {
                case 0: table.take(one, now), holding.insert(one); break;
                case 1: table.let_go(one), holding.erase(one); break;
                case 2: table.repeat(one, now); break;
                default: break;
            }
            for (const auto& said : table.due(now)) ASSERT_TRUE(holding.contains(said)) << "seed " << seed;
            ASSERT_EQ(table.next() == Instant::max(), holding.empty()) << "seed " << seed;
            ASSERT_GT(table.next(), now) << "what was due was given; seed " << seed;
        }
    }
}

}  // namespace
}  // namespace koi::vip
