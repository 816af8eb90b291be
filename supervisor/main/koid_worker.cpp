// koid-worker: configuration, plan, virtual servers, status. Started by koid; `koid -t`, `koid -T` and some words of
// koi start it for what needs the configuration's language.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <climits>
#include <cstdio>
#include <string>

#include "supervisor/base/file.h"
#include "supervisor/config/collect.h"
#include "supervisor/config/read.h"
#include "supervisor/control/sent_files.h"
#include "supervisor/withdraw_services.h"
#include "supervisor/worker.h"

namespace {

constexpr int bad_configuration = 78;  // EX_CONFIG

int test(const std::string& path, bool print) {
    const auto reading = koi::config::load(path);
    for (const auto& complaint : reading.complaints) std::fprintf(stderr, "%s\n", complaint.text().c_str());
    for (const auto& warning : reading.warnings) std::fprintf(stderr, "%s (warning)\n", warning.text().c_str());
    if (!reading.config) {
        const auto n = reading.complaints.size();
        std::fprintf(stderr, "%zu %s; this configuration cannot be used\n", n, n == 1 ? "complaint" : "complaints");
        return bad_configuration;
    }
    if (print) {
        std::fputs(koi::config::print(*reading.config).c_str(), stdout);
        return 0;
    }
    const auto standby = koi::config::standby(*reading.config);
    std::printf("%s is fine: %zu vhids, %zu services, %zu pools; standby is %s, %s\n", path.c_str(),
                reading.config->vips.size(), reading.config->services.size(), reading.config->pools.size(),
                standby.warm ? "warm" : "cold", standby.because.c_str());
    return 0;
}

int withdraw() {
    const auto gone = koi::withdraw_services(koi::state_directory());
    if (!gone) {
        std::fprintf(stderr, "koid: %s\n", gone.error().story.c_str());
        return 1;
    }
    for (const auto& sentence : *gone) std::printf("%s\n", sentence.c_str());
    return 0;
}

// For `koi keygen --adopt`: which key files are meant, whatever else is wrong with the file or with them.
int name_keys(const std::string& path) {
    const auto reading = koi::config::load(path);
    for (const auto& file : reading.key_files) std::puts(file.c_str());
    if (!reading.key_files.empty() || reading.config) return 0;
    for (const auto& complaint : reading.complaints) std::fprintf(stderr, "%s\n", complaint.text().c_str());
    return bad_configuration;
}

// For `koi plan -c FILE`: the body of its question.
int collect(const std::string& path) {
    std::vector<koi::config::Complaint> complaints;
    auto [files, patterns] = koi::config::collect(path, koi::config::disk(), complaints);
    for (const auto& complaint : complaints) std::fprintf(stderr, "%s\n", complaint.text().c_str());
    if (!complaints.empty()) return bad_configuration;
    const auto body = koi::control::written({path, std::move(files), std::move(patterns)});
    return std::fwrite(body.data(), 1, body.size(), stdout) == body.size() && std::fflush(stdout) == 0 ? 0 : 1;
}

std::string own_folder() {
    char self[PATH_MAX];
    const ssize_t n = ::readlink("/proc/self/exe", self, sizeof self - 1);
    std::string path = n > 0 ? std::string(self, static_cast<std::size_t>(n)) : KOI_LIBEXECDIR "/koid-worker";
    path.resize(path.rfind('/'));
    return path;
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app{"koid-worker is started by koid; see koid(8)"};
    app.set_version_flag("--version", "koid-worker " KOI_VERSION);
    std::string configuration = "/etc/koi/koi.yaml";
    bool again = false, beside = false;
    app.require_subcommand(1);
    auto* run = app.add_subcommand("run", "be the worker of the koid that is on descriptor 3");
    auto* check = app.add_subcommand("test", "test a configuration");
    auto* print = app.add_subcommand("print", "test a configuration and print it in full");
    auto* withdrawal = app.add_subcommand("withdraw", "remove the virtual servers that Koi made");
    auto* keys = app.add_subcommand("keys", "name the key files of a configuration");
    auto* send = app.add_subcommand("collect", "a configuration and what it includes, as JSON");
    for (auto* command : {run, check, print, keys, send}) command->add_option("--configuration", configuration);
    run->add_flag("--again", again, "go on with the configuration that was in force");
    run->add_flag("--beside", beside, "wait until the worker before has gone");
    CLI11_PARSE(app, argc, argv);
    if (*check || *print) return test(configuration, static_cast<bool>(*print));
    if (*withdrawal) return withdraw();
    if (*keys) return name_keys(configuration);
    if (*send) return collect(configuration);
    return koi::run_worker({.configuration = configuration,
                            .scout_program = own_folder() + "/koid-scout",
                            .runtime_directory = koi::runtime_directory(),
                            .state_directory = koi::state_directory(),
                            .version_file = own_folder() + "/version",
                            .channel_fd = 3,
                            .again = again,
                            .beside = beside});
}
