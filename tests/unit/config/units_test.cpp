#include "supervisor/config/units.h"

#include <gtest/gtest.h>

namespace koi::config {
namespace {

TEST(Durations, AreAWholeNumberAndAUnit) {
    EXPECT_EQ(parse_duration("0s"), 0s);
    EXPECT_EQ(parse_duration("100ms"), 100ms);
    EXPECT_EQ(parse_duration("2s"), 2s);
    EXPECT_EQ(parse_duration("5m"), 5min);
    EXPECT_EQ(parse_duration("1h"), 1h);
    EXPECT_EQ(parse_duration("8760h"), 8760h);
}

TEST(Durations, OfAnyOtherFormAreNone) {
    for (const auto* text : {"", "s", "5", "-1s", "+1s", "1.5s", "1 s", "1S", "1d", "1us", "1min", "0x1s", "8761h",
                             "99999999999999999999s", "9223372036854775807h", "1s ", " 1s", "1ss"})
        EXPECT_FALSE(parse_duration(text)) << text;
}

TEST(Durations, ArePrintedInTheLargestUnitThatFits) {
    EXPECT_EQ(text(0s), "0s");
    EXPECT_EQ(text(90s), "90s");
    EXPECT_EQ(text(120s), "2m");
    EXPECT_EQ(text(48h), "48h");
    EXPECT_EQ(text(1500ms), "1500ms");
}

TEST(Durations, WhatIsPrintedIsRead) {
    for (std::int64_t ms = 0; ms < 10'000'000; ms += 7919) {
        const Duration duration = std::chrono::milliseconds(ms);
        ASSERT_EQ(parse_duration(text(duration)), duration) << ms;
    }
}

}  // namespace
}  // namespace koi::config
