#include "supervisor/base/first_process.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <string>
#include <thread>

#include "supervisor/base/child.h"
#include "supervisor/base/loop.h"

namespace koi {
namespace {

using namespace std::chrono_literals;

// A process that is to its descendants what process 1 of a container is to all: whoever loses its parent becomes its
// child. `daemon` is lived by the process it splits off; `meanwhile` is told the pid of the first one.
int first_process(const std::function<int()>& daemon, const std::function<void(pid_t)>& meanwhile = {}) {
    const pid_t first = ::fork();
    if (first == 0) {
        ::prctl(PR_SET_CHILD_SUBREAPER, 1);
        const auto split = split_off_daemon();
        if (!split) ::_exit(99);
        if (*split == 0) {
            ::alarm(20);  // a test that hangs fails
            ::_exit(daemon());
        }
        ::_exit(watch_over(*split));
    }
    if (meanwhile) meanwhile(first);
    int status = 0;
    ::waitpid(first, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

bool soon(const std::function<bool()>& holds) {
    for (int turn = 0; turn < 500; ++turn) {
        if (holds()) return true;
        std::this_thread::sleep_for(10ms);
    }
    return false;
}

bool exists(pid_t pid) { return ::access(("/proc/" + std::to_string(pid)).c_str(), F_OK) == 0; }

TEST(FirstProcess, EndsWithTheDaemonsExitCode) {
    EXPECT_EQ(first_process([] { return 0; }), 0);
    EXPECT_EQ(first_process([] { return 78; }), 78);
}

TEST(FirstProcess, SaysWhichSignalEndedTheDaemon) {
    EXPECT_EQ(first_process([] {
                  ::raise(SIGKILL);
                  return 0;
              }),
              128 + SIGKILL);
}

TEST(FirstProcess, ReapsWhatLostItsParent) {
    const int code = first_process([] {
        int ends[2];
        if (::pipe(ends) != 0) return 90;
        const pid_t parent = ::fork();
        if (parent == 0) {
            const pid_t orphan = ::fork();
            if (orphan == 0) {
                // Not before it is one: only then does the first process hear of its end.
                while (::getppid() != 1 && ::getppid() == parent) std::this_thread::sleep_for(1ms);
                std::this_thread::sleep_for(30ms);
                ::_exit(0);
            }
            [[maybe_unused]] const auto written = ::write(ends[1], &orphan, sizeof orphan);
            ::_exit(0);
        }
        pid_t orphan = 0;
        if (::read(ends[0], &orphan, sizeof orphan) != sizeof orphan) return 91;
        ::waitpid(parent, nullptr, 0);
        return soon([&] { return !exists(orphan); }) ? 0 : 92;  // a zombie has an entry in /proc
    });
    EXPECT_EQ(code, 0);
}

TEST(FirstProcess, ReapsManyThatEndAtOnce) {
    const int code = first_process([] {
        const pid_t parent = ::fork();
        if (parent == 0) {
            ::setpgid(0, 0);
            for (int n = 0; n < 40; ++n)
                if (::fork() == 0) {
                    std::this_thread::sleep_for(50ms);
                    ::_exit(0);
                }
            ::_exit(0);
        }
        ::waitpid(parent, nullptr, 0);
        // The group of an ended process is there as long as a member of it is, zombies included.
        return soon([&] { return ::kill(-parent, 0) != 0; }) ? 0 : 92;
    });
    EXPECT_EQ(code, 0);
}

// The daemon's own children are the daemon's: sd-event reaps them and tells how they ended.
TEST(FirstProcess, LeavesTheDaemonsOwnChildrenToItsLoop) {
    const int code = first_process([] {
        auto loop = Loop::open();
        if (!loop) return 90;
        const auto child = spawn({.command = {"/bin/sh", "-c", "exit 7"}});
        if (!child) return 91;
        int seen = 92;
        const auto watch = loop->on_end(*child, Priority::facts, "child", [&](int how, int status) {
            seen = how == CLD_EXITED && status == 7 ? 0 : 93;
            loop->stop();
        });
        (void)loop->run();
        return seen;
    });
    EXPECT_EQ(code, 0);
}

TEST(FirstProcess, HandsSignalsOn) {
    for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1}) {
        sigset_t before, one;
        ::sigemptyset(&one);
        ::sigaddset(&one, signal);
        ::sigprocmask(SIG_BLOCK, &one, &before);  // so that none comes too early
        const int code = first_process(
            [&] {
                int got = 0;
                ::sigwait(&one, &got);
                return got;
            },
            [&](pid_t first) { ::kill(first, signal); });
        ::sigprocmask(SIG_SETMASK, &before, nullptr);
        EXPECT_EQ(code, signal);
    }
}

TEST(FirstProcess, GoesOnWhenATerminalWouldSuspendIt) {
    int up[2], down[2];
    ASSERT_EQ(::pipe(up), 0);
    ASSERT_EQ(::pipe(down), 0);
    char word = 'x';
    const int code = first_process(
        [&] {
            char order;
            return ::write(up[1], &word, 1) == 1 && ::read(down[0], &order, 1) == 1 ? 5 : 90;
        },
        [&](pid_t first) {
            EXPECT_EQ(::read(up[0], &word, 1), 1);  // it is split: before, a signal would be anybody's
            for (const int signal : {SIGTSTP, SIGTTIN, SIGTTOU}) ::kill(first, signal);
            std::this_thread::sleep_for(50ms);
            int status = 0;
            EXPECT_EQ(::waitpid(first, &status, WUNTRACED | WNOHANG), 0) << "it was stopped";
            ::kill(first, SIGCONT);
            EXPECT_EQ(::write(down[1], &word, 1), 1);
        });
    EXPECT_EQ(code, 5);
}

TEST(FirstProcess, GivesTheDaemonASignalMaskAsBeforeAndAGroupOfItsOwn) {
    const pid_t ours = ::getpgrp();
    const int code = first_process([&] {
        sigset_t mask;
        ::sigprocmask(SIG_BLOCK, nullptr, &mask);
        for (const int signal : {SIGTERM, SIGCHLD, SIGHUP})
            if (::sigismember(&mask, signal) != 0) return 90;
        return ::getpgrp() == ::getpid() && ::getpgrp() != ours ? 0 : 91;
    });
    EXPECT_EQ(code, 0);
}

// Whoever ignores SIGCHLD hands that on to what it starts; then no wait() would ever find anybody.
TEST(FirstProcess, SeesTheDaemonsEndThoughSigchldWasIgnored) {
    const auto before = ::signal(SIGCHLD, SIG_DFL);
    const pid_t starter = ::fork();
    if (starter == 0) {
        ::signal(SIGCHLD, SIG_IGN);
        const auto split = split_off_daemon();
        if (split && *split == 0) ::_exit(42);
        ::_exit(split ? watch_over(*split) : 99);
    }
    int status = 0;
    ::waitpid(starter, &status, 0);
    ::signal(SIGCHLD, before);
    EXPECT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 42);
}

}  // namespace
}  // namespace koi
