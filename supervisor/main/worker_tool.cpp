#include "supervisor/main/worker_tool.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <climits>

#include "supervisor/base/child.h"
#include "supervisor/base/fd.h"
#include "supervisor/base/file.h"

namespace koi::control {

namespace {

constexpr std::size_t largest_answer = 256u << 20;

// Beside this program in a build tree, in its own directory once installed.
std::string worker_program() {
    char self[PATH_MAX];
    const ssize_t n = ::readlink("/proc/self/exe", self, sizeof self - 1);
    if (n > 0) {
        std::string beside(self, static_cast<std::size_t>(n));
        beside.resize(beside.rfind('/'));
        beside += "/koid-worker";
        if (::access(beside.c_str(), X_OK) == 0) return beside;
    }
    return std::string(KOI_LIBEXECDIR) + "/koid-worker";
}

}  // namespace

Result<Told> ask_worker_program(const std::vector<std::string>& arguments) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return from_errno("making a pipe");
    const Fd from(ends[0]);
    Fd to(ends[1]);
    Spawn program{.command = {worker_program()}, .keep_fds = {{to.get(), STDOUT_FILENO}}};
    program.command.insert(program.command.end(), arguments.begin(), arguments.end());
    const auto pid = spawn(program);
    if (!pid) return pid.error();
    to = Fd();
    auto out = read_whole(from.get(), "what " + program.command.front() + " says", largest_answer);
    int status = 0;
    while (::waitpid(*pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (!out) return out.error();
    return Told{WIFEXITED(status) ? WEXITSTATUS(status) : 128, std::move(*out)};
}

}  // namespace koi::control
