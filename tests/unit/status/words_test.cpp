#include "supervisor/status/words.h"

#include <gtest/gtest.h>

#include <random>

namespace koi::status {
namespace {

TEST(Words, AnAgeIsAsExactAsIsUseful) {
    EXPECT_EQ(age(-5s), "0 s");
    EXPECT_EQ(age(999ms), "0 s");
    EXPECT_EQ(age(99s), "99 s");
    EXPECT_EQ(age(100s), "1 min");
    EXPECT_EQ(age(99min + 59s), "99 min");
    EXPECT_EQ(age(100min), "1 h");
    EXPECT_EQ(age(48h - 1s), "47 h");
    EXPECT_EQ(age(48h), "2 d");
    EXPECT_EQ(age(Duration::max()), "106751991 d");
}

TEST(Words, AnAmountIsCutAndNeverRoundedUp) {
    EXPECT_EQ(amount(0), "0");
    EXPECT_EQ(amount(999), "999");
    EXPECT_EQ(amount(1000), "1.0k");
    EXPECT_EQ(amount(1999), "1.9k");
    EXPECT_EQ(amount(999'999), "999k");
    EXPECT_EQ(amount(1'000'000), "1.0M");
    EXPECT_EQ(amount(UINT64_MAX), "18E");
    EXPECT_EQ(bytes(999), "999 B");
    EXPECT_EQ(bytes(1'234'567), "1.2 MB");
}

TEST(Words, TimesOfDayAreRfc3339InUtc) {
    using std::chrono::system_clock;
    EXPECT_EQ(rfc3339(system_clock::time_point(0ms)), "1970-01-01T00:00:00.000Z");
    EXPECT_EQ(rfc3339(system_clock::time_point(1'714'793'521'123'999us)), "2024-05-04T03:32:01.123Z");
    EXPECT_EQ(rfc3339(system_clock::time_point(-1ms)), "1969-12-31T23:59:59.999Z");
}

TEST(Words, NothingUncleanIsLeft) {
    EXPECT_EQ(clean("plain"), "plain");
    EXPECT_EQ(clean("two\nlines\tand\r"), "two lines and ");
    EXPECT_EQ(clean("\033[2J"), "?[2J");
    EXPECT_EQ(clean(std::string("nul\0", 4)), "nul?");
    EXPECT_EQ(clean("\xc2\x9b"
                    "31m"),
              "?31m");  // the one-character form of ESC [
    EXPECT_EQ(clean("f\xc3\xbcr \xe2\x82\xac \xf0\x9f\x90\x9f"), "f\xc3\xbcr \xe2\x82\xac \xf0\x9f\x90\x9f");
    EXPECT_EQ(clean("\xc3"), "?");
    EXPECT_EQ(clean("\xc0\xaf"), "??");       // overlong
    EXPECT_EQ(clean("\xed\xa0\x80"), "???");  // a surrogate
    EXPECT_EQ(clean("\xf5\x80\x80\x80"), "????");
}

TEST(Words, WidthCountsWhatIsSeen) {
    EXPECT_EQ(width(""), 0u);
    EXPECT_EQ(width("f\xc3\xbcr"), 3u);
    EXPECT_EQ(width("\033[31mred\033[0m"), 3u);
}

TEST(Words, LinesBreakAtSpacesAndLongWordsWhereTheyMust) {
    using Lines = std::vector<std::string>;
    EXPECT_EQ(wrap("", 10), Lines{""});
    EXPECT_EQ(wrap("one two", 10), Lines{"one two"});
    EXPECT_EQ(wrap("one two three", 7), (Lines{"one two", "three"}));
    EXPECT_EQ(wrap("one  two", 4), (Lines{"one", "two"}));
    EXPECT_EQ(wrap("abcdefgh ij", 3), (Lines{"abc", "def", "gh", "ij"}));
    EXPECT_EQ(wrap("\xc3\xbc\xc3\xbc\xc3\xbc", 2), (Lines{"\xc3\xbc\xc3\xbc", "\xc3\xbc"}));
}

TEST(Words, WrappingLosesNoWordAndKeepsTheWidth) {
    std::mt19937 dice(1);
    for (int round = 0; round < 2000; ++round) {
        std::string text;
        for (auto words = dice() % 12; words > 0; --words)
            text += std::string(dice() % 9, 'x') + (dice() % 3 ? " " : "\xc3\xbc ");
        const std::size_t columns = 1 + dice() % 20;
        std::string letters, wrapped;
        for (const auto& line : wrap(text, columns)) {
            EXPECT_LE(width(line), columns) << text;
            wrapped += line;
        }
        letters = text;
        std::erase(letters, ' ');
        std::erase(wrapped, ' ');
        EXPECT_EQ(letters, wrapped);
    }
}

}  // namespace
}  // namespace koi::status
