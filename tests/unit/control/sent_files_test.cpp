#include "supervisor/control/sent_files.h"

#include <gtest/gtest.h>

namespace koi::control {
namespace {

const SentFiles sent{"/home/ada/koi.yaml",
                     {{"/home/ada/koi.yaml", "carp: { interface: \"eth0\" }\n"}, {"/home/ada/é.yaml", ""}},
                     {{"/home/ada/*.yaml", {"/home/ada/a.yaml", "/home/ada/b.yaml"}}, {"/none/*", {}}}};

TEST(SentFiles, AreReadAsTheyWereWritten) { EXPECT_EQ(sent_files(written(sent)), sent); }

TEST(SentFiles, AreNoneWithoutAConfigurationAndFiles) {
    for (const auto* body :
         {"", "{", "[]", "{}", R"({"configuration": "/k"})", R"({"files": {"/k": "x"}})",
          R"({"configuration": 5, "files": {}})", R"({"configuration": "/k", "files": "x"})",
          R"({"configuration": "/k", "files": ["x"]})", R"([{"configuration": "/k", "files": {}}])",
          "{\"configuration\": \"/k\", \"files\": {\"/k\": \"\xff\"}}"})
        EXPECT_FALSE(sent_files(body)) << body;
    EXPECT_TRUE(sent_files(R"({"configuration": "/k", "files": {}})"));
}

TEST(SentFiles, AnythingElseIsReadPast) {
    const SentFiles one{"/k", {{"/k", "x"}}, {}};
    for (const auto* more :
         {R"("files": {"/k": "x", "/l": 5, "/m": ["y"], "/n": {"/o": "z"}})",
          R"("files": {"/k": "x"}, "patterns": {"*": {"a": "b"}})", R"("files": {"/k": "x"}, "patterns": "*")",
          R"("files": {"/k": "x"}, "patterns": ["a", ["b"]])", R"("files": {"/k": "x"}, "more": {"/l": "y"})"})
        EXPECT_EQ(sent_files(std::string(R"({"configuration": "/k", )") + more + "}"), one) << more;
    const auto mixed =
        sent_files(R"({"configuration": "/k", "files": {}, "patterns": {"*": ["a", 5, ["b"], {"c": "d"}, "e"]}})");
    ASSERT_TRUE(mixed);
    EXPECT_EQ(mixed->patterns.at("*"), (std::vector<std::string>{"a", "e"}));
}

TEST(SentFiles, ATreeOfBracketsIsReadPast) {
    const std::string brackets(2'000'000, '['), ends(2'000'000, ']');
    EXPECT_FALSE(sent_files(R"({"configuration": "/k", "files": )" + brackets));
    EXPECT_TRUE(sent_files(R"({"x": )" + brackets + ends + R"(, "configuration": "/k", "files": {}})"));
}

}  // namespace
}  // namespace koi::control
