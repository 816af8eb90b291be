#include "supervisor/plan.h"

#include <algorithm>

namespace koi {

namespace {

bool is_udp(const ipvs::ServiceKey& key) {
    const auto* place = std::get_if<ipvs::Place>(&key);
    return place && place->protocol == Protocol::udp;
}

ipvs::Backend backend(const config::Service& service, std::uint32_t weight) {
    return {.forward = service.forward,
            .weight = weight,
            .upper_threshold = service.upper_threshold,
            .lower_threshold = service.lower_threshold,
            .tunnel = service.tunnel,
            .tunnel_port = service.tunnel_port};
}

const ipvs::ServiceEntry* standing(const Facts& facts, const ipvs::ServiceKey& key) {
    const auto found = facts.observed.find(key);
    return found == facts.observed.end() ? nullptr : &found->second;
}

std::map<ipvs::BackendKey, ipvs::Backend> backends(const config::Service& service, const Facts& facts) {
    std::map<ipvs::BackendKey, ipvs::Backend> out;
    const auto* there = standing(facts, service.at);
    const auto pool = facts.pools.find(service.pool);
    if (pool == facts.pools.end() || !pool->second.members) {  // rule 2
        if (there) return there->backends;
        return out;
    }
    bool can_serve = false;
    for (const auto& [member, weight] : *pool->second.members) {
        out.insert_or_assign(backend_key(service, member), backend(service, weight.value()));
        can_serve |= weight.value() > 0;
    }
    for (const auto& [member, until] : pool->second.draining) {  // rule 3
        const auto key = backend_key(service, member);
        const bool stays = !is_udp(service.at) && there && there->backends.contains(key);
        if (stays) out.try_emplace(key, backend(service, 0));
    }
    if (!can_serve && service.sorry_server)  // rule 5
        out.insert_or_assign(backend_key(service, *service.sorry_server), backend(service, 1));
    return out;
}

// Rule 8.
bool address_goes_first(const config::Config& config, const Facts& facts, const ipvs::ServiceKey& key) {
    const auto* place = std::get_if<ipvs::Place>(&key);
    if (!place) return false;
    if (!facts.speaker) return !facts.roles_known;  // nobody has said yet what is here
    const bool is_here = std::ranges::any_of(facts.speaker->vhids, [&](const auto& vhid) {
        return std::ranges::any_of(
            vhid.vips, [&](const auto& vip) { return vip.present && vip.held.prefix.address == place->address; });
    });
    const bool is_named = std::ranges::any_of(config.services, [&](const auto& s) { return s.at == key; });
    const bool stays = std::ranges::any_of(config.vips, [&](const auto& group) {
        return std::ranges::any_of(group.addresses, [&](const auto& a) { return a.address == place->address; });
    });
    return is_here && (is_named || !stays);
}

bool leads(const link::RoleTold& role) { return role.role == carp::Role::master; }
bool leads_or_will(const link::RoleTold& role) { return leads(role) || role.prepares; }

bool leads_any(const Facts& facts) {
    return std::ranges::any_of(facts.roles, [](const auto& r) { return leads(r.second); });
}

// Rule 4 the other way round. Without NAT the kernel does not know a member's port; another member's is as good.
std::optional<Endpoint> member_at(const config::Service& service, const ipvs::BackendKey& key,
                                  const discovery::Snapshot& members) {
    auto port = Port::of(key.port).value_or(*Port::of(Port::min));
    if (service.forward != ipvs::Forward::nat && !members.empty()) port = members.begin()->first.port;
    const Endpoint member{key.address, port};
    if (backend_key(service, member) != key) return std::nullopt;
    return member;
}

}  // namespace

ipvs::BackendKey backend_key(const config::Service& service, const Endpoint& member) {
    if (service.forward == ipvs::Forward::nat) return {member.address, member.port.value()};
    const auto* place = std::get_if<ipvs::Place>(&service.at);
    return {member.address, place ? place->port : std::uint16_t{0}};
}

bool stands(bool warm, const config::Service& service, const Facts& facts) {
    if (warm) return true;
    return std::ranges::any_of(facts.roles, [&](const auto& r) {
        return (!service.vhid || *service.vhid == r.first) && leads_or_will(r.second);
    });
}

bool heard_of(const Facts& facts, const std::string& name) {
    if (facts.scout_missing) return true;  // there will be no word for a while
    const auto pool = facts.pools.find(name);
    return pool != facts.pools.end() && (pool->second.members || pool->second.failure);
}

std::set<Endpoint> left_behind(const config::Config& config, const Facts& facts, const std::string& name) {
    std::set<Endpoint> out;
    const auto pool = facts.pools.find(name);
    if (pool == facts.pools.end() || !pool->second.members) return out;  // rule 2
    const auto& members = *pool->second.members;
    for (const auto& service : config.services) {
        const auto* there = standing(facts, service.at);
        if (service.pool != name || !there || is_udp(service.at)) continue;
        std::set<ipvs::BackendKey> keys;
        for (const auto& [key, backend] : there->backends) keys.insert(key);
        for (const auto& [member, weight] : members) keys.erase(backend_key(service, member));
        if (service.sorry_server) keys.erase(backend_key(service, *service.sorry_server));
        for (const auto& key : keys)
            if (const auto member = member_at(service, key, members)) out.insert(*member);
    }
    return out;
}

Desired plan(const config::Config& config, const Facts& facts, Instant now) {
    Desired desired;
    const bool warm = config::standby(config).warm;
    for (const auto& service : config.services) {
        const auto* there = standing(facts, service.at);
        if (!facts.roles_known) {  // rule 2
            if (there && facts.owned.contains(service.at)) desired.table[service.at] = *there;
            continue;
        }
        if (stands(warm, service, facts)) desired.table[service.at] = {service.settings, backends(service, facts)};
    }
    for (const auto& [key, there] : facts.observed)
        if (facts.owned.contains(key) && !desired.table.contains(key) && address_goes_first(config, facts, key))
            desired.table[key] = there;  // 8
    const bool impossible = facts.datapath_missing && !config.services.empty();
    const bool refused = !facts.refused.empty() && now - facts.refused_at < memory_of_refusal;
    const bool newcomer =
        facts.roles_known && !leads_any(facts) &&
        std::ranges::any_of(config.services, [&](const auto& service) { return !heard_of(facts, service.pool); });
    if (impossible || refused || newcomer) desired.demotion = *Demotion::of(Demotion::max);  // rules 6, 7
    return desired;
}

}  // namespace koi
