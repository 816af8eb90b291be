// koid: the speaker. What needs the configuration's language (-t, -T) is the worker's program, which is started for
// it.
#include <getopt.h>
#include <sys/stat.h>
#include <unistd.h>

#include <climits>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "supervisor/base/file.h"
#include "supervisor/speaker/container.h"
#include "supervisor/speaker/estate.h"
#include "supervisor/speaker/speaker.h"
#include "supervisor/speaker/withdraw.h"

namespace {

constexpr const char* help =
    "koid: holds virtual addresses and virtual servers together with its peers\n"
    "\n"
    "  koid [-c FILE]          run; FILE defaults to /etc/koi/koi.yaml\n"
    "  koid -t [-c FILE]       test the configuration: every complaint with its place; exit 0 or 78\n"
    "  koid -T [-c FILE]       test it and print it in full, defaults included\n"
    "  koid --withdraw         let go of every address and virtual server that koid left on this host\n"
    "  koid --version\n"
    "\n"
    "Signals: SIGHUP reads the configuration again, SIGTERM leaves the election and lets go of everything.\n"
    "Exit codes: 0 fine, 1 failed, 2 usage, 78 the configuration cannot be used.\n"
    "Ask a running koid with koi(1): koi status\n";

// The path of this program; another file may stand there in the meantime.
std::string own_program() {
    constexpr std::string_view replaced = " (deleted)";
    char self[PATH_MAX];
    const ssize_t n = ::readlink("/proc/self/exe", self, sizeof self - 1);
    std::string path(self, static_cast<std::size_t>(n > 0 ? n : 0));
    if (path.ends_with(replaced)) path.resize(path.size() - replaced.size());
    return path;
}

// Beside this program in a build tree, in its own directory once installed.
std::string worker_program() {
    std::string beside = own_program();
    if (!beside.empty()) {
        beside.resize(beside.rfind('/'));
        beside += "/koid-worker";
        if (::access(beside.c_str(), X_OK) == 0) return beside;
    }
    return std::string(KOI_LIBEXECDIR) + "/koid-worker";
}

int test(const char* how, const std::string& configuration) {
    const std::string program = worker_program();
    ::execl(program.c_str(), "koid", how, "--configuration", configuration.c_str(), nullptr);
    std::perror(("koid: cannot start " + program).c_str());
    return 1;
}

int withdraw() {
    // systemd tells how the service ended; a person at a keyboard wants everything gone.
    const char* result = std::getenv("SERVICE_RESULT");
    const bool died = result && std::string_view(result) != "success";
    const auto gone = koi::speaker::withdraw(koi::runtime_directory(),
                                             died ? koi::speaker::After::death : koi::speaker::After::stop);
    if (!gone) {
        std::fprintf(stderr, "koid: %s\n", gone.error().story.c_str());
        return 1;
    }
    for (const auto& held : *gone) std::printf("let go of %s\n", held.text().c_str());
    // After a death connections go on through virtual servers that wait for the next worker.
    if (died) return 0;
    std::fflush(stdout);
    const std::string program = worker_program();
    ::execl(program.c_str(), "koid", "withdraw", nullptr);
    std::perror(("koid: cannot start " + program + " to let go of virtual servers").c_str());
    return 1;
}

bool ready_directory(const std::string& path) {
    if (::mkdir(path.c_str(), 0755) == 0 || errno == EEXIST) return true;
    std::perror(("koid: cannot make " + path).c_str());
    return false;
}

}  // namespace

int main(int argc, char** argv) {
    enum { withdraw_option = 256, version_option, take_over_option, can_take_over_option };
    const option options[] = {{"configuration", required_argument, nullptr, 'c'},
                              {"test", no_argument, nullptr, 't'},
                              {"print", no_argument, nullptr, 'T'},
                              {"withdraw", no_argument, nullptr, withdraw_option},
                              {"version", no_argument, nullptr, version_option},
                              {"take-over", required_argument, nullptr, take_over_option},
                              {"can-take-over", required_argument, nullptr, can_take_over_option},
                              {"help", no_argument, nullptr, 'h'},
                              {}};
    std::string configuration = "/etc/koi/koi.yaml";
    const char* testing = nullptr;
    bool withdrawing = false;
    int estate = -1;
    for (int word; (word = ::getopt_long(argc, argv, "c:tTVh", options, nullptr)) != -1;) {
        switch (word) {
            case 'c': configuration = optarg; break;
            case 't': testing = "test"; break;
            case 'T': testing = "print"; break;
            case withdraw_option: withdrawing = true; break;
            case 'V':
            case version_option: std::puts("koid " KOI_VERSION); return 0;
            // These two are what one koid says to the next (estate.h), and nobody else.
            case take_over_option: estate = std::atoi(optarg); break;
            case can_take_over_option:
                return koi::speaker::can_take_over(static_cast<unsigned>(std::atoi(optarg))) ? 0 : 1;
            case 'h': std::fputs(help, stdout); return 0;
            default: std::fputs("Try: koid --help\n", stderr); return 2;
        }
    }
    if (optind < argc) {
        std::fprintf(stderr, "koid: what is \"%s\"? Try: koid --help\n", argv[optind]);
        return 2;
    }
    if (withdrawing) return withdraw();
    if (testing) return test(testing, configuration);
    if (::getpid() == 1)
        if (const auto ended = koi::speaker::first_process(configuration)) return *ended;
    if (!ready_directory(koi::runtime_directory()) || !ready_directory(koi::state_directory())) return 1;
    koi::speaker::Setup setup{.program = own_program(),
                              .arguments = {argv[0], "--configuration", configuration},
                              .configuration = configuration,
                              .worker_program = worker_program(),
                              .runtime_directory = koi::runtime_directory(),
                              .state_directory = koi::state_directory(),
                              .estate = estate};
    return koi::speaker::run(setup);
}
