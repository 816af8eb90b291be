// Leaving politely.
#include <gtest/gtest.h>

#include "tests/lab/lab.h"

namespace koi::lab {
namespace {

TEST(BowOut, APlannedStopCostsLessThanAHundredMilliseconds) {
    Lab lab;
    Node& left = lab.node("left", {.advskew = 0});
    lab.node("right", {.advskew = 100, .preempt = false});
    lab.run_for(10s);
    const auto before = lab.unheld();
    lab.stop(left);
    lab.run_for(1s);
    EXPECT_EQ(lab.master(), "right") << lab.transcript();
    EXPECT_LE(lab.unheld() - before, 30ms) << "a rank of 25 ms" << lab.transcript();
    EXPECT_EQ(lab.doubly_held(), 0s) << "it let go first" << lab.transcript();
}

TEST(BowOut, OfSeveralBackupsTheBestTakesOverAlone) {
    Lab lab;
    Node& a = lab.node("a", {.advskew = 0});
    lab.node("b", {.advskew = 50});
    Node& c = lab.node("c", {.advskew = 100});
    Node& d = lab.node("d", {.advskew = 150});
    lab.run_for(10s);
    lab.stop(a);
    lab.run_for(5s);
    EXPECT_EQ(lab.master(), "b") << lab.transcript();
    EXPECT_EQ(lab.doubly_held(), 0s) << lab.transcript();
    EXPECT_EQ(c.instance().counters().became_master + d.instance().counters().became_master, 0u) << lab.transcript();
}

TEST(BowOut, EqualBackupsLeadTogetherForOneExchange) {
    Lab lab;
    Node& a = lab.node("a", {.advskew = 0});
    Node& b = lab.node("b", {.advskew = 100});
    Node& c = lab.node("c", {.advskew = 100});
    lab.run_for(10s);
    lab.stop(a);
    lab.run_for(5s);
    EXPECT_NE(b.holds(), c.holds()) << lab.transcript();
    EXPECT_LE(lab.doubly_held(), 2ms) << lab.transcript();
}

TEST(BowOut, OneLostCopyDoesNotMatter) {
    int waited_out = 0;
    for (std::uint64_t seed = 1; seed <= 200; ++seed) {
        Lab lab(seed);
        Node& left = lab.node("left", {.advskew = 0});
        lab.node("right", {.advskew = 100});
        lab.run_for(10s);
        lab.noise({.loss = 20});
        const auto before = lab.unheld();
        lab.stop(left);
        lab.run_for(10s);
        ASSERT_EQ(lab.master(), "right") << "seed " << seed << lab.transcript();
        if (lab.unheld() - before > 100ms) ++waited_out;
    }
    EXPECT_LE(waited_out, 20) << "of 200; both copies are lost in one of 25 cases";
}

// Copies that the network kept for a while come when somebody else leads already.
TEST(BowOut, ALateCopyMovesNobody) {
    Lab lab;
    Node& a = lab.node("a", {.advskew = 0});
    lab.node("b", {.advskew = 50, .preempt = false});
    Node& c = lab.node("c", {.advskew = 100, .preempt = false});
    lab.run_for(10s);
    const auto bow_out = [&] {
        auto leaving = carp::bow_out_advert(a.settings());
        leaving.counter = 7;
        const auto& s = a.settings();
        leaving.digest = carp::Seal(s.vhid, s.addresses, s.password, s.link_local).sign(7);
        const auto bytes = carp::encode(leaving);
        return Packet{{*IpAddress::parse("10.0.0.1"), *IpAddress::parse("224.0.0.18"), 255},
                      {bytes.begin(), bytes.end()}};
    }();
    lab.stop(a);
    lab.run_for(2s);
    EXPECT_EQ(lab.master(), "b");
    c.arrive(bow_out, lab.now());
    lab.run_for(10s);
    EXPECT_EQ(c.instance().counters().became_master, 0u) << lab.transcript();
}

TEST(BowOut, SteppingDownHandsOverAndSteppingUpTakesBack) {
    Lab lab;
    Node& left = lab.node("left", {.advskew = 0});
    Node& right = lab.node("right", {.advskew = 100});
    lab.run_for(10s);
    const auto before = lab.unheld();
    lab.step_down(left);
    lab.run_for(1s);
    EXPECT_EQ(lab.master(), "right") << lab.transcript();
    EXPECT_LE(lab.unheld() - before, 30ms) << lab.transcript();

    lab.kill(right);
    lab.run_for(1min);
    EXPECT_EQ(lab.master(), "nobody") << "stepped down is stepped down" << lab.transcript();

    lab.step_up(left);
    lab.run_for(1ms);
    EXPECT_EQ(lab.master(), "left") << "it has listened long enough" << lab.transcript();
}

TEST(BowOut, ABackupThatLeavesIsNotMissed) {
    Lab lab;
    lab.node("left", {.advskew = 0});
    Node& right = lab.node("right", {.advskew = 100});
    lab.run_for(10s);
    const auto adverts = lab.adverts();
    lab.stop(right);
    EXPECT_EQ(lab.adverts(), adverts);
    lab.run_for(10s);
    EXPECT_EQ(lab.master(), "left") << lab.transcript();
}

}  // namespace
}  // namespace koi::lab
