#include "supervisor/base/log.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>

namespace koi::log {
namespace {

std::string said(const std::function<void()>& deed) {
    testing::internal::CaptureStderr();
    deed();
    return testing::internal::GetCapturedStderr();
}

TEST(Log, ALineIsPriorityProcessEventSentenceAndFacts) {
    speak_as("speaker");
    EXPECT_EQ(said([] {
                  note(Level::notice, "role", "vhid 51 is master now", {{"vhid", "51"}, {"because", "peer silent"}});
              }),
              "speaker: role: vhid 51 is master now vhid=51 because=\"peer silent\"\n");
    speak_as("koid");
}

TEST(Log, AFactThatIsEmptyOrHoldsQuotesCanStillBeReadBack) {
    EXPECT_EQ(said([] {
                  note(Level::info, "x", "s", {{"a", ""}, {"b", "say \"hi\""}, {"c", "1=2"}, {"d", "back\\ slash"}});
              }),
              "koid: x: s a=\"\" b=\"say \\\"hi\\\"\" c=\"1=2\" d=\"back\\\\ slash\"\n");
}

TEST(Log, WhatAStrangerSentStaysOnItsLineAndDoesNotSpeakToTheTerminal) {
    EXPECT_EQ(said([] {
                  note(Level::warning, "x", "one\ntwo\r\x1b[31mred\x7f", {{"k", "v\n<0>koid: fake"}});
              }),
              "koid: x: one two  [31mred  k=\"v <0>koid: fake\"\n");
}

TEST(Log, DebugIsSilentUnlessAskedFor) {
    show(Level::info);
    EXPECT_EQ(said([] { note(Level::debug, "x", "detail"); }), "");
    show(Level::debug);
    EXPECT_EQ(said([] { note(Level::debug, "x", "detail"); }), "koid: x: detail\n");
    show(Level::warning);
    EXPECT_EQ(said([] { note(Level::notice, "x", "calm"); }), "");
    show(Level::info);
}

TEST(RateLimit, ABurstPassesAndThenOneLinePerInterval) {
    RateLimit limit(3, 10s);
    unsigned passed = 0;
    for (Instant now(1h); now < Instant(1h + 100s); now += 1ms) passed += limit.allows(now);
    EXPECT_EQ(passed, 3u + 9u);
}

TEST(RateLimit, TellsHowManyItSwallowed) {
    RateLimit limit(1, 10s);
    EXPECT_TRUE(limit.allows(Instant(0s)));
    EXPECT_EQ(limit.suppressed(), 0u);
    for (int i = 0; i < 41; ++i) EXPECT_FALSE(limit.allows(Instant(1s)));
    EXPECT_TRUE(limit.allows(Instant(10s)));
    EXPECT_EQ(limit.suppressed(), 41u);
    EXPECT_TRUE(limit.allows(Instant(20s)));
    EXPECT_EQ(limit.suppressed(), 0u) << "told once";
}

TEST(RateLimit, AQuietTimeGivesTheBurstBack) {
    RateLimit limit(3, 10s);
    const auto pass_at = [&](Instant now) {
        unsigned passed = 0;
        for (int i = 0; i < 10; ++i) passed += limit.allows(now);
        return passed;
    };
    EXPECT_EQ(pass_at(Instant(0s)), 3u);
    EXPECT_EQ(pass_at(Instant(25s)), 2u) << "two intervals, two lines";
    EXPECT_EQ(pass_at(Instant(29s)), 0u);
    EXPECT_EQ(pass_at(Instant(31s)), 1u) << "the half interval was not lost";
    EXPECT_EQ(pass_at(Instant(1h)), 3u) << "never more than the burst";
}

}  // namespace
}  // namespace koi::log
