#include "supervisor/base/child.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "supervisor/base/channel.h"
#include "supervisor/base/fd.h"

namespace koi {
namespace {

using namespace std::chrono_literals;

struct Pipe {
    Pipe() {
        int ends[2];
        EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
        out = Fd(ends[0]);
        in = Fd(ends[1]);
    }
    std::string all() {
        in.reset();
        std::string text;
        char chunk[512];
        for (ssize_t n; (n = ::read(out.get(), chunk, sizeof chunk)) > 0;)
            text.append(chunk, static_cast<std::size_t>(n));
        return text;
    }
    Fd out, in;
};

int exit_status(int pid) {
    int status = 0;
    EXPECT_EQ(::waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

// What a shell says when it is started like this.
std::string said(Spawn spawn_as, const std::string& script) {
    Pipe pipe;
    spawn_as.command = {"sh", "-c", script};
    spawn_as.keep_fds.push_back({pipe.in.get(), 1});
    const auto pid = spawn(spawn_as);
    if (!pid) return pid.error().story;
    auto text = pipe.all();
    EXPECT_EQ(exit_status(*pid), 0);
    return text;
}

// As a unit with User=, AmbientCapabilities= and NoNewPrivileges= starts us, and as a container starts a root.
std::string rights_of_a_child(uid_t uid, const std::set<Capability>& handed_on) {
    Pipe pipe;
    const pid_t pid = ::fork();
    if (pid == 0) {
        ::prctl(PR_SET_KEEPCAPS, 1);
        if (::setresuid(uid, uid, uid) != 0) ::_exit(2);
        const cap_t caps = cap_from_text("cap_net_admin,cap_setuid,cap_setpcap=eip");
        if (cap_set_proc(caps) != 0) ::_exit(3);
        for (const cap_value_t value : {CAP_NET_ADMIN, CAP_SETUID})
            if (cap_set_ambient(value, CAP_SET) != 0) ::_exit(4);
        if (!keep_only({Capability::net_admin}, true, {Capability::setuid, Capability::setpcap})) ::_exit(5);
        const auto child =
            spawn({.command = {"sh", "-c", "sed -n 's/^CapEff:.*0000\\(....\\)$/\\1/p' /proc/self/status"},
                   .keep_fds = {{pipe.in.get(), 1}},
                   .capabilities = handed_on});
        ::_exit(child ? exit_status(*child) : 6);
    }
    auto text = pipe.all();
    EXPECT_EQ(exit_status(pid), 0);
    return text;
}

TEST(Child, HasOfOurCapabilitiesWhatItIsGiven) {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root to become somebody with capabilities";
    EXPECT_EQ(rights_of_a_child(12345, {Capability::setuid}), "0080\n")
        << "permitted is enough, in effect it need not be";
    EXPECT_EQ(rights_of_a_child(12345, {Capability::net_admin, Capability::setuid}), "1080\n");
    EXPECT_EQ(rights_of_a_child(12345, {}), "0000\n");
    EXPECT_EQ(rights_of_a_child(12345, {Capability::net_raw}), "0000\n") << "nobody can give what he does not have";
    EXPECT_EQ(rights_of_a_child(0, {Capability::setuid}), "1180\n")
        << "a root keeps what is permitted, and gains nothing";
}

TEST(Child, AProgramThatIsNotThereIsAnErrorThatNamesIt) {
    const auto pid = spawn({.command = {"/no/such/program"}, .wait_for_exec = 20s});
    ASSERT_FALSE(pid);
    EXPECT_EQ(pid.error().story, "starting /no/such/program: No such file or directory");
    EXPECT_EQ(pid.error().code, ENOENT);
    EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1) << "no zombie stays";
    EXPECT_FALSE(spawn({.command = {}}));
}

TEST(Child, ArgumentsAndExitStatusArriveAndTheNameCanBeChosen) {
    const auto pid = spawn({.command = {"sh", "-c", "exit 7"}});
    ASSERT_TRUE(pid);
    EXPECT_EQ(exit_status(*pid), 7);
    EXPECT_EQ(said({.command = {}, .argv0 = "koid-worker"}, "tr '\\0' '\\n' < /proc/$$/cmdline | head -1"),
              "koid-worker\n");
}

TEST(Child, TheEnvironmentIsOursPlusWhatWasAddedWithoutSystemdsSocket) {
    ::setenv("KOI_TEST_OURS", "old", 1);
    ::setenv("NOTIFY_SOCKET", "/run/systemd/notify", 1);
    EXPECT_EQ(said({.command = {}, .environment = {{"KOI_TEST_OURS", "new"}, {"KOI_TEST_ADDED", "a b"}}},
                   "echo \"$KOI_TEST_OURS|$KOI_TEST_ADDED|$NOTIFY_SOCKET\"; tr '\\0' '\\n' < /proc/$$/environ | grep "
                   "-c ^KOI_TEST_OURS"),
              "new|a b|\n1\n");
    EXPECT_EQ(said({}, "echo $KOI_TEST_OURS"), "old\n");
    ::unsetenv("KOI_TEST_OURS");
    ::unsetenv("NOTIFY_SOCKET");
}

TEST(Child, OnlyTheDescriptorsNamedAreInherited) {
    const Fd leaky(::open("/dev/null", O_RDONLY));  // without O_CLOEXEC, as a careless library does
    ASSERT_TRUE(leaky);
    // ls itself opens one more, for the directory.
    EXPECT_EQ(said({}, "ls /proc/self/fd | tr '\\n' ' '"), "0 1 2 3 ");
}

TEST(Child, DescriptorsMayChangePlaces) {
    Pipe a, b;
    ASSERT_EQ(::write(a.in.get(), "from a\n", 7), 7);
    ASSERT_EQ(::write(b.in.get(), "from b\n", 7), 7);
    a.in.reset();
    b.in.reset();
    const int one = a.out.get(), other = b.out.get();
    const std::string script = "cat <&" + std::to_string(one) + "; cat <&" + std::to_string(other);
    ASSERT_LT(std::max(one, other), 10) << "dash knows no higher numbers";
    EXPECT_EQ(said({.command = {}, .keep_fds = {{one, other}, {other, one}}}, script), "from b\nfrom a\n");
}

TEST(Child, ADescriptorKeepsItsNumberIfThatIsWanted) {
    Pipe a;
    ASSERT_EQ(::write(a.in.get(), "same\n", 5), 5);
    a.in.reset();
    const int n = a.out.get();
    EXPECT_EQ(said({.command = {}, .keep_fds = {{n, n}}}, "cat <&" + std::to_string(n)), "same\n");
}

TEST(Child, ADescriptorThatIsNotOpenIsAnError) {
    const auto pid = spawn({.command = {"true"}, .keep_fds = {{987, 3}}, .wait_for_exec = 20s});
    ASSERT_FALSE(pid);
    EXPECT_EQ(pid.error().story, "handing descriptors to true: Bad file descriptor");
}

TEST(Child, NoSignalIsBlockedOrIgnoredInTheProgram) {
    sigset_t mask, before;
    ::sigemptyset(&mask);
    ::sigaddset(&mask, SIGTERM);
    ::sigprocmask(SIG_BLOCK, &mask, &before);
    const auto old = ::signal(SIGPIPE, SIG_IGN);
    EXPECT_EQ(said({}, "grep -E 'SigBlk|SigIgn' /proc/self/status | tr -d '\\t\\n'"),
              "SigBlk:0000000000000000SigIgn:0000000000000000");
    ::signal(SIGPIPE, old);
    sigset_t now;
    ::sigprocmask(SIG_SETMASK, &before, &now);
    EXPECT_TRUE(::sigismember(&now, SIGTERM)) << "ours are as they were";
}

TEST(Child, AProgramDiesWithItsParentHoweverThatDies) {
    Pipe alive;  // its far end closes when the grandchild is gone
    const pid_t parent = ::fork();
    if (parent == 0) {
        const auto pid =
            spawn({.command = {"sleep", "1000"}, .keep_fds = {{alive.in.get(), 5}}, .when_parent_dies = SIGKILL});
        ::_exit(pid ? 0 : 1);
    }
    EXPECT_EQ(exit_status(parent), 0);
    EXPECT_EQ(alive.all(), "") << "returns only when nobody holds the writing end";
}

TEST(Child, AChildTalksBackThroughAChannel) {
    auto pair = Channel::pair();
    ASSERT_TRUE(pair);
    // A message is a zero byte and its text; printf makes one datagram of it.
    const auto pid = spawn({.command = {"sh", "-c", "printf '\\0hello' >&3"}, .keep_fds = {{pair->second.get(), 3}}});
    ASSERT_TRUE(pid);
    pair->second.reset();
    EXPECT_EQ(exit_status(*pid), 0);
    const auto heard = pair->first.receive();
    ASSERT_EQ(heard.size(), 1u);
    EXPECT_EQ(std::string(heard[0].begin(), heard[0].end()), "hello");
    EXPECT_TRUE(pair->first.closed());
}

}  // namespace
}  // namespace koi
