// One dies, the other goes on.
#include <gtest/gtest.h>

#include "tests/lab/lab.h"

namespace koi::lab {
namespace {

TEST(Failover, TheNodeWithTheSmallestSkewLeadsFromTheStart) {
    Lab lab;
    lab.node("left", {.advskew = 0});
    lab.node("right", {.advskew = 100});
    lab.run_for(5s);
    EXPECT_EQ(lab.master(), "left") << lab.transcript();
    EXPECT_EQ(lab.doubly_held(), 0s) << lab.transcript();
    EXPECT_EQ(lab.unheld(), 3s) << "one patience of listening" << lab.transcript();
}

TEST(Failover, TheBackupTakesOverWhenTheMasterFallsSilent) {
    Lab lab;
    Node& left = lab.node("left", {.advskew = 0});
    lab.node("right", {.advskew = 100});

    lab.run_for(5500ms);
    EXPECT_EQ(lab.master(), "left") << lab.transcript();

    lab.unplug(left);
    lab.run_for(4s);
    EXPECT_EQ(lab.master(), "left and right") << lab.transcript();  // left cannot know: its wire is cut

    lab.plug_back(left);
    lab.run_for(2s);
    EXPECT_EQ(lab.master(), "left") << lab.transcript();
    EXPECT_LE(lab.doubly_held(), 2s) << lab.transcript();
}

// The figure of the protocol: 3·advbase + advskew/256 after the last advert, which is up to one beat old.
TEST(Failover, AKilledMasterIsMissedForNoLongerThanThePatienceOfTheBackup) {
    for (int tenths = 0; tenths < 10; ++tenths) {
        Lab lab;
        Node& left = lab.node("left", {.advskew = 0});
        lab.node("right", {.advskew = 50});
        lab.run_for(10s + tenths * 100ms);
        const auto before = lab.unheld();
        lab.kill(left);
        lab.run_for(10s);
        EXPECT_EQ(lab.master(), "right") << lab.transcript();
        EXPECT_LE(lab.unheld() - before, 3200ms) << lab.transcript();
        EXPECT_GE(lab.unheld() - before, 2100ms) << lab.transcript();
    }
}

TEST(Failover, ASubSecondPairIsBackWithinAnEighthOfASecond) {
    Lab lab;
    Node& left = lab.node("left", {.advbase = 0, .advskew = 5});
    lab.node("right", {.advbase = 0, .advskew = 10});
    lab.run_for(2s);
    EXPECT_EQ(lab.master(), "left");
    const auto before = lab.unheld();
    lab.kill(left);
    lab.run_for(1s);
    EXPECT_EQ(lab.master(), "right") << lab.transcript();
    EXPECT_LE(lab.unheld() - before, 118ms) << lab.transcript();
}

TEST(Failover, TheOldMasterComesBackOnlyWhereItMayPreempt) {
    for (const bool preempt : {true, false}) {
        Lab lab;
        Node& left = lab.node("left", {.advskew = 0, .preempt = preempt});
        lab.node("right", {.advskew = 100, .preempt = preempt});
        lab.run_for(5s);
        lab.kill(left);
        lab.run_for(5s);
        const auto before = lab.unheld();
        lab.start(left);
        lab.run_for(20s);
        EXPECT_EQ(lab.master(), preempt ? "left" : "right") << lab.transcript();
        EXPECT_EQ(lab.unheld(), before) << "nobody waits for the exchange" << lab.transcript();
        EXPECT_LE(lab.doubly_held(), 1ms) << lab.transcript();
    }
}

TEST(Failover, AfterPreemptDelayAndNotBefore) {
    Lab lab;
    Node& left = lab.node("left", {.advskew = 0, .preempt_delay = 30s});
    lab.node("right", {.advskew = 100});
    lab.run_for(5s);
    EXPECT_EQ(lab.master(), "left") << "where nobody leads there is nothing to delay";
    lab.kill(left);
    lab.run_for(5s);
    lab.start(left);
    lab.run_for(29s);
    EXPECT_EQ(lab.master(), "right") << lab.transcript();
    lab.run_for(3s);
    EXPECT_EQ(lab.master(), "left") << lab.transcript();
}

TEST(Failover, OfThreeTheNextBestTakesOver) {
    Lab lab;
    Node& a = lab.node("a", {.advskew = 0});
    Node& b = lab.node("b", {.advskew = 50});
    lab.node("c", {.advskew = 100});
    lab.run_for(5s);
    lab.kill(a);
    lab.run_for(5s);
    EXPECT_EQ(lab.master(), "b") << lab.transcript();
    lab.kill(b);
    lab.run_for(5s);
    EXPECT_EQ(lab.master(), "c") << lab.transcript();
    lab.start(b);
    lab.start(a);
    lab.run_for(10s);
    EXPECT_EQ(lab.master(), "a") << lab.transcript();
    EXPECT_LE(lab.doubly_held(), 5ms) << lab.transcript();
}

// A master that feels unwell says so, and whoever is well relieves it, preempt or not.
TEST(Failover, AnUnwellMasterIsRelievedAtOnce) {
    Lab lab;
    Node& left = lab.node("left", {.advskew = 0, .preempt = false});
    lab.node("right", {.advskew = 100, .preempt = false});
    lab.run_for(5s);
    const auto before = lab.unheld();
    lab.demote(left, 50);
    lab.run_for(10ms);
    EXPECT_EQ(lab.master(), "right") << lab.transcript();
    EXPECT_EQ(lab.unheld(), before) << lab.transcript();
    lab.demote(left, 0);
    lab.run_for(20s);
    EXPECT_EQ(lab.master(), "right") << "without preempt, well again is no reason" << lab.transcript();
}

TEST(Failover, WhereAllAreEquallyUnwellTheSkewDecidesAsAlways) {
    Lab lab;
    Node& left = lab.node("left", {.advskew = 0});
    Node& right = lab.node("right", {.advskew = 100});
    lab.run_for(5s);
    lab.demote(left, 100);
    lab.run_for(1s);
    EXPECT_EQ(lab.master(), "right") << lab.transcript();
    lab.demote(right, 100);
    lab.run_for(3s);
    EXPECT_EQ(lab.master(), "left") << lab.transcript();
    lab.run_for(1min);
    EXPECT_LE(lab.doubly_held(), 10ms) << "and they do not push each other aside" << lab.transcript();
}

// A paused guest wakes up and finds its patience long over. That proves nothing about the master.
TEST(Failover, ABackupThatSleptDoesNotMistakeItsSleepForSilence) {
    for (const bool whole_machine : {true, false}) {
        Lab lab;
        lab.node("left", {.advskew = 0});
        Node& right = lab.node("right", {.advskew = 100, .preempt = false});
        lab.run_for(5s);
        whole_machine ? lab.suspend(right) : lab.freeze(right);
        lab.run_for(10s);
        lab.wake(right);
        lab.run_for(10s);
        EXPECT_EQ(lab.master(), "left") << lab.transcript();
        EXPECT_EQ(lab.doubly_held(), 0s) << lab.transcript();
    }
}

TEST(Failover, AMasterThatWakesFindsItsSuccessorAndIsDoneInOneExchange) {
    Lab lab;
    Node& left = lab.node("left", {.advskew = 100, .preempt = false});
    lab.run_for(5s);
    lab.node("right", {.advskew = 0, .preempt = false});
    lab.run_for(5s);
    EXPECT_EQ(lab.master(), "left");
    lab.freeze(left);
    lab.run_for(10s);
    const auto before = lab.doubly_held();
    lab.wake(left);
    lab.run_for(5s);
    EXPECT_EQ(lab.master(), "right") << lab.transcript();
    EXPECT_LE(lab.doubly_held() - before, 1ms) << lab.transcript();
}

TEST(Failover, AReloadedBeatTakesNobodysRole) {
    Lab lab;
    Node& left = lab.node("left", {.advbase = 10, .advskew = 0});
    Node& right = lab.node("right", {.advbase = 10, .advskew = 100});
    lab.run_for(60s);
    const auto before = lab.unheld();
    for (Node* n : {&left, &right}) {
        auto faster = n->settings();
        faster.advbase = *carp::Advbase::of(1);
        lab.change(*n, faster);
        lab.run_for(1s);
    }
    lab.run_for(60s);
    EXPECT_EQ(lab.master(), "left") << lab.transcript();
    EXPECT_EQ(lab.unheld(), before) << lab.transcript();
    EXPECT_EQ(lab.doubly_held(), 0s) << lab.transcript();
}

TEST(Failover, ANewPasswordGoesFromBackupToMasterAndNobodyTakesOver) {
    Lab lab;
    Node& left = lab.node("left", {.advskew = 0});
    Node& right = lab.node("right", {.advskew = 100});
    lab.run_for(10s);
    for (Node* n : {&right, &left}) {
        auto other = n->settings();
        other.password = "another one";
        lab.change(*n, other);
        lab.run_for(20s);
    }
    EXPECT_EQ(lab.master(), "left") << lab.transcript();
    EXPECT_EQ(lab.doubly_held(), 0s) << lab.transcript();
}

}  // namespace
}  // namespace koi::lab
