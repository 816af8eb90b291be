#include "supervisor/base/formats.h"

#include <gtest/gtest.h>

namespace koi {
namespace {

TEST(Formats, TheHighestThatBothSpeak) {
    EXPECT_EQ(common({4, 5}, {5, 6}), 5);
    EXPECT_EQ(common({5, 6}, {4, 5}), 5);
    EXPECT_EQ(common({4, 5}, {4, 5}), 5);
    EXPECT_EQ(common({4, 4}, {4, 5}), 4);
    EXPECT_EQ(common({4, 5}, {6, 7}), std::nullopt);
    EXPECT_EQ(common({6, 7}, {4, 5}), std::nullopt);
}

TEST(Formats, TextIsReadAsItIsWritten) {
    const Formats formats{4, 15};
    EXPECT_EQ(formats.text(), "4-15");
    EXPECT_EQ(Formats::parse(formats.text()), formats);
    for (const char* wrong : {"", "4", "-", "4-", "-5", "5-4", "4-5 ", "4-256", "a-b", "4-5-6"})
        EXPECT_EQ(Formats::parse(wrong), std::nullopt) << wrong;
}

}  // namespace
}  // namespace koi
