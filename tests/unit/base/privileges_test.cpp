#include "supervisor/base/privileges.h"

#include <grp.h>
#include <gtest/gtest.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <functional>

namespace koi {
namespace {

// Runs in a process of its own, as what is given up cannot be had back. Empty: all was as expected.
std::string in_a_child(const std::function<std::string()>& deed) {
    int ends[2];
    if (::pipe(ends) != 0) return "no pipe";
    const pid_t pid = ::fork();
    if (pid == 0) {
        ::close(ends[0]);
        const auto words = deed();
        ::_exit(::write(ends[1], words.data(), words.size()) == std::ssize(words) ? 0 : 1);
    }
    ::close(ends[1]);
    std::string words;
    char chunk[512];
    for (ssize_t n; (n = ::read(ends[0], chunk, sizeof chunk)) > 0;) words.append(chunk, static_cast<std::size_t>(n));
    ::close(ends[0]);
    int status = 0;
    ::waitpid(pid, &status, 0);
    return status == 0 ? words : words + " (the child failed)";
}

std::string ours() {
    const cap_t caps = cap_get_proc();
    char* text = cap_to_text(caps, nullptr);
    std::string out = text;
    cap_free(text);
    cap_free(caps);
    return out;
}

bool has_net_caps() {
    const cap_t caps = cap_get_proc();
    bool all = true;
    for (const cap_value_t value : {CAP_NET_ADMIN, CAP_NET_RAW, CAP_SETPCAP, CAP_SETUID, CAP_SETGID}) {
        cap_flag_value_t set = CAP_CLEAR;
        cap_get_flag(caps, value, CAP_PERMITTED, &set);
        all = all && set == CAP_SET;
    }
    cap_free(caps);
    return all && ::geteuid() == 0;
}

#define NEEDS_ROOT()     \
    if (!has_net_caps()) \
    GTEST_SKIP() << "needs root with CAP_NET_ADMIN, CAP_NET_RAW, CAP_SETPCAP, CAP_SETUID, CAP_SETGID"

// As under a unit with a user of its own: what passes an exec of somebody who is not root.
TEST(Privileges, WhatIsKeptOverAnExecIsThereAfterIt) {
    NEEDS_ROOT();
    const auto after = [](bool kept) {
        return in_a_child([kept]() -> std::string {
            if (::prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0 || ::setresuid(65534, 65534, 65534) != 0) return "no user";
            if (kept)
                if (auto done = keep_over_exec(); !done) return done.error().story;
            int ends[2];
            if (::pipe(ends) != 0) return "no pipe";
            if (::fork() == 0) {
                ::dup2(ends[1], 1);
                ::execl("/bin/grep", "grep", "CapPrm", "/proc/self/status", nullptr);
                ::_exit(1);
            }
            ::close(ends[1]);
            char text[64] = {};
            return std::string(text,
                               static_cast<std::size_t>(std::max<ssize_t>(::read(ends[0], text, sizeof text), 0)));
        });
    };
    constexpr std::uint64_t net = 1u << CAP_NET_ADMIN | 1u << CAP_NET_RAW;
    const auto bits = [](const std::string& line) {
        return std::stoull(line.substr(line.find(':') + 1), nullptr, 16);
    };
    EXPECT_EQ(bits(after(true)) & net, net);
    EXPECT_EQ(bits(after(false)), 0u) << "or this test shows nothing";
}

TEST(Privileges, OnlyWhatIsNamedStays) {
    NEEDS_ROOT();
    EXPECT_EQ(in_a_child([] {
                  if (auto done = keep_only({Capability::net_raw, Capability::net_admin}); !done)
                      return done.error().story;
                  return ours();
              }),
              "cap_net_admin,cap_net_raw=ep");
}

TEST(Privileges, NothingAtAllCanBeKept) {
    EXPECT_EQ(in_a_child([] {
                  if (auto done = keep_only({}, true); !done) return done.error().story;
                  if (::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
                      return std::string("new privileges are still possible");
                  return ours();
              }),
              "=");
}

TEST(Privileges, WhatARootProcessStartsAfterwardsHasNoMore) {
    NEEDS_ROOT();
    EXPECT_EQ(in_a_child([] {
                  if (auto done = keep_only({Capability::net_raw}); !done) return done.error().story;
                  ::execlp("sh", "sh", "-c", "test $(sed -n 's/^CapEff:.//p' /proc/self/status) = 0000000000002000",
                           nullptr);
                  return std::string("no shell");
              }),
              "");
}

TEST(Privileges, WhatIsMissingIsNamedWithTheRemedyAndNothingChanges) {
    NEEDS_ROOT();
    EXPECT_EQ(in_a_child([] {
                  if (auto done = keep_only({Capability::net_admin}); !done) return done.error().story;
                  const auto refused = keep_only({Capability::net_admin, Capability::net_raw});
                  if (refused) return std::string("not refused");
                  return refused.error().story + " | " + ours();
              }),
              "needs CAP_NET_RAW; run as root or give the unit AmbientCapabilities=CAP_NET_RAW and let its "
              "CapabilityBoundingSet= have them; a container wants --cap-add | cap_net_admin=ep");
}

TEST(Privileges, WhatIsForTheChildrenIsPermittedAndNotInEffect) {
    NEEDS_ROOT();
    EXPECT_EQ(in_a_child([] {
                  if (auto done = keep_only({Capability::net_raw}, true, {Capability::setuid}); !done)
                      return done.error().story;
                  return ours();
              }),
              "cap_net_raw=ep cap_setuid+p");
}

TEST(Privileges, WhatIsLackingIsNamedToo) {
    NEEDS_ROOT();
    EXPECT_EQ(in_a_child([] {
                  if (const auto names = lacking({Capability::setuid}); !names.empty()) return names;
                  if (auto done = keep_only({Capability::setuid}); !done) return done.error().story;
                  return lacking({Capability::setuid, Capability::setpcap}).substr(0, 12);
              }),
              "CAP_SETPCAP;");
}

// As the worker ends a scout: a child that has become another user, and no CAP_KILL.
TEST(Privileges, AProcessOfAnotherUserCanBeSignalledByWhoMayBecomeIt) {
    NEEDS_ROOT();
    const auto end_of_another = [](const std::set<Capability>& kept) {
        return in_a_child([&kept] {
            const pid_t another = ::fork();
            if (another == 0) {
                if (::setresuid(65534, 65534, 65534) != 0) ::_exit(1);
                ::alarm(2);  // nobody can end it in the second case, and it holds our pipe
                for (;;) ::pause();
            }
            ::usleep(50'000);
            ::prctl(PR_SET_KEEPCAPS, 1);
            const cap_t caps = cap_from_text("cap_setuid,cap_setpcap=eip");
            if (::setresuid(12345, 12345, 12345) != 0 || cap_set_proc(caps) != 0) return std::string("no other user");
            cap_free(caps);
            if (auto done = keep_only({}, true, kept); !done) return done.error().story;
            const auto done = signal_process_of("koi-no-such-user", another, SIGKILL);
            if (!done) return done.error().story.substr(0, 10);
            int status = 0;
            ::waitpid(another, &status, 0);
            return std::string(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL ? "ended" : "lives");
        });
    };
    EXPECT_EQ(end_of_another({Capability::setuid}), "ended");
    EXPECT_EQ(end_of_another({}), "signalling");
}

// What a unit with User= and AmbientCapabilities= starts: not root, but with capabilities its programs inherit.
TEST(Privileges, AnUnprivilegedProcessWithAmbientCapabilitiesKeepsAndInheritsThem) {
    NEEDS_ROOT();
    EXPECT_EQ(in_a_child([] {
                  ::prctl(PR_SET_KEEPCAPS, 1);
                  if (::setresuid(65534, 65534, 65534) != 0) return std::string("cannot become nobody");
                  const cap_t caps = cap_from_text("cap_net_admin,cap_net_raw=eip");
                  if (cap_set_proc(caps) != 0) return std::string("cannot set capabilities");
                  cap_free(caps);
                  cap_set_ambient(CAP_NET_ADMIN, CAP_SET);
                  cap_set_ambient(CAP_NET_RAW, CAP_SET);
                  if (auto done = keep_only({Capability::net_raw}, true); !done) return done.error().story;
                  if (ours() != "cap_net_raw=eip") return ours();
                  ::execlp("sh", "sh", "-c", "test $(sed -n 's/^CapEff:.//p' /proc/self/status) = 0000000000002000",
                           nullptr);
                  return std::string("no shell");
              }),
              "");
}

TEST(Privileges, AnUnknownUserMeansNobodyAndThereIsNoWayBack) {
    NEEDS_ROOT();
    EXPECT_EQ(in_a_child([] {
                  const gid_t groups[] = {4, 24};
                  if (::setgroups(2, groups) != 0) return std::string("cannot set groups");
                  if (auto done = become_user("koi-no-such-user"); !done) return done.error().story;
                  const bool someone = ::getuid() == 65534 && ::geteuid() == 65534 && ::getgid() == 65534;
                  if (!someone) return std::string("not uid 65534");
                  if (::getgroups(0, nullptr) != 0) return std::string("still in other groups");
                  if (::setuid(0) == 0) return std::string("became root again");
                  return ours();
              }),
              "=");
}

TEST(Privileges, BecomingAUserKeepsTheDeathSignal) {
    NEEDS_ROOT();
    EXPECT_EQ(in_a_child([] {
                  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
                  if (auto done = become_user("koi-no-such-user"); !done) return done.error().story;
                  int signal = 0;
                  ::prctl(PR_GET_PDEATHSIG, &signal);
                  return std::to_string(signal);
              }),
              std::to_string(SIGKILL));
}

TEST(Privileges, WhoIsUnprivilegedAlreadyStaysWhoHeIs) {
    NEEDS_ROOT();
    EXPECT_EQ(in_a_child([] {
                  if (::setresuid(12345, 12345, 12345) != 0) return std::string("cannot change user");
                  if (auto done = become_user("koi-no-such-user"); !done) return done.error().story;
                  return std::to_string(::getuid());
              }),
              "12345");
}

TEST(Privileges, RootThatMayNotChangeItsUserIsToldWhatToDo) {
    NEEDS_ROOT();
    EXPECT_EQ(in_a_child([] {
                  if (auto done = keep_only({Capability::net_raw}); !done) return done.error().story;
                  const auto refused = become_user("koi-no-such-user");
                  return refused ? std::string("not refused") : refused.error().story;
              }),
              "becoming user koi-no-such-user (uid 65534): needs CAP_SETUID and CAP_SETGID; let the container keep "
              "them, or "
              "do not start as root");
}

}  // namespace
}  // namespace koi
