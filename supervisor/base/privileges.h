// supervisor/base/privileges.h
//
// What a process may keep. Each of Koi's processes drops, right after its start, whatever it was not built to use.
//
// keep_only(): effective and permitted become exactly the given capabilities; inheritable, ambient and (if the
// process may) the bounding set lose everything else, so that what it starts cannot have more either. Works as root
// and for a process that a unit started without being root. If something asked for is not there, nothing is changed,
// and the Error says what is missing and how to give it.
//
// Both act on the calling thread, so they belong before the first thread is started.
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
// for_children: stay in the bounding set, though not ours: a process that root starts from here can have them.
Outcome keep_only(const std::set<Capability>&, bool forever = false, const std::set<Capability>& for_children = {});

// Becomes the named user, or uid and gid 65534 if there is no such user, without supplementary groups. Capabilities
// end with it. A process that is not root and may not change user stays who it is: that is unprivileged already.
Outcome become_user(const std::string& name);

}  // namespace koi
