#include "discovery/pool.h"

#include <algorithm>

namespace koi::discovery {

namespace {

std::string counted(std::size_t n, const std::string& one) {
    return std::to_string(n) + " " + one + (n == 1 ? "" : "s");
}

// Rule 2: whoever is gone drains, whoever is back is a member again.
void replace_members(Pool& pool, const Snapshot& with, const PoolSettings& settings, Instant now) {
    if (pool.members && settings.drain > Duration::zero())
        for (const auto& [place, weight] : *pool.members)
            if (!with.contains(place)) pool.draining[place] = now + settings.drain;
    for (const auto& [place, weight] : with) pool.draining.erase(place);
    if (pool.members != with) pool.changed = now;
    pool.members = with;
    pool.from_disk = false;
    pool.empty_since.reset();
}

// Rule 3. A source that fails meanwhile does not say that the list is still empty.
bool question_is_over(const Pool& pool, const PoolSettings& settings, Instant now) {
    return pool.empty_since && !pool.failure && now - *pool.empty_since >= settings.hold_empty;
}

}  // namespace

std::string text(const SourceSettings& source) {
    if (const auto* file = std::get_if<FileSource>(&source)) return "file " + file->path;
    return "static, " + counted(std::get<StaticSource>(source).members.size(), "member");
}

std::variant<Snapshot, std::string> resolve(const std::vector<Member>& members, const PoolSettings& settings) {
    std::vector<std::pair<Endpoint, Weight>> places;
    places.reserve(members.size());
    for (const auto& member : members) {
        const auto port = member.port ? member.port : settings.port;
        if (!port)
            return member.address.text() + " has no port; write it as " +
                   Endpoint{member.address, *Port::of(80)}.text() + ", or give the pool a \"port\"";
        places.emplace_back(Endpoint{member.address, *port}, member.weight.value_or(settings.weight));
    }
    std::ranges::sort(places);
    for (std::size_t i = 1; i < places.size(); ++i)
        if (places[i].first == places[i - 1].first && places[i].second != places[i - 1].second)
            return places[i].first.text() + " is there twice, with weight " +
                   std::to_string(places[i - 1].second.value()) + " and with weight " +
                   std::to_string(places[i].second.value());
    return Snapshot(places.begin(), places.end());
}

Pool believe(Pool pool, const Snapshot& snapshot, const PoolSettings& settings, Instant now) {
    pool.heard = now;
    pool.failure.reset();
    const bool questionable = snapshot.empty() && pool.members && !pool.members->empty();
    if (questionable) {
        if (!pool.empty_since) pool.empty_since = now;
        if (!question_is_over(pool, settings, now)) return pool;
    }
    replace_members(pool, snapshot, settings, now);
    return pool;
}

Pool fail(Pool pool, std::string story, Instant now) {
    if (!pool.failure) pool.failing_since = now;
    pool.failure = std::move(story);
    return pool;
}

bool may_adopt(const Pool& pool) { return pool.members && !pool.adopted; }

Pool adopt(Pool pool, const std::set<Endpoint>& found, const PoolSettings& settings, Instant now) {
    if (!may_adopt(pool)) return pool;
    pool.adopted = true;
    if (settings.drain == Duration::zero()) return pool;
    for (const auto& place : found)
        if (!pool.members->contains(place)) pool.draining.try_emplace(place, now + settings.drain);
    return pool;
}

Pool pass_time(Pool pool, const PoolSettings& settings, Instant now) {
    std::erase_if(pool.draining, [&](const auto& drain) { return drain.second <= now; });
    if (question_is_over(pool, settings, now)) replace_members(pool, {}, settings, now);
    return pool;
}

Pool drained(Pool pool, const Endpoint& place) {
    pool.draining.erase(place);
    return pool;
}

Instant next_deadline(const Pool& pool, const PoolSettings& settings) {
    Instant next = Instant::max();
    for (const auto& [place, until] : pool.draining) next = std::min(next, until);
    if (pool.empty_since && !pool.failure) next = std::min(next, *pool.empty_since + settings.hold_empty);
    return next;
}

}  // namespace koi::discovery
