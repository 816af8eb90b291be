// supervisor/link/fields.h
//
// The fields of values that more than one of Koi's formats holds (supervisor/base/fields.h).
#pragma once

#include "carp/instance.h"
#include "supervisor/base/fields.h"
#include "supervisor/vip/address_set.h"

namespace koi::link {

// A format of its own derives its tongue from this one.
struct Tongue {};

constexpr std::size_t longest_interface = 15;  // IFNAMSIZ - 1
constexpr std::size_t longest_password = 19;   // carp.md 2.1
constexpr std::size_t shortest_auth_key = 32;

void fields(auto& io, like<Formats> auto& f) {
    io(f.lowest, f.highest);
    io.expect(f.lowest <= f.highest);
}
void fields(auto& io, like<carp::Settings> auto& s) {
    io(s.vhid, s.interface, s.addresses, s.password, s.advbase, s.advskew, s.preempt, s.preempt_delay, s.peers,
       s.link_local, s.v6_checksum, s.lease.kind, s.lease.length, s.auth.mode, s.auth.keys, s.auth.legacy_peers,
       s.interval);
    io.expect(s.interface.size() <= longest_interface);
    io.expect(!s.password.empty() && s.password.size() <= longest_password);
    io.expect(s.preempt_delay >= Duration::zero());
    io.expect(s.lease.length >= Duration::zero() && s.interval >= Duration::zero());
    io.expect(s.auth.mode == carp::Auth::Mode::off || !s.auth.keys.empty());
    for (const auto& [id, key] : s.auth.keys) io.expect(id > 0 && key.size() >= shortest_auth_key);
}
void fields(auto& io, like<carp::Condition> auto& c) { io(c.configuration, c.healthy, c.backends); }
void fields(auto& io, like<carp::Counters> auto& c) {
    io(c.sent, c.bow_outs_sent, c.accepted);
    for (auto& count : c.refused) io(count);
    io(c.became_master);
}
void fields(auto& io, like<vip::Held> auto& h) {
    io(h.interface, h.prefix);
    io.expect(h.interface.size() <= longest_interface);
}

constexpr carp::Role last(Tongue, carp::Role) { return carp::Role::master; }
constexpr carp::LinkLocal last(Tongue, carp::LinkLocal) { return carp::LinkLocal::include; }
constexpr carp::Lease::Kind last(Tongue, carp::Lease::Kind) { return carp::Lease::Kind::fixed; }
constexpr carp::Auth::Mode last(Tongue, carp::Auth::Mode) { return carp::Auth::Mode::require; }
constexpr carp::Refusal last(Tongue, carp::Refusal) { return carp::Refusal::table_full; }
constexpr carp::V6Checksum last(Tongue, carp::V6Checksum) { return carp::V6Checksum::pseudo; }

}  // namespace koi::link
