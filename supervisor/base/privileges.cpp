#include "supervisor/base/privileges.h"

#include <grp.h>
#include <pwd.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include <memory>
#include <utility>
#include <vector>

namespace koi {

namespace {

constexpr uid_t nobody = 65534;

constexpr std::pair<Capability, cap_value_t> known[] = {
    {Capability::net_admin, CAP_NET_ADMIN},
    {Capability::net_raw, CAP_NET_RAW},
    {Capability::net_bind_service, CAP_NET_BIND_SERVICE},
    {Capability::setuid, CAP_SETUID},
    {Capability::setgid, CAP_SETGID},
    {Capability::setpcap, CAP_SETPCAP},
    {Capability::kill, CAP_KILL},
    {Capability::sys_nice, CAP_SYS_NICE},
};

struct FreeCaps {
    void operator()(cap_t c) const noexcept { cap_free(c); }
};
using Caps = std::unique_ptr<std::remove_pointer_t<cap_t>, FreeCaps>;

bool has(const Caps& caps, cap_value_t value, cap_flag_t flag) {
    cap_flag_value_t set = CAP_CLEAR;
    return cap_get_flag(caps.get(), value, flag, &set) == 0 && set == CAP_SET;
}

bool can(cap_value_t value) {
    const Caps ours(cap_get_proc());
    return ours && has(ours, value, CAP_EFFECTIVE);
}

std::string missing(const Caps& ours, const std::set<Capability>& wanted) {
    std::string names;
    for (const auto& [capability, value] : known)
        if (wanted.contains(capability) && !has(ours, value, CAP_PERMITTED))
            names += (names.empty() ? "" : " ") + to_string(capability);
    return names;
}

std::vector<cap_value_t> values(const std::set<Capability>& wanted) {
    std::vector<cap_value_t> out;
    for (const auto& [capability, value] : known)
        if (wanted.contains(capability)) out.push_back(value);
    return out;
}

std::string how_to_get(const std::string& names, const std::set<Capability>& wanted) {
    bool bounded = false;
    for (const auto value : values(wanted)) bounded = bounded || cap_get_bound(value) == 0;
    return "run as root or give the unit AmbientCapabilities=" + names +
           (bounded ? " and let its CapabilityBoundingSet= have them; a container wants --cap-add" : "");
}

std::pair<uid_t, gid_t> ids_of(const std::string& user) {
    const passwd* entry = ::getpwnam(user.c_str());
    return entry ? std::pair(entry->pw_uid, entry->pw_gid) : std::pair<uid_t, gid_t>(nobody, nobody);
}

// The kernel numbers capabilities densely; cap_get_bound() fails at the first number it does not know.
Outcome narrow_bounding_set(const std::vector<cap_value_t>& kept) {
    if (!can(CAP_SETPCAP)) return Done{};  // then file capabilities and set-uid root remain; see no_new_privs
    for (cap_value_t value = 0; cap_get_bound(value) >= 0; ++value) {
        bool keep = false;
        for (const auto k : kept) keep = keep || k == value;
        if (!keep && cap_drop_bound(value) != 0) return from_errno("narrowing the bounding set of capabilities");
    }
    return Done{};
}

}  // namespace

std::string to_string(Capability capability) {
    switch (capability) {
        case Capability::net_admin: return "CAP_NET_ADMIN";
        case Capability::net_raw: return "CAP_NET_RAW";
        case Capability::net_bind_service: return "CAP_NET_BIND_SERVICE";
        case Capability::setuid: return "CAP_SETUID";
        case Capability::setgid: return "CAP_SETGID";
        case Capability::setpcap: return "CAP_SETPCAP";
        case Capability::kill: return "CAP_KILL";
        case Capability::sys_nice: return "CAP_SYS_NICE";
    }
    return "?";
}

Outcome keep_only(const std::set<Capability>& wanted, bool forever, const std::set<Capability>& for_children) {
    const Caps ours(cap_get_proc());
    if (!ours) return from_errno("reading our capabilities");
    if (const auto names = missing(ours, wanted); !names.empty())
        return Error{"needs " + names + "; " + how_to_get(names, wanted), EPERM};

    auto all = wanted;
    all.insert(for_children.begin(), for_children.end());
    if (auto done = narrow_bounding_set(values(all)); !done) return done;
    const Caps next(cap_init());
    bool filled = next != nullptr;
    const auto raise = [&](cap_value_t value, cap_flag_t flag) {
        filled = filled && cap_set_flag(next.get(), flag, 1, &value, CAP_SET) == 0;
    };
    for (const auto value : values(wanted)) raise(value, CAP_EFFECTIVE);
    for (const auto value : values(all)) {
        if (has(ours, value, CAP_PERMITTED)) raise(value, CAP_PERMITTED);
        // Inheritable can only shrink here: what the unit gave stays, as ambient capabilities stand on it. The kernel
        // takes away from the ambient set what leaves permitted or inheritable.
        if (has(ours, value, CAP_INHERITABLE)) raise(value, CAP_INHERITABLE);
    }
    if (!filled || cap_set_proc(next.get()) != 0) return from_errno("giving up capabilities");
    if (forever && ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return from_errno("refusing new privileges");
    return Done{};
}

Outcome keep_over_exec() {
    const Caps ours(cap_get_proc());
    if (!ours) return from_errno("reading our capabilities");
    std::vector<cap_value_t> permitted;
    for (const auto& [capability, value] : known)
        if (has(ours, value, CAP_PERMITTED)) permitted.push_back(value);
    // An exec by anybody but root keeps the ambient set and nothing else; it stands on permitted and inheritable.
    bool done = true;
    for (const auto value : permitted)
        done = done && cap_set_flag(ours.get(), CAP_INHERITABLE, 1, &value, CAP_SET) == 0;
    done = done && cap_set_proc(ours.get()) == 0;
    for (const auto value : permitted) done = done && cap_set_ambient(value, CAP_SET) == 0;
    if (!done) return from_errno("keeping capabilities over an exec");
    return Done{};
}

std::string lacking(const std::set<Capability>& wanted) {
    const Caps ours(cap_get_proc());
    const auto names = ours ? missing(ours, wanted) : "";
    return names.empty() ? "" : names + "; " + how_to_get(names, wanted);
}

std::uint64_t bits_of(const std::set<Capability>& wanted) {
    std::uint64_t bits = 0;
    for (const auto value : values(wanted)) bits |= std::uint64_t{1} << value;
    return bits;
}

Outcome signal_process_of(const std::string& user, int pid, int signal) {
    if (::kill(pid, signal) == 0) return Done{};
    if (errno != EPERM) return from_errno("signalling process " + std::to_string(pid));
    const auto [uid, gid] = ids_of(user);
    // In a child, as a user is changed for good.
    const pid_t messenger = ::fork();
    if (messenger < 0) return from_errno("signalling process " + std::to_string(pid));
    if (messenger == 0) {
        const Caps ours(cap_get_proc());
        const cap_value_t value = CAP_SETUID;
        const bool may = ours && cap_set_flag(ours.get(), CAP_EFFECTIVE, 1, &value, CAP_SET) == 0 &&
                         cap_set_proc(ours.get()) == 0 && ::setresuid(uid, uid, uid) == 0;
        ::_exit(may && ::kill(pid, signal) == 0 ? 0 : errno);
    }
    int status = 0;
    while (::waitpid(messenger, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return Done{};
    return from_errno("signalling process " + std::to_string(pid) + " of user " + user,
                      WIFEXITED(status) ? WEXITSTATUS(status) : EINTR);
}

Outcome become_user(const std::string& name) {
    const auto [uid, gid] = ids_of(name);
    const bool may = can(CAP_SETUID) && can(CAP_SETGID);
    if (!may && ::geteuid() != 0) return Done{};
    const std::string deed = "becoming user " + name + " (uid " + std::to_string(uid) + ")";
    if (!may)
        return Error{deed + ": needs CAP_SETUID and CAP_SETGID; let the container keep them, or do not start as root",
                     EPERM};

    // The kernel forgets the death signal of a process that changes its user.
    int death_signal = 0;
    ::prctl(PR_GET_PDEATHSIG, &death_signal);
    if (::setgroups(0, nullptr) != 0) return from_errno(deed + ": leaving our groups");
    if (::setresgid(gid, gid, gid) != 0) return from_errno(deed + ": changing the group");
    if (::setresuid(uid, uid, uid) != 0) return from_errno(deed);
    if (death_signal != 0) ::prctl(PR_SET_PDEATHSIG, death_signal);
    return Done{};
}

}  // namespace koi
