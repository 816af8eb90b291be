#include "supervisor/snapshot.h"

#include <algorithm>
#include <set>

#include "supervisor/plan.h"

namespace koi {

namespace {

std::string forward_text(const config::Service& service) {
    std::string text(to_string(service.forward));
    if (service.forward == ipvs::Forward::tun) text += " " + std::string(to_string(service.tunnel));
    return text;
}

const ipvs::ServiceEntry* entry_of(const ipvs::Table& table, const ipvs::ServiceKey& key) {
    const auto found = table.find(key);
    return found == table.end() ? nullptr : &found->second;
}

// Desired and observed side by side; a backend that is in either is shown.
std::vector<status::BackendStatus> backends_of(const ipvs::ServiceEntry* desired, const ipvs::ServiceEntry* observed,
                                               const ipvs::ServiceCounters* counters) {
    std::set<ipvs::BackendKey> keys;
    for (const auto* entry : {desired, observed})
        if (entry)
            for (const auto& [key, backend] : entry->backends) keys.insert(key);
    std::vector<status::BackendStatus> out;
    for (const auto& key : keys) {
        status::BackendStatus one;
        one.key = key;
        if (desired)
            if (const auto b = desired->backends.find(key); b != desired->backends.end())
                one.desired_weight = b->second.weight;
        if (observed)
            if (const auto b = observed->backends.find(key); b != observed->backends.end())
                one.observed_weight = b->second.weight;
        if (counters)
            if (const auto c = counters->backends.find(key); c != counters->backends.end()) one.counters = c->second;
        out.push_back(one);
    }
    return out;
}

const ipvs::ServiceCounters* counters_of(const ipvs::Counters& counters, const ipvs::ServiceKey& key) {
    const auto found = counters.find(key);
    return found == counters.end() ? nullptr : &found->second;
}

status::ServiceStatus service_of(const config::Service& service, const Facts& facts, const Desired& desired,
                                 const ipvs::Counters& counters) {
    const auto* wanted = entry_of(desired.table, service.at);
    const auto* there = entry_of(facts.observed, service.at);
    const auto* counted = counters_of(counters, service.at);
    status::ServiceStatus out;
    out.name = service.name;
    out.at = service.at;
    out.settings = service.settings;
    out.forward = forward_text(service);
    out.pool = service.pool;
    out.vhid = service.vhid;
    out.desired = wanted != nullptr;
    out.observed = there != nullptr;
    if (counted) out.traffic = counted->traffic;
    out.backends = backends_of(wanted, there, counted);

    const auto pool = facts.pools.find(service.pool);
    for (auto& backend : out.backends) {
        if (service.sorry_server && backend.key == backend_key(service, *service.sorry_server)) backend.sorry = true;
        if (pool == facts.pools.end()) continue;
        backend.draining = std::ranges::any_of(
            pool->second.draining, [&](const auto& d) { return backend_key(service, d.first) == backend.key; });
    }
    return out;
}

status::PoolStatus pool_of(const discovery::PoolSettings& settings, const Facts& facts) {
    status::PoolStatus out;
    out.name = settings.name;
    out.source = discovery::text(settings.source);
    const auto found = facts.pools.find(settings.name);
    if (found == facts.pools.end()) return out;
    const auto& pool = found->second;
    out.known = pool.members.has_value();
    out.from_disk = pool.from_disk;
    if (pool.members)
        for (const auto& [endpoint, weight] : *pool.members) out.members.push_back({endpoint, weight, std::nullopt});
    for (const auto& [endpoint, until] : pool.draining) out.members.push_back({endpoint, *Weight::of(0), until});
    out.changed = pool.changed;
    out.heard = pool.heard;
    out.empty_since = pool.empty_since;
    out.failure = pool.failure;
    out.failing_since = pool.failing_since;
    return out;
}

}  // namespace

status::Status snapshot(const config::Config& config, const Facts& facts, const Desired& desired,
                        const ipvs::Counters& counters, const std::vector<status::Trouble>& troubles,
                        const Circumstances& circumstances) {
    status::Status out;
    out.node = config.node;
    out.version = KOI_VERSION;
    out.scout_version = facts.scout_version;
    out.installed_version = facts.installed_version;
    out.configuration = circumstances.configuration;
    out.at = circumstances.at;
    out.started = circumstances.started;
    out.configured = circumstances.configured;
    out.wall = circumstances.wall;
    const auto choice = config::standby(config);
    out.standby = std::string(choice.warm ? "warm" : "cold") + ", " + choice.because;
    out.datapath = facts.datapath_missing.value_or("ip_vs");
    out.speaker_known = facts.speaker.has_value();
    out.configuration_digest = facts.configuration;
    if (facts.speaker) out.speaker = *facts.speaker;
    for (const auto& group : config.vips) out.preempt[group.carp.vhid] = group.carp.preempt;
    std::set<ipvs::ServiceKey> configured;
    for (const auto& service : config.services) {
        out.services.push_back(service_of(service, facts, desired, counters));
        configured.insert(service.at);
    }
    for (const auto& [key, entry] : facts.observed) {
        if (configured.contains(key)) continue;
        const auto* counted = counters_of(counters, key);
        status::ServiceStatus foreign;
        foreign.at = key;
        foreign.settings = entry.service;
        foreign.foreign = !facts.owned.contains(key);
        foreign.observed = true;
        if (counted) foreign.traffic = counted->traffic;
        foreign.backends = backends_of(nullptr, &entry, counted);
        out.services.push_back(std::move(foreign));
    }
    for (const auto& pool : config.pools) out.pools.push_back(pool_of(pool, facts));
    out.troubles = troubles;
    out.repairs = facts.repairs;
    return out;
}

}  // namespace koi
