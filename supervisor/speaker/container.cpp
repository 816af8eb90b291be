#include "supervisor/speaker/container.h"

#include <sys/capability.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "supervisor/base/child.h"
#include "supervisor/base/first_process.h"
#include "supervisor/base/log.h"
#include "supervisor/speaker/worker_process.h"

namespace koi::speaker {

namespace {

constexpr int failed = 1;

constexpr std::pair<Capability, cap_value_t> needed[] = {{Capability::net_admin, CAP_NET_ADMIN},
                                                         {Capability::net_raw, CAP_NET_RAW},
                                                         {Capability::setuid, CAP_SETUID},
                                                         {Capability::setgid, CAP_SETGID},
                                                         {Capability::setpcap, CAP_SETPCAP}};

std::set<Capability> missing_capabilities() {
    std::set<Capability> missing;
    const cap_t ours = cap_get_proc();
    for (const auto& [capability, value] : needed) {
        cap_flag_value_t set = CAP_CLEAR;
        if (ours && (cap_get_flag(ours, value, CAP_PERMITTED, &set) != 0 || set != CAP_SET))
            missing.insert(capability);
    }
    cap_free(ours);
    return missing;
}

// "CAP_NET_RAW, CAP_SETUID" and "NET_RAW,SETUID", as sentences and podman have them.
std::pair<std::string, std::string> names(const std::set<Capability>& some) {
    std::string said, typed;
    for (const auto capability : some) {
        const auto name = to_string(capability);
        said += (said.empty() ? "" : ", ") + name;
        typed += (typed.empty() ? "" : ",") + name.substr(4);
    }
    return {said, typed};
}

// As the unit's ExecStopPost= does; the program knows from the same variable how the daemon ended.
void let_go_of_what_is_left(bool well) {
    Spawn withdrawal;
    withdrawal.command = {"/proc/self/exe", "--withdraw"};
    withdrawal.argv0 = "koid";
    withdrawal.environment = {{"SERVICE_RESULT", well ? "success" : "exit-code"}};
    withdrawal.capabilities = {Capability::net_admin};
    const auto pid = spawn(withdrawal);
    if (!pid) return log::note(log::Level::error, "stop", pid.error().story);
    while (::waitpid(*pid, nullptr, 0) < 0 && errno == EINTR) {
    }
}

}  // namespace

Surroundings look_around(const std::string& configuration) {
    return {.missing = missing_capabilities(),
            .configured = ::access(configuration.c_str(), F_OK) == 0 || errno != ENOENT,
            .kernel = kernel_features()};
}

std::optional<FirstWords> first_words(const Surroundings& around, const std::string& configuration) {
    if (!around.configured)
        return FirstWords{
            "there is no " + configuration +
                " in this container: write it on the host (an example is here in "
                "/usr/share/doc/koi/examples/koi.yaml) and mount its folder with -v /etc/koi:/etc/koi:ro",
            bad_configuration};
    if (!around.missing.empty()) {
        const auto [said, typed] = names(around.missing);
        return FirstWords{"this container lacks " + said + ", so koid cannot work; start it with --cap-add=" + typed,
                          failed};
    }
    const bool no_ip_vs = around.kernel.ip_vs == false, no_nf_tables = around.kernel.nf_tables == false;
    if (!no_ip_vs && !no_nf_tables) return std::nullopt;
    const std::string forwarding = "ip_vs, so nothing can be forwarded";
    const std::string leases = "nf_tables, so the addresses of a node that dies answer up to a second too long";
    const std::string lacks = !no_nf_tables ? forwarding : !no_ip_vs ? leases : forwarding + ", and " + leases;
    const std::string cure = !no_nf_tables ? "ip_vs" : !no_ip_vs ? "nf_tables" : "-a ip_vs nf_tables";
    return FirstWords{"the host's kernel lacks " + lacks + "; on the host: modprobe " + cure, std::nullopt};
}

std::optional<int> first_process(const std::string& configuration) {
    const auto words = first_words(look_around(configuration), configuration);
    if (words && words->end == bad_configuration) log::note(log::Level::error, "configuration", words->sentence);
    if (words && words->end == failed) log::note(log::Level::error, "start", words->sentence);
    if (words && !words->end) log::note(log::Level::warning, "host", words->sentence);
    if (words && words->end) return words->end;
    const auto daemon = split_off_daemon();
    if (!daemon) {
        log::note(log::Level::error, "start", daemon.error().story);
        return failed;
    }
    if (*daemon == 0) return std::nullopt;
    // NET_ADMIN for the very end only; nothing is read from anybody until then.
    (void)keep_only({Capability::net_admin});
    const int code = watch_over(*daemon);
    if (code > 128)
        log::note(log::Level::error, "stop",
                  "koid was ended by signal " + std::to_string(code - 128) +
                      "; a koid that starts before the leases of its addresses end goes on with them");
    if (code != bad_configuration) let_go_of_what_is_left(code == 0);
    return code;
}

}  // namespace koi::speaker
