#include <algorithm>

#include "supervisor/config/rules.h"
#include "supervisor/config/rules_parts.h"

namespace koi::config {

namespace {

struct Given {
    Weight weight;
    const Spot* spot;
};

// Rules 17 and 18, for one static member.
void check_member(const PoolDraft& pool, std::size_t i, std::map<Endpoint, Given>& places, const Vips& vips,
                  Notes& notes) {
    const auto& member = std::get<discovery::StaticSource>(pool.settings.source).members[i];
    const Spot& spot = pool.member_spots[i];
    if (const auto vip = vips.find(member.address); vip != vips.end())
        notes.complain(spot, member.address.text() + " is a vip (" + vip->second.spot.place.text() +
                                 "); connections to it would go in a circle");
    const auto port = member.port ? member.port : pool.settings.port;
    if (!port) {
        if (pool.written.has("port")) return;  // a bad one, which has had its complaint
        notes.complain(spot, "has no port; write it as " + Endpoint{member.address, *Port::of(80)}.text() +
                                 ", or give the pool a \"port\"");
        return;
    }
    const auto weight = member.weight.value_or(pool.settings.weight);
    const auto [first, is_new] = places.try_emplace(Endpoint{member.address, *port}, Given{weight, &spot});
    if (!is_new && first->second.weight != weight)
        notes.complain(spot, first->first.text() + " is there twice, with weight " +
                                 std::to_string(first->second.weight.value()) + " (" +
                                 first->second.spot->place.text() + ") and with weight " +
                                 std::to_string(weight.value()));
}

PoolView look_at(const PoolDraft& pool, const Vips& vips, Notes& notes) {
    PoolView view{.pool = &pool, .ports = {}};
    const auto* source = std::get_if<discovery::StaticSource>(&pool.settings.source);
    if (!source) {
        if (pool.settings.port) view.ports.emplace(*pool.settings.port, pool.written.of("port"));
        return view;
    }
    std::map<Endpoint, Given> places;
    for (std::size_t i = 0; i < source->members.size(); ++i) {
        const auto& member = source->members[i];
        check_member(pool, i, places, vips, notes);
        const auto*& first = view.of_family[member.address.is_v4() ? 0 : 1];
        if (!first) first = &member;
        if (const auto port = member.port ? member.port : pool.settings.port)
            if (!view.ports.contains(*port)) view.ports.emplace(*port, pool.member_spots[i]);
    }
    return view;
}

}  // namespace

Pools check_pools(const Draft& draft, const Vips& vips, Notes& notes) {
    Pools pools;
    for (const auto& pool : draft.pools) pools.try_emplace(pool.settings.name, look_at(pool, vips, notes));
    return pools;
}

void apply_rules(Draft& draft, Notes& notes) {
    const Vips vips = check_vips(draft, notes);
    Pools pools = check_pools(draft, vips, notes);
    check_services(draft, vips, pools, notes);
    for (const auto& pool : draft.pools)  // rule 16
        if (!pools.at(pool.settings.name).used) notes.warn(pool.written.whole, "no service uses this pool");
}

}  // namespace koi::config
