#include <algorithm>

#include "discovery/backend_list.h"
#include "discovery/quote.h"
#include "supervisor/config/rules.h"
#include "supervisor/config/rules_parts.h"
#include "supervisor/config/suggest.h"

namespace koi::config {

namespace {

using discovery::shown;

// Proposals compare with every candidate; after so many mistakes they help nobody.
constexpr std::size_t most_proposals = 100;

bool proposals_help(const Notes& notes) { return notes.complaints.size() < most_proposals; }

// Rule 8.
void find_owner(ServiceDraft& draft, const Vips& vips, Notes& notes) {
    const auto* place = std::get_if<ipvs::Place>(&*draft.at);
    if (!place) return;
    const auto owner = vips.find(place->address);
    if (owner != vips.end()) {
        draft.service.vhid = owner->second.vhid;
        return;
    }
    std::vector<std::string> texts;
    if (proposals_help(notes))
        for (const auto& [address, vip] : vips)
            if (address.family() == place->address.family()) texts.push_back(address.text());
    std::string proposal = did_you_mean(place->address.text(), {texts.begin(), texts.end()});
    if (proposal.empty() && texts.size() == 1) proposal = "; the vip is " + texts.front();
    if (proposal.empty()) proposal = "; add it to the addresses of a vip";
    notes.complain(draft.written.of("at"), "no vhid owns " + place->address.text() + proposal);
}

// Rule 9.
PoolView* find_pool(const ServiceDraft& draft, Pools& pools, Notes& notes) {
    if (!draft.has_pool) return nullptr;
    if (const auto found = pools.find(draft.service.pool); found != pools.end()) {
        found->second.used = true;
        return &found->second;
    }
    std::vector<std::string_view> names;
    if (proposals_help(notes))
        for (const auto& [name, pool] : pools) names.push_back(name);
    notes.complain(draft.written.of("pool"),
                   "there is no pool called " + shown(draft.service.pool) + did_you_mean(draft.service.pool, names));
    return nullptr;
}

// Rule 10.
void check_place(const ServiceDraft& draft, Notes& notes) {
    const auto* place = std::get_if<ipvs::Place>(&*draft.at);
    if (!place) return;
    const auto& settings = draft.service.settings;
    if (place->port == 0 && settings.persistence == 0 && !draft.written.has("persistence"))
        notes.complain(
            draft.written.of("at"),
            "port 0 means every port, which ip_vs does only with persistence; add for example persistence: 5m");
    else if (place->port == 0 && settings.persistence == 0)
        notes.complain(draft.written.of("persistence"),
                       "port 0 means every port, which ip_vs does only with persistence; write for example 5m");
    if (place->protocol == Protocol::udp) return;
    const std::string rule = "is for UDP; this service is " + std::string(to_string(place->protocol));
    if (settings.one_packet) notes.complain(draft.written.of("one_packet"), rule);
    if (!settings.persistence_engine.empty())
        notes.complain(draft.written.of("persistence_engine"), rule);  // rule 13
}

// Rule 11.
void check_tunnel(const ServiceDraft& draft, Notes& notes) {
    const auto& service = draft.service;
    const auto& written = draft.written;
    if (written.has("tunnel") && service.forward != ipvs::Forward::tun)
        notes.complain(written.of("tunnel"),
                       "is for forward: tun; this service has forward: " + std::string(to_string(service.forward)));
    else if (service.forward == ipvs::Forward::tun && service.tunnel == ipvs::Tunnel::gue &&
             !written.has("tunnel_port"))
        notes.complain(written.of("tunnel"),
                       "gue needs \"tunnel_port\", the UDP port on which the backends listen; for example 6080");
    if (written.has("tunnel_port") && (service.forward != ipvs::Forward::tun || service.tunnel != ipvs::Tunnel::gue))
        notes.complain(written.of("tunnel_port"), "is for forward: tun with tunnel: gue");
}

// Rules 12 and 13.
void check_settings(const ServiceDraft& draft, Notes& notes) {
    const auto& service = draft.service;
    const auto& written = draft.written;
    if (service.lower_threshold > service.upper_threshold)
        notes.complain(written.of("lower_threshold"), std::to_string(service.lower_threshold) +
                                                          " is above upper_threshold (" +
                                                          std::to_string(service.upper_threshold) + ")");
    const auto& settings = service.settings;
    if (draft.at && settings.granularity > (family(*draft.at) == Family::ipv4 ? 32 : 128))
        notes.complain(written.of("granularity"),
                       std::to_string(settings.granularity) + " is longer than an IPv4 address; at most 32");
    if (settings.persistence != 0 || written.has("persistence")) return;
    if (settings.granularity != 0) notes.warn(written.of("granularity"), "has no effect without persistence");
    if (!settings.persistence_engine.empty())
        notes.complain(written.of("persistence_engine"), "needs \"persistence\"; for example persistence: 5m");
}

// Rule 14.
void check_families(const ServiceDraft& draft, const PoolView* pool, Notes& notes) {
    if (draft.service.forward == ipvs::Forward::tun) return;
    const Family ours = family(*draft.at);
    const std::string rule = "; a service for " + std::string(to_string(ours)) + " reaches it only with forward: tun";
    const auto* stranger = pool ? pool->of_family[ours == Family::ipv4 ? 1 : 0] : nullptr;
    if (stranger)
        notes.complain(draft.written.of("pool"),
                       "pool " + shown(draft.service.pool) + " holds " + stranger->address.text() + rule);
    const auto& sorry = draft.service.sorry_server;
    if (sorry && sorry->address.family() != ours)
        notes.complain(draft.written.of("sorry_server"), sorry->address.text() + " is of the other family" + rule);
}

// Rule 15.
void check_ports(const ServiceDraft& draft, const PoolView* pool, Notes& notes) {
    const auto* place = std::get_if<ipvs::Place>(&*draft.at);
    if (!place || place->port == 0 || draft.service.forward == ipvs::Forward::nat) return;
    const std::string rule = ", but forward: " + std::string(to_string(draft.service.forward)) +
                             " cannot change ports: backends are reached on " + std::to_string(place->port);
    if (pool)
        for (const auto& [port, spot] : pool->ports) {
            if (port.value() == place->port) continue;
            notes.warn(draft.written.of("pool"), "pool " + shown(draft.service.pool) + " names port " +
                                                     std::to_string(port.value()) + " (" + spot.place.text() + ")" +
                                                     rule);
            break;
        }
    const auto& sorry = draft.service.sorry_server;
    if (sorry && sorry->port.value() != place->port)
        notes.warn(draft.written.of("sorry_server"), "names port " + std::to_string(sorry->port.value()) + rule);
}

// Rule 18, for the backend that stands in.
void check_sorry_server(const ServiceDraft& draft, const Vips& vips, Notes& notes) {
    const auto& sorry = draft.service.sorry_server;
    if (!sorry) return;
    const auto& spot = draft.written.of("sorry_server");
    if (vips.contains(sorry->address))
        notes.complain(spot, sorry->address.text() + " is a vip; connections to it would go in a circle");
    else if (const auto why = discovery::why_unusable(sorry->address); !why.empty())
        notes.complain(spot, why);
}

// Rule 7.
template <class Key>
void once(std::map<Key, const Spot*>& seen, const Key& key, const Spot& spot, const std::string& shown,
          Notes& notes) {
    const auto [first, is_new] = seen.try_emplace(key, &spot);
    if (!is_new) notes.complain(spot, shown + " is already used at " + first->second->place.text());
}

}  // namespace

void check_services(Draft& draft, const Vips& vips, Pools& pools, Notes& notes) {
    std::map<std::string, const Spot*> names;
    std::map<ipvs::ServiceKey, const Spot*> places;
    for (auto& one : draft.services) {
        if (!one.service.name.empty())
            once(names, one.service.name, one.written.of("name"), shown(one.service.name), notes);
        const auto* pool = find_pool(one, pools, notes);
        check_tunnel(one, notes);
        check_settings(one, notes);
        check_sorry_server(one, vips, notes);
        if (!one.at) continue;
        once(places, *one.at, one.written.of(one.written.has("at") ? "at" : "fwmark"), text(*one.at), notes);
        find_owner(one, vips, notes);
        check_place(one, notes);
        check_families(one, pool, notes);
        check_ports(one, pool, notes);
    }
}

}  // namespace koi::config
