// An agreed hand-over between nodes that sign: nobody is pushed aside, and somebody answers at every instant.
#include <gtest/gtest.h>

#include "tests/lab/lab.h"

namespace koi::lab {
namespace {

constexpr Duration the_agreement = 20ms;  // both may answer for so long: until the successor's advert has arrived

// What happened between two looks: for how long nobody answered, and for how long two did.
struct Watch {
    explicit Watch(const Lab& l) : lab(l), dark(l.unanswered()), twice(l.doubly_answered()) {}
    void expect_seamless() const {
        EXPECT_EQ(lab.unanswered() - dark, 0us) << lab.transcript();
        EXPECT_LE(lab.doubly_answered() - twice, the_agreement) << lab.transcript();
    }
    const Lab& lab;
    Duration dark, twice;
};

struct Pair {
    explicit Pair(int phase, Duration interval = {}, carp::Auth::Mode mode = carp::Auth::Mode::require)
        : lab(static_cast<std::uint64_t>(phase) + 1),
          left(lab.node("left", {.advskew = 0, .auth = mode, .interval = interval})),
          right(lab.node("right", {.advskew = 100, .auth = mode, .interval = interval})) {
        lab.run_for(8s + phase * 25'700us);
        EXPECT_EQ(lab.master(), "left") << lab.transcript();
    }
    Lab lab;
    Node& left;
    Node& right;
};

template <class Told>
void at_every_phase(Told told) {
    for (const auto interval : {0ms, 100ms})
        for (int phase = 0; phase < 40; ++phase) {
            Pair pair(phase, interval);
            told(pair);
        }
}

TEST(HandOver, ACleanStopLosesNoRequest) {
    at_every_phase([](Pair& p) {
        const Watch watch(p.lab);
        p.lab.stop(p.left);
        p.lab.run_for(2s);
        EXPECT_EQ(p.lab.master(), "right") << p.lab.transcript();
        watch.expect_seamless();
    });
}

TEST(HandOver, ThePreferredMasterComesBackWithoutALoss) {
    at_every_phase([](Pair& p) {
        p.lab.kill(p.left);
        p.lab.run_for(5s);
        ASSERT_EQ(p.lab.master(), "right") << p.lab.transcript();
        const Watch watch(p.lab);
        p.lab.start(p.left);
        p.lab.run_for(8s);
        EXPECT_EQ(p.lab.master(), "left") << p.lab.transcript();
        watch.expect_seamless();
    });
}

TEST(HandOver, SteppingDownAndUpLosesNoRequest) {
    at_every_phase([](Pair& p) {
        const Watch watch(p.lab);
        p.lab.step_down(p.left);
        p.lab.run_for(1s);
        EXPECT_EQ(p.lab.master(), "right") << p.lab.transcript();
        p.lab.step_up(p.left);
        p.lab.run_for(3s);
        EXPECT_EQ(p.lab.master(), "left") << p.lab.transcript();
        watch.expect_seamless();
    });
}

TEST(HandOver, ADemotedMasterIsRelievedWithoutALoss) {
    at_every_phase([](Pair& p) {
        const Watch watch(p.lab);
        p.lab.demote(p.left, 240);
        p.lab.run_for(500ms);
        EXPECT_EQ(p.lab.master(), "right") << p.lab.transcript();
        p.lab.demote(p.left, 0);
        p.lab.run_for(5s);
        EXPECT_EQ(p.lab.master(), "left") << p.lab.transcript();
        watch.expect_seamless();
    });
}

// The words of the agreement may get lost. Then it takes a little longer, and there are still never two for long.
TEST(HandOver, LostWordsAreSaidAgainOrTheOldWayIsTaken) {
    Duration darkest{};
    for (int phase = 0; phase < 200; ++phase) {
        Pair p(phase);
        p.lab.noise({.loss = 40, .duplication = 0, .delay = 0us});
        const auto dark = p.lab.unanswered(), twice = p.lab.doubly_answered();
        p.lab.step_down(p.left);
        p.lab.run_for(3s);
        p.lab.heal();
        p.lab.run_for(5s);
        EXPECT_EQ(p.lab.master(), "right") << p.lab.transcript();
        darkest = std::max(darkest, p.lab.unanswered() - dark);
        EXPECT_LE(p.lab.doubly_answered() - twice, the_agreement) << p.lab.transcript();
    }
    std::printf("darkest with 40 %% loss: %.0f ms\n", static_cast<double>(darkest.count()) / 1000);
}

// Whoever falls asleep in the middle of it does not come back as a second owner.
TEST(HandOver, ASleeperInTheMiddleIsNoSecondOwner) {
    for (const bool successor : {false, true})
        for (int step = 0; step < 60; ++step) {
            Pair p(step);
            p.lab.step_down(p.left);
            p.lab.run_for(step * 500us);
            Node& sleeper = successor ? p.right : p.left;
            const auto twice = p.lab.doubly_answered();
            p.lab.freeze(sleeper);
            p.lab.run_for(10s);
            p.lab.wake(sleeper);
            p.lab.run_for(10s);
            EXPECT_LE(p.lab.doubly_answered() - twice, the_agreement) << p.lab.transcript();
        }
}

TEST(HandOver, ACrashInTheMiddleIsNoSecondOwnerEither) {
    for (const bool successor : {false, true})
        for (int step = 0; step < 60; ++step) {
            Pair p(step);
            p.lab.step_down(p.left);
            p.lab.run_for(step * 500us);
            Node& one = successor ? p.right : p.left;
            const auto twice = p.lab.doubly_answered();
            p.lab.crash(one);
            p.lab.run_for(5ms);
            p.lab.start(one);
            p.lab.run_for(10s);
            EXPECT_LE(p.lab.doubly_answered() - twice, the_agreement) << p.lab.transcript();
        }
}

TEST(HandOver, WithoutASignatureItIsABowOut) {
    Pair p(1, {}, carp::Auth::Mode::off);
    const auto dark = p.lab.unanswered();
    p.lab.stop(p.left);
    p.lab.run_for(2s);
    EXPECT_EQ(p.lab.master(), "right");
    EXPECT_GT(p.lab.unanswered() - dark, 0us);
    EXPECT_LT(p.lab.unanswered() - dark, 64ms) << p.lab.transcript();
}

TEST(HandOver, AnIntervalOfItsOwnIsWaitedForThreeTimes) {
    for (int phase = 0; phase < 40; ++phase) {
        Pair p(phase, 100ms);
        const auto dark = p.lab.unanswered();
        p.lab.kill(p.left);
        p.lab.run_for(2s);
        EXPECT_EQ(p.lab.master(), "right") << p.lab.transcript();
        EXPECT_LT(p.lab.unanswered() - dark, 345ms) << p.lab.transcript();
        EXPECT_GT(p.lab.unanswered() - dark, 230ms) << p.lab.transcript();
        EXPECT_EQ(p.lab.doubly_answered(), 0us);
    }
}

}  // namespace
}  // namespace koi::lab
