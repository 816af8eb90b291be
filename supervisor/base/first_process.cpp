#include "supervisor/base/first_process.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

namespace koi {

namespace {

// Ours to die of, or about a terminal: a container that its operator suspends with Ctrl-Z would never be continued.
constexpr int kept[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS, SIGTSTP, SIGTTIN, SIGTTOU};

sigset_t handed_on() {
    sigset_t all;
    ::sigfillset(&all);
    for (const int signal : kept) ::sigdelset(&all, signal);
    return all;
}

int code_of(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status); }

// Everything that has ended by now. The daemon's exit code if it is among them.
std::optional<int> reap(int daemon) {
    std::optional<int> code;
    int status = 0;
    pid_t pid;
    while ((pid = ::waitpid(-1, &status, WNOHANG)) > 0)
        if (pid == daemon) code = code_of(status);
    // Nobody is left whom we could wait for, and how the daemon ended nobody can say.
    if (pid < 0 && errno == ECHILD && !code) code = 1;
    return code;
}

}  // namespace

Result<int> split_off_daemon() {
    const sigset_t all = handed_on();
    sigset_t before;
    // Blocked, a signal waits for us even where process 1 would never see it. A parent that ignored SIGCHLD has
    // children that nobody can wait for, and we inherit that.
    ::sigprocmask(SIG_BLOCK, &all, &before);
    ::signal(SIGCHLD, SIG_DFL);
    for (const int signal : {SIGTSTP, SIGTTIN, SIGTTOU}) ::signal(signal, SIG_IGN);
    const pid_t pid = ::fork();
    if (pid < 0) return from_errno("starting the daemon beside the container's first process");
    // Both of us, as either may be first.
    ::setpgid(pid, pid);
    if (pid == 0) {
        for (const int signal : {SIGTSTP, SIGTTIN, SIGTTOU}) ::signal(signal, SIG_DFL);
        ::sigprocmask(SIG_SETMASK, &before, nullptr);
    }
    return pid;
}

int watch_over(int daemon) {
    const sigset_t all = handed_on();
    for (;;) {
        if (const auto code = reap(daemon)) return *code;
        siginfo_t about{};
        const int signal = ::sigwaitinfo(&all, &about);
        if (signal > 0 && signal != SIGCHLD) ::kill(daemon, signal);
    }
}

}  // namespace koi
