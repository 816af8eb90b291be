// Two owners never: what the lease is for. "Answers" is what a client sees: the kernel, whatever became of the
// process.
#include <gtest/gtest.h>

#include "tests/lab/lab.h"

namespace koi::lab {
namespace {

// Every phase of the beat, at an advert a second and at ten.
template <class Told>
void at_every_phase(Told told) {
    for (const auto& [base, left, right] : {std::tuple{1, 0, 100}, {0, 26, 40}})
        for (int phase = 0; phase < 40; ++phase) {
            Lab lab(static_cast<std::uint64_t>(phase) + 1);
            Node& a = lab.node("left", {.advbase = base, .advskew = left});
            lab.node("right", {.advbase = base, .advskew = right});
            lab.run_for(6s + phase * 25'700us);
            ASSERT_EQ(lab.master(), "left") << lab.transcript();
            told(lab, a);
            EXPECT_EQ(lab.doubly_answered(), 0us) << lab.transcript();
        }
}

TEST(Lease, AKilledProcessIsSilentBeforeItsPeerTakesOver) {
    at_every_phase([](Lab& lab, Node& left) {
        lab.crash(left);
        lab.run_for(1s);
        lab.run_for(10s);
        EXPECT_EQ(lab.master(), "right") << lab.transcript();
    });
}

TEST(Lease, AHungProcessIsSilentBeforeItsPeerTakesOverAndDoesNotSpeakAsMasterWhenItWakes) {
    at_every_phase([](Lab& lab, Node& left) {
        lab.freeze(left);
        lab.run_for(10s);
        EXPECT_EQ(lab.master(), "left and right") << "one of them only believes so" << lab.transcript();
        EXPECT_FALSE(left.answers(lab.now()));
        const auto sent = left.instance().counters().sent;
        lab.wake(left);
        EXPECT_EQ(lab.master(), "right") << lab.transcript();
        EXPECT_EQ(left.instance().counters().sent, sent) << "it must not say a word" << lab.transcript();
    });
}

TEST(Lease, AProcessThatIsStartedAgainInTimeGoesOn) {
    at_every_phase([](Lab& lab, Node& left) {
        lab.crash(left);
        lab.run_for(20ms);
        EXPECT_TRUE(left.answers(lab.now()) || lab.nodes()[1]->settings().advbase.value() == 0);
        lab.start(left);
        lab.run_for(10s);
        EXPECT_EQ(lab.master(), "left") << lab.transcript();
    });
}

TEST(Lease, AProcessThatIsStartedTooLateListensFirst) {
    at_every_phase([](Lab& lab, Node& left) {
        lab.crash(left);
        lab.run_for(2900ms);
        lab.start(left);
        EXPECT_EQ(left.role(), carp::Role::backup) << lab.transcript();
        EXPECT_FALSE(left.answers(lab.now()));
    });
}

TEST(Lease, ASuspendedMachineKnowsThatItSlept) {
    at_every_phase([](Lab& lab, Node& left) {
        lab.suspend(left);
        lab.run_for(1min);
        lab.wake(left);
        EXPECT_FALSE(left.answers(lab.now())) << lab.transcript();
        lab.run_for(200ms);  // before it asks for its place again
    });
}

// It cannot know: its clock and its lease stand where they stood. The next advert of its peer, or its own, tells.
TEST(Lease, APausedGuestThatWakesOverlapsForLessThanABeatOfItsPeer) {
    Duration longest{};
    for (int phase = 0; phase < 200; ++phase) {
        Lab lab(static_cast<std::uint64_t>(phase) + 1);
        Node& left = lab.node("left", {.advskew = 0});
        lab.node("right", {.advskew = 100});
        lab.run_for(6s + phase * 5'100us);
        lab.pause(left);
        lab.run_for(30s + phase * 13'700us);
        EXPECT_EQ(lab.doubly_answered(), 0us) << lab.transcript();
        lab.wake(left);
        lab.run_for(10s);
        EXPECT_EQ(lab.master(), "left") << lab.transcript();
        longest = std::max(longest, lab.doubly_answered());
    }
    EXPECT_LT(longest, 1390ms) << "the beat of its peer";
    EXPECT_GT(longest, 0us) << "or nothing was shown";
    std::printf("longest overlap: %.0f ms\n", static_cast<double>(longest.count()) / 1000);
}

}  // namespace
}  // namespace koi::lab
