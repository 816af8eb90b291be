#include "discovery/quote.h"

#include <gtest/gtest.h>

namespace koi::discovery {
namespace {

TEST(Shown, LeavesTextAsItIs) {
    EXPECT_EQ(shown("web"), "\"web\"");
    EXPECT_EQ(shown(""), "\"\"");
    EXPECT_EQ(shown("K\xC3\xB6i \xE2\x82\xAC"), "\"K\xC3\xB6i \xE2\x82\xAC\"");
}

TEST(Shown, WritesOutWhatSteersATerminal) {
    EXPECT_EQ(shown("a\nb\tc\x1b[0m\x7f"), "\"a\\x0ab\\x09c\\x1b[0m\\x7f\"");
    EXPECT_EQ(shown("\xC2\x9b"), "\"\\xc2\\x9b\"") << "a C1 control in UTF-8";
    EXPECT_EQ(shown("\xff"
                    "a"),
              "\"\\xffa\"")
        << "no UTF-8";
}

TEST(Shown, IsNeverLong) {
    EXPECT_EQ(shown(std::string(1000, 'a')), "\"" + std::string(80, 'a') + "...\"");
    EXPECT_EQ(shown(std::string(79, 'a') + "\xE2\x82\xAC"
                                           "b"),
              "\"" + std::string(79, 'a') + "\xE2\x82\xAC...\"")
        << "a character is not cut";
}

TEST(BrokenUtf8, IsFoundWhereItBegins) {
    const auto npos = std::string_view::npos;
    EXPECT_EQ(find_broken_utf8("K\xC3\xB6i \xF0\x9F\x90\x9F"), npos);
    EXPECT_EQ(find_broken_utf8("ab\xC3"), 2u);
    EXPECT_EQ(find_broken_utf8("\xC0\x80"), 0u) << "overlong";
    EXPECT_EQ(find_broken_utf8("\xE0\x80\x80"), 0u) << "overlong";
    EXPECT_EQ(find_broken_utf8("\xED\xA0\x80"), 0u) << "a surrogate";
    EXPECT_EQ(find_broken_utf8("\xF4\x90\x80\x80"), 0u) << "above U+10FFFF";
    EXPECT_EQ(find_broken_utf8("a\x80"), 1u);
}

}  // namespace
}  // namespace koi::discovery
