#include "supervisor/base/loop.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <ctime>
#include <optional>
#include <string>

#include "supervisor/base/fd.h"

namespace koi {
namespace {

struct LoopTest : testing::Test {
    void SetUp() override {
        auto opened = Loop::open();
        ASSERT_TRUE(opened);
        loop.emplace(std::move(*opened));
        guard = loop->at(loop->now() + 30s, Priority::idle, "too long", [this] { loop->stop(99); });
        ASSERT_EQ(::pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
        out = Fd(ends[0]);
        in = Fd(ends[1]);
    }
    void ring() { EXPECT_EQ(::write(in.get(), "x", 1), 1); }

    std::optional<Loop> loop;
    Watch guard;
    int ends[2];
    Fd out, in;
};

TEST_F(LoopTest, NowIsTheBoottimeClockAndStandsStillDuringATurn) {
    timespec t;
    ::clock_gettime(CLOCK_BOOTTIME, &t);
    const auto before = Duration(t.tv_sec * 1'000'000 + t.tv_nsec / 1000);
    EXPECT_GE(loop->now().time_since_epoch(), before);
    EXPECT_LT(loop->now().time_since_epoch(), before + 10s);
    const auto watch = loop->at(loop->now(), Priority::facts, "turn", [&] {
        const auto first = loop->now();
        ::usleep(2000);
        EXPECT_EQ(loop->now(), first);
        loop->stop();
    });
    EXPECT_EQ(loop->run(), 0);
}

std::uint64_t realtime_us() {
    timespec t;
    ::clock_gettime(CLOCK_REALTIME, &t);
    return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000 + static_cast<std::uint64_t>(t.tv_nsec) / 1000;
}
bool is_now(const WallTime& wall) {
    const auto now = realtime_us();
    return wall.us <= now && now - wall.us < 10'000'000;
}

TEST_F(LoopTest, WallIsTheRealTimeClock) { EXPECT_TRUE(is_now(Loop::wall())); }

// What a unit's filter of system calls, or a container's, may do to adjtimex.
void refuse_adjtimex() {
    sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),  // the call's number
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clock_adjtime, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_adjtimex, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const sock_fprog filter{std::size(program), program};
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0)
        ::_exit(77);
}

TEST_F(LoopTest, AClockStateThatCannotBeReadIsUnknownAndNot1970) {
    const int child = ::fork();
    if (child == 0) {
        refuse_adjtimex();
        timex state{};
        if (::adjtimex(&state) != -1) ::_exit(78);
        const auto wall = Loop::wall();
        ::_exit(wall.synchronised ? 1 : is_now(wall) ? 0 : 2);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 0) << "1: said to be disciplined, 2: another time, 77, 78: the test's own trouble";
}

TEST_F(LoopTest, TimersFireOnceInTheOrderOfTheirInstants) {
    std::string order;
    const auto start = loop->now();
    // Those that are due in one and the same turn have no order: a busy machine must not make them so.
    const auto last = loop->at(start + 810ms, Priority::facts, "last", [&] { loop->stop(3); });
    const auto second = loop->at(start + 410ms, Priority::facts, "second", [&] { order += "2"; });
    const auto first = loop->at(start + 10ms, Priority::facts, "first", [&] { order += "1"; });
    EXPECT_EQ(loop->run(), 3) << "stop's code is run's";
    EXPECT_EQ(order, "12");
}

TEST_F(LoopTest, ATimerIsNeverEarly) {
    const auto due = loop->now() + 15ms;
    std::optional<Instant> woken;
    const auto watch = loop->at(due, Priority::carp, "advert", [&] {
        woken = loop->now();
        loop->stop();
    });
    loop->run();
    EXPECT_GE(*woken, due);
}

TEST_F(LoopTest, ATimerCanBeMovedStoppedAndWokenAgain) {
    unsigned fired = 0;
    Watch watch;
    watch = loop->at(Instant::max(), Priority::facts, "moved", [&] {
        if (++fired == 3) return loop->stop();
        Loop::move(watch, loop->now() + 1ms);  // from within itself
    });
    Loop::move(watch, Instant::max());
    const auto wake = loop->at(loop->now() + 1ms, Priority::facts, "wake", [&] { Loop::move(watch, Instant(0s)); });
    EXPECT_EQ(loop->run(), 0);
    EXPECT_EQ(fired, 3u);
}

TEST_F(LoopTest, OnceAWatchIsGoneItNeverCalls) {
    auto watch = loop->on_io(out.get(), EPOLLIN, Priority::carp, "gone", [](auto) { ADD_FAILURE(); });
    ring();
    watch.reset();
    const auto end = loop->at(loop->now() + 5ms, Priority::facts, "end", [&] { loop->stop(); });
    EXPECT_EQ(loop->run(), 0);
}

TEST_F(LoopTest, ACallbackMayDropItsOwnWatch) {
    Watch watch;
    const std::string kept = "a callback's own variables live until it returns";
    watch = loop->on_io(out.get(), EPOLLIN, Priority::facts, "own", [&, kept](auto) {
        watch.reset();
        EXPECT_EQ(kept.size(), 48u);
        loop->stop();
    });
    ring();
    EXPECT_EQ(loop->run(), 0);
}

TEST_F(LoopTest, CarpComesFirstAndWhatFollowsEachTurnComesLast) {
    std::string order;
    int pipes[2];
    ASSERT_EQ(::pipe2(pipes, O_CLOEXEC), 0);
    const Fd other_out(pipes[0]), other_in(pipes[1]);
    Watch facts, carp;
    facts = loop->on_io(out.get(), EPOLLIN, Priority::facts, "facts", [&](auto) {
        order += "facts ";
        facts.reset();
    });
    carp = loop->on_io(other_out.get(), EPOLLIN, Priority::carp, "carp", [&](auto) {
        order += "carp ";
        carp.reset();
    });
    const auto settle = loop->after_each_turn(Priority::settle, "settle", [&] {
        order += "settle";
        loop->stop();
    });
    ring();
    EXPECT_EQ(::write(other_in.get(), "x", 1), 1);
    EXPECT_EQ(loop->run(), 0);
    EXPECT_EQ(order, "carp facts settle");
}

TEST_F(LoopTest, AWatchCanWaitForSomethingElse) {
    bool writable = false;
    Watch watch;
    watch = loop->on_io(in.get(), 0, Priority::facts, "writer", [&](std::uint32_t events) {
        writable = events & EPOLLOUT;
        loop->stop();
    });
    Loop::expect(watch, EPOLLOUT);
    EXPECT_EQ(loop->run(), 0);
    EXPECT_TRUE(writable);
}

TEST_F(LoopTest, ASignalIsACall) {
    const auto watch = loop->on_signal(SIGUSR1, Priority::facts, "usr1", [&] { loop->stop(); });
    ::raise(SIGUSR1);
    EXPECT_EQ(loop->run(), 0);
}

TEST_F(LoopTest, TheEndOfAProcessIsToldAndItIsReaped) {
    for (const bool early : {false, true}) {
        SetUp();
        const pid_t pid = ::fork();
        if (pid == 0) ::_exit(5);
        if (early) ::usleep(20'000);  // it ended before anybody watched
        int seen_code = 0, seen_status = 0;
        const auto watch = loop->on_end(pid, Priority::facts, "child", [&](int code, int status) {
            seen_code = code;
            seen_status = status;
            loop->stop();
        });
        EXPECT_EQ(loop->run(), 0);
        EXPECT_EQ(seen_code, CLD_EXITED);
        EXPECT_EQ(seen_status, 5);
        EXPECT_EQ(::waitpid(pid, nullptr, WNOHANG), -1) << "reaped";
    }
}

TEST_F(LoopTest, AProcessKilledBySignalSaysWhich) {
    const pid_t pid = ::fork();
    if (pid == 0) {
        ::pause();
        ::_exit(0);
    }
    int seen_code = 0, seen_status = 0;
    const auto watch = loop->on_end(pid, Priority::facts, "child", [&](int code, int status) {
        seen_code = code;
        seen_status = status;
        loop->stop();
    });
    ::kill(pid, SIGKILL);
    EXPECT_EQ(loop->run(), 0);
    EXPECT_EQ(seen_code, CLD_KILLED);
    EXPECT_EQ(seen_status, SIGKILL);
}

}  // namespace
}  // namespace koi
