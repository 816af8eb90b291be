// supervisor/plan.h
//
// (config, facts) → desired. Pure, cannot fail, and the only place where all types meet.
//
//   1. A service stands where its vhid is master (cold), or everywhere (warm). A fwmark service has no address: it
//   stands
//      while this node is master of any vhid.
//   2. Nothing is concluded from what is not known: until the speaker has told the roles, our services stay as they
//   are;
//      a service whose pool nobody has spoken of keeps the backends it has.
//   3. A backend's weight is its member's. A draining one stays at weight 0 where it is already (never over UDP:
//   nothing
//      would ever end its connections).
//   4. With DR and TUN a backend is reached on the service's own port; the member's port counts with NAT only.
//   5. The sorry server serves, alone but for those that drain, while no member has weight.
//   6. A table that cannot be had demotes this node: no ip_vs although there are services, or changes the kernel
//   refused
//      within the last ten minutes. That long, because a backup cannot tell whether it would be refused again.
//   7. A node that leads nothing and has not heard of all its pools yet is demoted as well: it would take over from a
//   peer
//      that serves, and have nobody to serve with. That a pool's source cannot say is a word, too.
//   8. An address never answers without its virtual servers. So one that should go, for whatever reason, stays as it
//   is while
//      the speaker's last report has its address here; unless the file keeps the address and no longer names it.
#pragma once

#include "supervisor/config/config.h"
#include "supervisor/desired.h"
#include "supervisor/facts.h"

namespace koi {

Desired plan(const config::Config&, const Facts&, Instant now);

// Whether a service stands here (rule 1); warm: config::standby().
bool stands(bool warm, const config::Service&, const Facts&);
ipvs::BackendKey backend_key(const config::Service&, const Endpoint& member);  // rule 4

bool heard_of(const Facts&, const std::string& pool);  // rule 7

// Who stands in this pool's services and is neither member nor sorry server: what discovery::adopt() asks for. Not
// over UDP (rule 3), and not what nobody in the pool could be reached as now (rule 4).
std::set<Endpoint> left_behind(const config::Config&, const Facts&, const std::string& pool);

constexpr Duration memory_of_refusal = 10min;

}  // namespace koi
