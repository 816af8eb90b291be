#include "discovery/last_known.h"

#include <cerrno>

#include "tests/unit/discovery/temporary_directory.h"

namespace koi::discovery {
namespace {

struct LastKnown : testing::Test {
    LastKnown() { ::setenv("STATE_DIRECTORY", (dir / "state").c_str(), 1); }
    ~LastKnown() override { ::unsetenv("STATE_DIRECTORY"); }
    TemporaryDirectory dir;
};

const Snapshot members{{*Endpoint::parse("10.0.0.1:80"), *Weight::of(0)},
                       {*Endpoint::parse("[2001:db8::1]:8080"), *Weight::of(65535)}};

TEST_F(LastKnown, WhatIsSavedIsLoaded) {
    ASSERT_TRUE(last_known::save("web", members));
    ASSERT_TRUE(last_known::save("empty", {}));
    ASSERT_TRUE(last_known::load("web"));
    EXPECT_EQ(*last_known::load("web"), members);
    EXPECT_EQ(*last_known::load("empty"), Snapshot{});
    ASSERT_TRUE(last_known::save("web", {}));
    EXPECT_EQ(*last_known::load("web"), Snapshot{});
}

TEST_F(LastKnown, IsReadableByAPersonAndAsASource) {
    EXPECT_EQ(last_known::as_json(members),
              "{\"backends\": [\n"
              "  {\"address\": \"10.0.0.1\", \"port\": 80, \"weight\": 0},\n"
              "  {\"address\": \"2001:db8::1\", \"port\": 8080, \"weight\": 65535}\n"
              "]}\n");
}

TEST_F(LastKnown, SaysThatThereIsNone) {
    const auto none = last_known::load("web");
    ASSERT_FALSE(none);
    EXPECT_EQ(none.error().code, ENOENT);
}

TEST_F(LastKnown, ABrokenFileIsNoList) {
    ASSERT_TRUE(last_known::save("web", members));
    write(last_known::path("web"), "{\"backends\": [");
    const auto broken = last_known::load("web");
    ASSERT_FALSE(broken);
    EXPECT_TRUE(broken.error().story.starts_with(last_known::path("web") + ": 1:15: not JSON"))
        << broken.error().story;
    ASSERT_TRUE(last_known::save("web", members)) << "and the next list replaces it";
    EXPECT_EQ(*last_known::load("web"), members);
}

TEST_F(LastKnown, TheSameListIsNotWrittenAgain) {
    ASSERT_TRUE(last_known::save("web", members));
    struct stat before, after;
    ASSERT_EQ(::stat(last_known::path("web").c_str(), &before), 0);
    ASSERT_TRUE(last_known::save("web", members));
    ASSERT_EQ(::stat(last_known::path("web").c_str(), &after), 0);
    EXPECT_EQ(before.st_ino, after.st_ino);
}

TEST_F(LastKnown, SaysWhyItCannotBeKept) {
    write(dir / "state", "a file where the directory should be");
    const auto saved = last_known::save("web", members);
    ASSERT_FALSE(saved);
    EXPECT_NE(saved.error().story.find(dir / "state"), std::string::npos) << saved.error().story;
}

}  // namespace
}  // namespace koi::discovery
