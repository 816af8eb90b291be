#include "supervisor/speaker/refusal_lines.h"

#include <gtest/gtest.h>

#include <set>

namespace koi::speaker {
namespace {

const Instant now{100s};

Refused refused(carp::Refusal why, bool ours = true) {
    return {why, *IpAddress::parse("10.0.0.9"), "eth0", 51, ours};
}

TEST(RefusalLines, EveryReasonHasItsOwnSentenceThatNamesTheSender) {
    RefusalLines lines;
    std::set<std::string> sentences;
    for (std::size_t n = 0; n < carp::refusals; ++n) {
        const auto line = lines.say(refused(static_cast<carp::Refusal>(n)), now);
        ASSERT_TRUE(line);
        const bool names_it = line->sentence.find("10.0.0.9") != std::string::npos;
        EXPECT_TRUE(names_it || static_cast<carp::Refusal>(n) == carp::Refusal::own_echo) << line->sentence;
        EXPECT_EQ(line->fields.front().first, "reason");
        EXPECT_EQ(line->fields.back(), std::make_pair(std::string("vhid"), std::string("51")));
        sentences.insert(line->sentence);
    }
    EXPECT_EQ(sentences.size(), carp::refusals);
}

TEST(RefusalLines, AFloodIsToldOnceAMinuteWithItsSize) {
    RefusalLines lines;
    int said = 0;
    for (int n = 0; n < 1000; ++n) said += lines.say(refused(carp::Refusal::wrong_tag), now).has_value();
    EXPECT_EQ(said, 3);
    EXPECT_TRUE(lines.say(refused(carp::Refusal::replayed), now)) << "another reason has its own share";
    const auto later = lines.say(refused(carp::Refusal::wrong_tag), now + 60s);
    ASSERT_TRUE(later);
    EXPECT_NE(later->sentence.find("(997 more like it were not logged)"), std::string::npos) << later->sentence;
}

TEST(RefusalLines, ANeighbourIsNoFaultAndToldOnceADay) {
    RefusalLines lines;
    const auto first = lines.say(refused(carp::Refusal::vrrp, false), now);
    ASSERT_TRUE(first);
    EXPECT_EQ(first->level, log::Level::notice);
    EXPECT_FALSE(lines.say(refused(carp::Refusal::vrrp, false), now + 23h));
    EXPECT_TRUE(lines.say(refused(carp::Refusal::vrrp, false), now + 24h));
    const auto fault = lines.say(refused(carp::Refusal::vrrp, true), now);
    ASSERT_TRUE(fault) << "with a vhid of ours it is one";
    EXPECT_EQ(fault->level, log::Level::warning);
}

// What a node tells of a vhid while a peer of it may be one that is not believed here.
TEST(LastRefusals, OfEachReasonThatSplitsAPairTheLastIsToldInTheWordsOfTheJournal) {
    const Vhid ours = *Vhid::of(51);
    LastRefusals last;
    for (const char* source : {"10.0.0.7", "10.0.0.8", "10.0.0.9"})
        for (std::size_t n = 0; n < carp::refusals; ++n)
            last.note(ours, static_cast<carp::Refusal>(n), *IpAddress::parse(source), now);
    last.note(ours, carp::Refusal::stale_clock, *IpAddress::parse("10.0.0.9"), now + 1s);

    std::set<carp::Refusal> told;
    for (const auto& one : last.of(ours, "eth0")) {
        told.insert(one.why);
        EXPECT_EQ(one.source.text(), "10.0.0.9");
        EXPECT_EQ(one.at, one.why == carp::Refusal::stale_clock ? now + 1s : now);
        EXPECT_EQ(one.sentence, sentence_for(refused(one.why)));
    }
    using enum carp::Refusal;
    EXPECT_EQ(told, (std::set{wrong_digest, no_trailer, bad_trailer, unknown_key, wrong_tag, stale_clock}));

    EXPECT_TRUE(last.of(*Vhid::of(52), "eth0").empty());
    last.forget(ours);
    EXPECT_TRUE(last.of(ours, "eth0").empty());
}

}  // namespace
}  // namespace koi::speaker
