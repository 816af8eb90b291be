// supervisor/speaker/reports.h
//
// What the worker is told each second of a vhid and of those who speak for it: the raw material of `koi status`.
#pragma once

#include <vector>

#include "supervisor/link/messages.h"
#include "supervisor/speaker/group.h"

namespace koi::speaker {

// Without the takeovers and refusals, which the speaker keeps.
link::VhidReport report_of(const Group&, std::vector<link::VipReport>);
// Everybody heard as master; while we lead, also who ever said that he stands by. He does if he said so within 3 s.
std::vector<link::PeerReport> reports_of_peers(const Group&, Instant now);

}  // namespace koi::speaker
