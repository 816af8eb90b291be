#include "supervisor/speaker/lives.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <vector>

#include "supervisor/base/file.h"
#include "supervisor/base/loop.h"

namespace koi::speaker {
namespace {

const Instant start{Duration(1h)};

std::vector<Duration> pauses(int lives, Duration each) {
    std::vector<Duration> out;
    std::optional<Lives> record;
    Instant now = start;
    for (int life = 0; life < lives; ++life) {
        const auto next = next_life(record, now);
        out.push_back(next.pause);
        record = next.lives;
        now = next.lives.began + each;
    }
    return out;
}

TEST(Lives, TheFirstRestartsAreFreeAndThenThePauseDoublesUpToALimit) {
    const std::vector<Duration> expected = {0s,     0s,     0s,     0s,      200ms,   400ms, 800ms,
                                            1600ms, 3200ms, 6400ms, 12800ms, 25600ms, 30s,   30s};
    EXPECT_EQ(pauses(14, 50ms), expected);
}

TEST(Lives, ThePauseItselfIsNoLife) { EXPECT_EQ(pauses(14, long_enough - 1us).back(), 30s); }

TEST(Lives, WhoLivesForAWhileIsNeverKeptWaiting) {
    for (const auto pause : pauses(100, long_enough)) ASSERT_EQ(pause, 0s);
}

TEST(Lives, OneLongLifeEndsTheRow) {
    const auto next = next_life(Lives{9, start}, start + long_enough);
    EXPECT_EQ(next.pause, 0s);
    EXPECT_EQ(next.lives, (Lives{0, start + long_enough}));
}

TEST(Lives, ARecordOfAnotherBootIsNone) { EXPECT_EQ(next_life(Lives{9, start}, start - 1s).lives.short_ones, 0u); }

TEST(Lives, TenThousandDeathsDoNotOverflow) { EXPECT_EQ(pauses(10'000, 1ms).back(), longest_pause); }

TEST(Lives, TheRecordReadsBackAndNothingElseDoes) {
    const Lives lives{5, start};
    EXPECT_EQ(read_lives(to_text(lives)), lives);
    for (const char* text :
         {"", "koi lives 1 ", "koi lives 1 5", "koi lives 1 5 ", "koi lives 1 5 7", "koi lives 2 5 7\n",
          "koi lives 1 -5 7\n", "koi lives 1 5 7 \n", "koi lives 1 99999999999 7\n"})
        EXPECT_FALSE(read_lives(text)) << text;
}

struct Folder : testing::Test {
    Folder() {
        char name[] = "/tmp/koi-lives-XXXXXX";
        path = ::mkdtemp(name);
    }
    ~Folder() override { std::filesystem::remove_all(path); }
    std::optional<Lives> record() const {
        const auto text = read_whole(path + "/lives");
        return text ? read_lives(*text) : std::nullopt;
    }
    std::string path;
};

TEST_F(Folder, ALifeThatEndsCleanlyLeavesNoRecord) {
    EXPECT_TRUE(begin_life(path));
    EXPECT_EQ(record()->short_ones, 0u);
    EXPECT_TRUE(begin_life(path));
    EXPECT_EQ(record()->short_ones, 1u) << "the one before did not say that it ended";
    end_life(path);
    EXPECT_FALSE(std::filesystem::exists(path + "/lives"));
}

TEST_F(Folder, AskedToEndDuringThePauseItEnds) {
    ASSERT_TRUE(write_whole(path + "/lives", to_text({100, Loop::clock()})));
    const Instant before = Loop::clock();
    const pid_t pid = ::fork();
    if (pid == 0) ::_exit(begin_life(path) ? 1 : 0);
    while (record()->short_ones == 100) ::usleep(1000);
    ::usleep(50'000);
    ::kill(pid, SIGTERM);
    int status = 0;
    ::waitpid(pid, &status, 0);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
    EXPECT_LT(Loop::clock() - before, longest_pause / 2);
}

}  // namespace
}  // namespace koi::speaker
