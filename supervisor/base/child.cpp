#include "supervisor/base/child.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "supervisor/base/fd.h"

namespace koi {

namespace {

// Everything the child needs, made before the fork: between fork and exec a process may not allocate memory.
struct Prepared {
    explicit Prepared(const Spawn& spawn);

    const char* program;
    std::vector<std::string> words, variables;
    std::vector<char*> argv, envp;
    struct Kept {
        int ours, parked, number;
    };
    std::vector<Kept> kept;
    int first_free = 3;  // above every number the child is promised
    int death_signal;
    std::uint64_t capabilities;
    pid_t parent = ::getpid();
};

std::vector<char*> pointers(std::vector<std::string>& texts) {
    std::vector<char*> out;
    for (auto& text : texts) out.push_back(text.data());
    out.push_back(nullptr);
    return out;
}

std::vector<std::string> environment_of(const Spawn& spawn) {
    std::vector<std::string> variables;
    for (char** variable = environ; variable && *variable; ++variable) {
        const std::string text = *variable;
        const auto name = text.substr(0, text.find('='));
        if (!spawn.environment.contains(name) && std::ranges::count(spawn.without, name) == 0)
            variables.push_back(text);
    }
    for (const auto& [name, value] : spawn.environment) variables.push_back(name + "=" + value);
    return variables;
}

Prepared::Prepared(const Spawn& spawn)
    : program(spawn.command[0].c_str()),
      words(spawn.command),
      variables(environment_of(spawn)),
      death_signal(spawn.when_parent_dies),
      capabilities(bits_of(spawn.capabilities)) {
    if (!spawn.argv0.empty()) words[0] = spawn.argv0;
    argv = pointers(words);
    envp = pointers(variables);
    for (const auto& [ours, number] : spawn.keep_fds) {
        kept.push_back({ours, -1, number});
        first_free = std::max(first_free, number + 1);
    }
}

// ---- In the child. Only system calls from here to exec. ----

enum class Step : int { descriptors, capabilities, death_signal, exec };
struct News {
    Step step;
    int code;
};

[[noreturn]] void give_up(int report, Step step) {
    const News news{step, errno};
    ::signal(SIGPIPE, SIG_IGN);  // the reader may not have waited
    [[maybe_unused]] const auto written = ::write(report, &news, sizeof news);
    ::_exit(127);
}

void take_descriptors(Prepared& p, int& report) {
    // First out of the way, as our 5 may become its 3 and our 3 its 4; then to their places.
    report = ::fcntl(report, F_DUPFD_CLOEXEC, p.first_free);
    for (auto& keep : p.kept)
        if ((keep.parked = ::fcntl(keep.ours, F_DUPFD_CLOEXEC, p.first_free)) < 0) give_up(report, Step::descriptors);
    // Before Linux 5.11 this closes nothing; our own descriptors all have O_CLOEXEC anyway.
    ::syscall(SYS_close_range, 3u, ~0u, CLOSE_RANGE_CLOEXEC);
    for (const auto& keep : p.kept)
        if (::dup2(keep.parked, keep.number) < 0) give_up(report, Step::descriptors);
}

// An exec by anybody but root keeps the ambient set and nothing else. It stands on permitted and inheritable.
bool hand_on(std::uint64_t wanted) {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct sets[2] = {};
    if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0) return false;
    if (::syscall(SYS_capget, &header, sets) != 0) return false;
    for (auto half : {0, 1})
        sets[half].inheritable = sets[half].permitted & static_cast<std::uint32_t>(wanted >> 32 * half);
    if (::syscall(SYS_capset, &header, sets) != 0) return false;
    for (unsigned long number = 0; number < 64; ++number)
        if ((sets[number / 32].inheritable >> number % 32 & 1) != 0 &&
            ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number, 0, 0) != 0)
            return false;
    return true;
}

void forget_signals() {
    struct sigaction plain {};
    plain.sa_handler = SIG_DFL;
    for (int signal = 1; signal < NSIG; ++signal) ::sigaction(signal, &plain, nullptr);
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

[[noreturn]] void become(Prepared& p, int report) {
    take_descriptors(p, report);
    if (!hand_on(p.capabilities)) give_up(report, Step::capabilities);
    if (p.death_signal != 0) {
        if (::prctl(PR_SET_PDEATHSIG, p.death_signal) != 0) give_up(report, Step::death_signal);
        if (::getppid() != p.parent) ::_exit(127);  // it died before we asked: nobody is left to tell
    }
    forget_signals();
    ::execvpe(p.program, p.argv.data(), p.envp.data());
    give_up(report, Step::exec);
}

// ---- In the parent. ----

// Nothing arrives if the exec worked, as the pipe then closes by itself.
Outcome hear_of(const std::string& program, int report, std::chrono::milliseconds patience) {
    pollfd ready{report, POLLIN, 0};
    while (::poll(&ready, 1, static_cast<int>(patience.count())) < 0 && errno == EINTR) {
    }
    News news{};
    if (ready.revents == 0 || ::read(report, &news, sizeof news) != sizeof news) return Done{};
    const std::string deed = news.step == Step::descriptors    ? "handing descriptors to " + program
                             : news.step == Step::capabilities ? "handing capabilities to " + program
                             : news.step == Step::death_signal ? "choosing the death signal of " + program
                                                               : "starting " + program;
    return from_errno(deed, news.code);
}

}  // namespace

Result<int> spawn(const Spawn& what) {
    if (what.command.empty() || what.command[0].empty())
        return Error{"starting a program: no command is given", EINVAL};
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return from_errno("starting " + what.command[0]);
    Fd ours(ends[0]), childs(ends[1]);
    Prepared prepared(what);

    // Blocked, so that no handler of ours runs in the child.
    sigset_t all, before;
    ::sigfillset(&all);
    ::sigprocmask(SIG_SETMASK, &all, &before);
    const pid_t pid = ::fork();
    if (pid == 0) become(prepared, childs.get());
    const int failure = errno;
    ::sigprocmask(SIG_SETMASK, &before, nullptr);
    if (pid < 0) return from_errno("starting " + what.command[0], failure);

    childs.reset();
    if (auto heard = hear_of(what.command[0], ours.get(), what.wait_for_exec); !heard) {
        ::waitpid(pid, nullptr, 0);
        return heard.error();
    }
    return pid;
}

}  // namespace koi
