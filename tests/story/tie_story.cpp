// Two nodes with the same advbase, advskew and demotion. Only their addresses tell them apart.
#include <gtest/gtest.h>

#include "tests/lab/lab.h"

namespace koi::lab {
namespace {

// They start together and lead together; one exchange settles it.
TEST(Tie, OfTwoThatLeadTogetherTheLowerAddressStays) {
    Lab lab;
    lab.node("left", {.address = "10.77.0.2"});
    lab.node("right", {.address = "10.77.1.1"});
    lab.run_for(10s);
    EXPECT_EQ(lab.master(), "right") << "lower as UCARP compares it: last octet first" << lab.transcript();
    EXPECT_LE(lab.doubly_held(), 1ms) << lab.transcript();
}

TEST(Tie, FourThatStartTogetherAreOneMaster) {
    Lab lab;
    for (const char* name : {"a", "b", "c", "d"}) lab.node(name);
    lab.run_for(10s);
    EXPECT_EQ(lab.master(), "a") << lab.transcript();
    EXPECT_LE(lab.doubly_held(), 1ms) << lab.transcript();
}

TEST(Tie, ABackupDoesNotPreemptItsEqual) {
    Lab lab;
    Node& left = lab.node("left");
    lab.node("right");
    lab.run_for(10s);
    lab.kill(left);
    lab.run_for(10s);
    lab.start(left);
    lab.run_for(60s);
    EXPECT_EQ(lab.master(), "right") << lab.transcript();
}

// Each node is heard twice, and the two families would decide differently.
TEST(Tie, WithBothFamiliesIpv4Decides) {
    Lab lab;
    Node& left = lab.node("left", {.v6 = "fe80::b"});
    Node& right = lab.node("right", {.v6 = "fe80::a"});
    for (int round = 0; round < 10; ++round) {
        lab.run_for(10s);
        EXPECT_EQ(lab.master(), "left") << lab.transcript();
        lab.split({&left}, {&right});
        lab.run_for(10s);
        EXPECT_EQ(lab.master(), "left and right") << lab.transcript();
        lab.heal();
        const auto unheld = lab.unheld();
        lab.run_for(1500ms);
        EXPECT_EQ(lab.master(), "left") << lab.transcript();
        EXPECT_EQ(lab.unheld(), unheld) << "they never both yield" << lab.transcript();
    }
}

// The demoted skew has a ceiling, so unwell nodes with different skews may tie.
TEST(Tie, EquallyUnwellAtTheCeilingIsATieLikeAnyOther) {
    Lab lab;
    Node& left = lab.node("left", {.advbase = 0, .advskew = 10});
    Node& right = lab.node("right", {.advbase = 0, .advskew = 20});
    lab.demote(left, 240);
    lab.demote(right, 240);
    lab.run_for(1min);
    EXPECT_EQ(lab.master(), "left") << lab.transcript();
    EXPECT_LE(left.instance().counters().became_master + right.instance().counters().became_master, 2u)
        << "no ping-pong" << lab.transcript();
}

}  // namespace
}  // namespace koi::lab
