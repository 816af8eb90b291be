// supervisor/base/privileges.h
//
// What a process may keep. Each of Koi's processes drops, right after its start, whatever it was not built to use.
//
// keep_only(): effective becomes exactly the given capabilities; permitted, inheritable, ambient and (if the process
// may) the bounding set lose everything else but what is for its children, so that what it starts cannot have more
// either. Works as root and for a process that a unit started without being root. If something asked for is not
// there, nothing is changed, and the Error says what is missing and how to give it.
//
// What is for the children is permitted here, though not in effect, because NoNewPrivileges lets nobody, not even
// root, have after an exec what he did not have before. Spawn::capabilities hands it on.
//
// All act on the calling thread, so they belong before the first thread is started.
#pragma once

#include <cstdint>
#include <set>
#include <string>

#include "supervisor/base/result.h"

namespace koi {

enum class Capability : std::uint8_t {
    net_admin,
    net_raw,
    net_bind_service,
    setuid,
    setgid,
    setpcap,
    kill,
    sys_nice
};
std::string to_string(Capability);  // as the manual writes it: "CAP_NET_ADMIN"

// forever: also PR_SET_NO_NEW_PRIVS, after which no set-uid program helps this process or its children.
// for_children: those of them that we have can be handed on.
Outcome keep_only(const std::set<Capability>&, bool forever = false, const std::set<Capability>& for_children = {});

// Everything that is permitted now passes the next exec of this process, whoever it runs as. Another program of ours
// calls keep_only() first of all, as this one did.
Outcome keep_over_exec();

// Becomes the named user, or uid and gid 65534 if there is no such user, without supplementary groups. Capabilities
// end with it. A process that is not root and may not change user stays who it is: that is unprivileged already.
Outcome become_user(const std::string& name);

// Which of these we do not have, as the manual writes them, and how to have them; empty: we have all.
std::string lacking(const std::set<Capability>&);

// Sends a signal to a process, a child of ours that become_user() has made another's. Needs CAP_SETUID, permitted.
Outcome signal_process_of(const std::string& user, int pid, int signal);

// The same for the border to the kernel: one bit for each capability, as capset(2) and /proc/PID/status have it.
std::uint64_t bits_of(const std::set<Capability>&);

}  // namespace koi
