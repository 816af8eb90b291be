#include "supervisor/base/watchdog.h"

#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include "supervisor/base/fd.h"

namespace koi {
namespace {

TEST(WatchdogTime, IsHalfOfWhatPeersWaitAndNeverLessThanASecond) {
    EXPECT_EQ(watchdog_time(3390ms), 1695ms);
    EXPECT_EQ(watchdog_time(30s), 15s);
    EXPECT_EQ(watchdog_time(2s), 1s);
    EXPECT_EQ(watchdog_time(300ms), 1s);
    EXPECT_EQ(watchdog_time(0ms), 1s);
}

// Somebody who listens as systemd does.
struct WatchdogTest : testing::Test {
    void SetUp() override {
        auto opened = Loop::open();
        ASSERT_TRUE(opened);
        loop.emplace(std::move(*opened));
        ear = Fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
        sockaddr_un where{};
        where.sun_family = AF_UNIX;
        const std::string name = "koi-watchdog-test-" + std::to_string(::getpid());
        name.copy(where.sun_path + 1, name.size());
        ASSERT_EQ(::bind(ear.get(), reinterpret_cast<sockaddr*>(&where),
                         static_cast<socklen_t>(sizeof where.sun_family + 1 + name.size())),
                  0);
        ::setenv("NOTIFY_SOCKET", ("@" + name).c_str(), 1);
        ::setenv("WATCHDOG_USEC", "5000000", 1);
    }
    void TearDown() override {
        for (const char* variable : {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}) ::unsetenv(variable);
    }
    std::vector<std::string> heard() {
        std::vector<std::string> all;
        char text[256];
        for (ssize_t n; (n = ::recv(ear.get(), text, sizeof text, 0)) > 0;)
            all.emplace_back(text, static_cast<std::size_t>(n));
        return all;
    }
    void live_for(Duration time) {
        const auto end = loop->at(loop->now() + time, Priority::idle, "end", [&] { loop->stop(); });
        loop->run();
    }
    std::optional<Loop> loop;
    Fd ear;
};

TEST_F(WatchdogTest, TheNewTimeIsToldOnceAndAnsweredWithin) {
    Watchdog watchdog(*loop);
    watchdog.start();
    EXPECT_EQ(heard(), std::vector<std::string>{"WATCHDOG=1"});
    watchdog.set(1200ms);
    watchdog.set(1200ms);
    EXPECT_EQ(heard(), (std::vector<std::string>{"WATCHDOG_USEC=1200000", "WATCHDOG=1"}));
    live_for(1000ms);
    const auto answers = heard();
    EXPECT_TRUE(answers.size() == 1 || answers.size() == 2) << "at 0.4 and, on an idle machine, 0.8 s";
    for (const auto& answer : answers) EXPECT_EQ(answer, "WATCHDOG=1");
}

TEST_F(WatchdogTest, UntilTheTimeIsSetTheShortestIsKept) {
    Watchdog watchdog(*loop);
    watchdog.start();
    live_for(900ms);
    EXPECT_GE(heard().size(), 3u) << "whatever systemd was told by who ran in this process before";
}

TEST_F(WatchdogTest, WhereNobodyAsksNothingIsSaid) {
    ::unsetenv("WATCHDOG_USEC");
    Watchdog none(*loop);
    none.start();
    none.set(1s);
    ::setenv("WATCHDOG_USEC", "5000000", 1);
    ::setenv("WATCHDOG_PID", "1", 1);
    Watchdog anothers(*loop);
    anothers.start();
    anothers.set(1s);
    EXPECT_EQ(heard(), std::vector<std::string>{});
    EXPECT_EQ(none.time(), 0s);
}

}  // namespace
}  // namespace koi
