#include "supervisor/status/event_log.h"

#include <gtest/gtest.h>

namespace koi::status {
namespace {

Event named(const std::string& word) {
    Event e;
    e.event = word;
    return e;
}

TEST(EventLog, NumbersFromOneWithoutGaps) {
    EventLog log;
    EXPECT_EQ(log.last(), 0u);
    EXPECT_EQ(log.add(named("a")).number, 1u);
    EXPECT_EQ(log.add(named("b")).number, 2u);
    EXPECT_EQ(log.last(), 2u);
}

TEST(EventLog, TellsWhatCameAfter) {
    EventLog log;
    for (const char* word : {"a", "b", "c"}) log.add(named(word));
    EXPECT_EQ(log.after(0).size(), 3u);
    ASSERT_EQ(log.after(1).size(), 2u);
    EXPECT_EQ(log.after(1).front().event, "b");
    EXPECT_TRUE(log.after(3).empty());
    EXPECT_TRUE(log.after(99).empty());
}

TEST(EventLog, TheLastFewAreTheLatest) {
    EventLog log;
    for (const char* word : {"a", "b", "c"}) log.add(named(word));
    ASSERT_EQ(log.after(0, 2).size(), 2u);
    EXPECT_EQ(log.after(0, 2).front().event, "b");
    EXPECT_TRUE(log.after(0, 0).empty());
}

TEST(EventLog, ForgetsTheOldest) {
    EventLog log(2000);
    for (int i = 0; i < 5000; ++i) log.add(named("x"));
    const auto kept = log.after(0);
    ASSERT_EQ(kept.size(), 2000u);
    EXPECT_EQ(kept.front().number, 3001u);
    EXPECT_EQ(kept.back().number, 5000u);
}

TEST(EventLog, GoesOnWithWhatAnotherHad) {
    EventLog before;
    for (const char* word : {"a", "b", "c"}) before.add(named(word));
    EventLog log(2);
    log.go_on(before.after(0));
    EXPECT_EQ(log.last(), 3u);
    ASSERT_EQ(log.after(0).size(), 2u);
    EXPECT_EQ(log.after(0).front().event, "b");
    EXPECT_EQ(log.add(named("d")).number, 4u);
    EventLog first;
    first.go_on({});
    EXPECT_EQ(first.add(named("a")).number, 1u);
}

}  // namespace
}  // namespace koi::status
