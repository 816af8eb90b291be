#include "supervisor/speaker/reports.h"

#include <utility>

namespace koi::speaker {

namespace {

constexpr Duration standby_memory = 3s;

link::PeerReport report_of(Vhid vhid, const IpAddress& address, const Group::Peer& peer, bool presence,
                           bool standby) {
    const auto claim = carp::claim_of(peer.advert);
    link::PeerReport out{vhid, address,         claim.demotion, claim.beat, peer.last_heard,
                         {},   peer.other_vips, peer.doubt,     standby,    presence};
    if (const auto& t = peer.trailer) out.condition = {t->configuration, t->healthy, t->backends};
    return out;
}

}  // namespace

link::VhidReport report_of(const Group& g, std::vector<link::VipReport> vips) {
    const auto& state = g.instance().state();
    const auto& settings = g.settings().carp;
    link::VhidReport out;
    out.vhid = g.vhid();
    out.interface = settings.interface;
    out.link_works = g.link_works();
    out.role = state.role;
    out.since = state.since;
    out.because = g.because();
    out.demotion = state.demotion;
    out.stepped_down = state.stepped_down;
    out.own_address = g.own_address();
    out.master = state.master;
    if (state.master_claim) {
        out.master_demotion = state.master_claim->demotion;
        out.master_beat = state.master_claim->beat;
    }
    out.last_heard = state.last_heard;
    const bool leases = settings.lease.kind != carp::Lease::Kind::off;
    if (leases && state.role == carp::Role::master) out.leased_until = g.leased_until();
    out.counters = g.instance().counters();
    out.vips = std::move(vips);
    return out;
}

std::vector<link::PeerReport> reports_of_peers(const Group& g, Instant now) {
    std::vector<link::PeerReport> out;
    for (const auto& [address, peer] : g.peers()) out.push_back(report_of(g.vhid(), address, peer, false, false));
    if (g.role() != carp::Role::master) return out;
    for (const auto& [address, peer] : g.standbys())
        out.push_back(report_of(g.vhid(), address, peer, true, now - peer.last_heard < standby_memory));
    return out;
}

}  // namespace koi::speaker
