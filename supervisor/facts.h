// supervisor/facts.h
//
// Everything the worker knows now. Events change facts and nothing else; plan() and troubles() read them. What is not
// known yet is said to be unknown: nothing may be concluded from a pool nobody has spoken of.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "discovery/pool.h"
#include "ipvs/datapath.h"
#include "ipvs/host_needs.h"
#include "supervisor/link/messages.h"
#include "supervisor/status/status.h"

namespace koi {

struct Facts {
    // From the speaker.
    std::map<Vhid, link::RoleTold> roles;
    bool roles_known = false;
    std::optional<link::Report> speaker;
    std::map<Vhid, Instant> demoted_since;  // those that report a demotion
    std::map<Vhid, Instant> standby_heard;  // those for which somebody stood by: when he last said so

    // From the scout.
    std::map<std::string, discovery::Pool> pools;
    std::optional<std::string> scout_missing;  // why there is none at the moment

    // From the kernel.
    ipvs::Table observed;  // everything, foreign services included
    bool observed_known = false;
    std::optional<std::string> datapath_missing;  // why virtual servers cannot be made
    std::set<ipvs::ServiceKey> owned;             // made by us, now or in an earlier life
    std::map<std::string, std::string> refused;   // what the kernel would not do: change → reason
    Instant refused_at{};                         // when it last did not
    std::vector<ipvs::Advice> advice;             // what the host should be set to

    // Of the programs; empty: not known. The speaker's own is in its report.
    std::string scout_version, installed_version;
    std::optional<Instant> outdated_since;

    // From the operator.
    std::uint64_t configuration = 0;            // its digest
    std::optional<std::string> reload_refused;  // the first complaint about a file that was not applied
    std::uint64_t repairs = 0;
};

}  // namespace koi
