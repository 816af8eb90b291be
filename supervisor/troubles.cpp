#include "supervisor/troubles.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "supervisor/base/version.h"
#include "supervisor/plan.h"

namespace koi {

namespace {

using status::Trouble;
using Troubles = std::vector<Trouble>;

std::string number(Vhid vhid) { return std::to_string(vhid.value()); }

constexpr Duration memory_of_refused_packet = 1min;

std::string seconds(Duration d) {
    if (d < 2min) return std::to_string(d / 1s) + " s";
    if (d < 2h) return std::to_string(d / 1min) + " min";
    return std::to_string(d / 1h) + " h";
}

// The cause of others: they name it, so that nobody looks for a second one.
bool without_ipvs(const config::Config& config, const Facts& facts) {
    return facts.datapath_missing && !config.services.empty();
}

void of_table(const config::Config& config, const Facts& facts, Instant now, Troubles& out) {
    if (without_ipvs(config, facts)) out.push_back({"ipvs", "", *facts.datapath_missing, false, {}});
    if (now - facts.refused_at < memory_of_refusal)
        for (const auto& [change, reason] : facts.refused)
            out.push_back({"ipvs", change, "the kernel refuses to " + change + ": " + reason, false, {}});
    // Without IPVS its modules are not missing one by one.
    const auto follows = [&](const ipvs::Advice& advice) {
        return facts.datapath_missing && (advice.what == "ip_vs_module" || advice.what == "scheduler_module");
    };
    for (const auto& advice : facts.advice)
        if (!follows(advice))
            out.push_back({"host", advice.what, advice.sentence, advice.weight == ipvs::Advice::Weight::warning, {}});
}

void of_pools(const config::Config& config, const Facts& facts, const Desired& desired, Instant now, Troubles& out) {
    if (facts.scout_missing)
        out.push_back({"scout", "", *facts.scout_missing + "; pools stay as last known", true, {}});
    for (const auto& settings : config.pools) {
        const auto found = facts.pools.find(settings.name);
        if (found == facts.pools.end()) continue;
        const auto& pool = found->second;
        if (pool.failure)
            out.push_back({"source",
                           settings.name,
                           "pool " + settings.name + ": " + *pool.failure +
                               (pool.members ? "; going on with the " + std::to_string(pool.members->size()) +
                                                   (pool.members->size() == 1 ? " backend" : " backends") +
                                                   " last known" + (pool.from_disk ? " from an earlier run" : "")
                                             : "; no backend is known"),
                           pool.members && !pool.members->empty(),
                           {}});
        if (pool.empty_since)
            out.push_back({"source",
                           settings.name,
                           "pool " + settings.name + ": the source says there are no backends; held for " +
                               seconds(settings.hold_empty) + " (guard.hold_empty) before it is believed",
                           true,
                           {}});
    }
    for (const auto& service : config.services) {
        const auto entry = desired.table.find(service.at);
        const auto pool = facts.pools.find(service.pool);
        if (entry == desired.table.end() || pool == facts.pools.end() || !pool->second.members) continue;
        const bool serves =
            std::ranges::any_of(entry->second.backends, [](const auto& b) { return b.second.weight > 0; });
        if (!serves)
            out.push_back({"service",
                           service.name,
                           "service " + service.name +
                               " has no backend with weight; new connections are refused (pool " + service.pool +
                               " has " + std::to_string(pool->second.members->size()) + " members)",
                           false,
                           {}});
    }
    (void)now;
}

// The trouble that a refused packet is, by its reason and not by its source: somebody may make up any number of
// those, and each would come and go.
std::pair<std::string, std::string> named(Vhid vhid, carp::Refusal why) {
    if (why == carp::Refusal::wrong_digest) return {"peer_key", number(vhid)};
    return {"trailer", number(vhid) + " " + std::string(to_string(why))};
}

void of_vhid(const link::VhidReport& vhid, const config::Config& config, const Facts& facts, Instant now,
             Troubles& out) {
    const std::string name = "vhid " + number(vhid.vhid);
    if (vhid.role == carp::Role::init)
        out.push_back({"link", vhid.interface, name + " takes no part in the election: " + vhid.because, false, {}});
    for (const auto& vip : vhid.vips)
        if (vip.desired && !vip.present)
            out.push_back({"address",
                           vip.held.prefix.address.text(),
                           vip.held.text() + " should be held here and cannot be taken; see: koi events",
                           false,
                           {}});
    const bool waits = vhid.role == carp::Role::master && std::ranges::none_of(vhid.vips, &link::VipReport::desired);
    if (waits && now - vhid.since > 2s)
        out.push_back({"address",
                       number(vhid.vhid),
                       name + " leads but does not take its addresses, because its virtual servers are not in place" +
                           (without_ipvs(config, facts) ? ": see the trouble ipvs" : ""),
                       false,
                       {}});
    if (vhid.stepped_down && vhid.role == carp::Role::backup) {
        const bool dark = !vhid.master && now - vhid.since > 2s;  // a successor takes a moment
        out.push_back({"stepped_down",
                       number(vhid.vhid),
                       name +
                           (dark ? " is stepped down here and nobody leads it, so nobody serves; run: koi step-up "
                                 : " is stepped down here and takes no part until: koi step-up ") +
                           number(vhid.vhid),
                       !dark,
                       {}});
    }
    for (const auto& refusal : vhid.refusals) {
        if (now - refusal.at >= memory_of_refused_packet) continue;
        auto [what, about] = named(vhid.vhid, refusal.why);
        out.push_back({std::move(what),
                       std::move(about),
                       refusal.sentence + "; if that is a node of ours, there may be two masters",
                       false,
                       {}});
    }
    // A newcomer's, for the moment until it has heard of its pools, is no trouble.
    const auto demoted = facts.demoted_since.find(vhid.vhid);
    if (vhid.demotion.value() > 0 && demoted != facts.demoted_since.end() && now - demoted->second >= 2s)
        out.push_back(
            {"demotion",
             number(vhid.vhid),
             name + " is demoted by " + std::to_string(vhid.demotion.value()) +
                 ": peers that are well are preferred; the cause is " +
                 (without_ipvs(config, facts) ? "the trouble ipvs"
                                              : "another trouble in this list or a recent one in koi events"),
             true,
             {}});
}

// Only where nodes sign do they say that they stand by. One that only prefers to may have peers that never do.
void of_standby(const link::VhidReport& vhid, const carp::Auth& auth, const Facts& facts, Instant now,
                Troubles& out) {
    constexpr Duration patience = 10s;  // it is said once a second
    if (vhid.role != carp::Role::master || now - vhid.since <= patience) return;
    const auto heard = facts.standby_heard.find(vhid.vhid);
    const bool ever = heard != facts.standby_heard.end();
    const bool expected = auth.mode == carp::Auth::Mode::require || (auth.mode == carp::Auth::Mode::prefer && ever);
    if (!expected || (ever && now - heard->second <= patience)) return;
    out.push_back({"standby",
                   number(vhid.vhid),
                   "nobody stands by for vhid " + number(vhid.vhid) +
                       ": if this node fails nobody takes over; see koi status on the peer: whether it runs, is "
                       "stepped down, and hears this node",
                   true,
                   {}});
}

void of_peer(const link::PeerReport& peer, const Facts& facts, Troubles& out) {
    const std::string who = peer.address.text(), group = "vhid " + number(peer.vhid);
    if (peer.other_vips)
        out.push_back({"peer_key",
                       who,
                       who + " is one of ours by its trailer, but speaks for " + group +
                           " with another password or another list of vips; it is heard, and nodes without the "
                           "trailer would not hear both of us: make key_file and addresses the same on all nodes",
                       true,
                       {}});
    if (peer.doubt)
        out.push_back({"trailer",
                       who,
                       who + " sends a trailer for " + group + " that is not valid here (" +
                           std::string(to_string(*peer.doubt)) +
                           "); it is heard as plain CARP: make auth_keys the same on all nodes",
                       true,
                       {}});
    if (status::other_configuration(facts.configuration, peer))
        out.push_back({"configuration",
                       who,
                       who + " runs another configuration than this node; compare what koid -T prints on both",
                       true,
                       {}});
}

// A peer that leads as well because the two of us do not believe each other is healthy, and may be the better one.
std::string what_of_stranger(const link::Report& speaker, const IpAddress& vip, Instant now) {
    for (const auto& vhid : speaker.vhids) {
        const bool has_it =
            std::ranges::any_of(vhid.vips, [&](const auto& v) { return v.held.prefix.address == vip; });
        if (!has_it) continue;
        for (const auto& refusal : vhid.refusals) {
            if (now - refusal.at >= memory_of_refused_packet) continue;
            const auto [what, about] = named(vhid.vhid, refusal.why);
            return "it may be a peer that is not believed here: see the trouble " + what + " " + about +
                   " before anything is taken off it";
        }
    }
    return "find that machine and take the address off it";
}

void of_speaker(const config::Config& config, const Facts& facts, Instant now, Troubles& out) {
    if (!facts.speaker) return;
    for (const auto& vhid : facts.speaker->vhids) {
        of_vhid(vhid, config, facts, now, out);
        const auto group = std::ranges::find(config.vips, vhid.vhid, [](const auto& g) { return g.carp.vhid; });
        if (group != config.vips.end()) of_standby(vhid, group->carp.auth, facts, now, out);
    }
    if (!facts.speaker->lease_missing.empty())
        out.push_back({"lease",
                       "",
                       "leases are not enforced by the packet filter: " + facts.speaker->lease_missing +
                           "; if every process of Koi here dies at once, its vips end with the lifetime of their "
                           "addresses, in whole seconds",
                       true,
                       {}});
    if (!facts.speaker->memory_missing.empty())
        out.push_back({"memory",
                       "",
                       "what this node must remember cannot be kept: " + facts.speaker->memory_missing +
                           "; replays are still refused, but not across a restart of this node",
                       true,
                       {}});
    std::map<IpAddress, std::vector<vip::Mac>> strangers;  // somebody may make up any number of them
    for (const auto& stranger : facts.speaker->strangers)
        if (now - stranger.last_seen < 30s)
            strangers[stranger.vip].push_back(stranger.mac);  // it is asked every 10 s
    for (const auto& [address, macs] : strangers)
        out.push_back({"stranger",
                       address.text(),
                       address.text() + " is answered for by " + vip::text(macs.front()) +
                           (macs.size() > 1 ? " and " + std::to_string(macs.size() - 1) + " more" : "") +
                           " as well, which is not this node; " + what_of_stranger(*facts.speaker, address, now),
                       false,
                       {}});
    for (const auto& peer : facts.speaker->peers) {
        const auto group = std::ranges::find(config.vips, peer.vhid, [](const auto& g) { return g.carp.vhid; });
        if (group == config.vips.end() || now - peer.last_heard > 1min) continue;
        of_peer(peer, facts, out);
        if (peer.beat == carp::beat(group->carp.advbase, group->carp.advskew))
            out.push_back({"tie",
                           number(peer.vhid),
                           "vhid " + number(peer.vhid) + ": " + peer.address.text() +
                               " has the same advbase and advskew as this node; give each node its own advskew",
                           true,
                           {}});
    }
}

}  // namespace

namespace {

// Files were replaced and processes run on: as long as an upgrade takes that is no trouble.
void of_versions(const Facts& facts, Instant now, Troubles& out) {
    constexpr Duration patience = 10s;
    if (!facts.outdated_since || now - *facts.outdated_since < patience) return;
    std::string failed;
    if (facts.speaker && !facts.speaker->upgrade.failed.empty())
        failed = "; the last one failed: " + facts.speaker->upgrade.failed;
    out.push_back({"upgrade", "", *outdated(facts) + "; run: koi upgrade" + failed, true, {}});
}

}  // namespace

std::optional<std::string> outdated(const Facts& facts) {
    if (facts.installed_version.empty() || !facts.speaker) return std::nullopt;
    const std::pair<const char*, std::string> programs[] = {
        {"koid", facts.speaker->version}, {"koid-worker", version()}, {"koid-scout", facts.scout_version}};
    for (const auto& [name, version] : programs)
        if (!version.empty() && version != facts.installed_version)
            return std::string(name) + " " + version + " runs, and " + facts.installed_version + " is installed";
    return std::nullopt;
}

Troubles troubles(const config::Config& config, const Facts& facts, const Desired& desired, Instant now) {
    Troubles out;
    of_table(config, facts, now, out);
    of_speaker(config, facts, now, out);
    of_pools(config, facts, desired, now, out);
    of_versions(facts, now, out);
    if (facts.reload_refused)
        out.push_back({"reload",
                       "",
                       "the last configuration was refused and the one before it stays: " + *facts.reload_refused,
                       true,
                       {}});
    return out;
}

Troubles keep_since(Troubles now_there, const Troubles& before, Instant now) {
    for (auto& trouble : now_there) {
        const auto same = std::ranges::find_if(before, [&](const auto& b) {
            return b.what == trouble.what && b.about == trouble.about && b.warning == trouble.warning;
        });
        trouble.since = same == before.end() ? now : same->since;
    }
    std::ranges::stable_sort(now_there, {}, [](const auto& t) { return std::tuple(t.warning, t.since); });
    return now_there;
}

}  // namespace koi
