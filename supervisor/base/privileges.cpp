#include "supervisor/base/privileges.h"

#include <grp.h>
#include <pwd.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <unistd.h>

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
        return Error{"needs " + names + "; run as root or give the unit AmbientCapabilities=" + names, EPERM};

    const auto kept = values(wanted);
    auto bounding = values(for_children);
    bounding.insert(bounding.end(), kept.begin(), kept.end());
    if (auto done = narrow_bounding_set(bounding); !done) return done;
    const Caps next(cap_init());
    const int n = static_cast<int>(kept.size());
    bool filled = next != nullptr;
    if (n > 0) {
        filled = filled && cap_set_flag(next.get(), CAP_PERMITTED, n, kept.data(), CAP_SET) == 0;
        filled = filled && cap_set_flag(next.get(), CAP_EFFECTIVE, n, kept.data(), CAP_SET) == 0;
    }
    // Inheritable can only shrink here: what the unit gave stays, as ambient capabilities stand on it. The kernel
    // takes away from the ambient set what leaves permitted or inheritable.
    for (const auto value : kept)
        if (has(ours, value, CAP_INHERITABLE))
            filled = filled && cap_set_flag(next.get(), CAP_INHERITABLE, 1, &value, CAP_SET) == 0;
    if (!filled || cap_set_proc(next.get()) != 0) return from_errno("giving up capabilities");
    if (forever && ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return from_errno("refusing new privileges");
    return Done{};
}

Outcome become_user(const std::string& name) {
    uid_t uid = nobody;
    gid_t gid = nobody;
    if (const passwd* entry = ::getpwnam(name.c_str())) {
        uid = entry->pw_uid;
        gid = entry->pw_gid;
    }
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
