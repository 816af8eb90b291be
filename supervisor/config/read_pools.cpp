// supervisor/config/read_pools.cpp — `pools:`.
#include <array>

#include "discovery/backend_list.h"
#include "discovery/quote.h"
#include "supervisor/config/draft.h"
#include "supervisor/config/values.h"

namespace koi::config {

namespace {

using discovery::shown;

constexpr Duration longest_patience = 24h;  // of a guard or a drain

constexpr std::array<std::pair<std::string_view, discovery::FileFormat>, 4> formats{
    {{"auto", discovery::FileFormat::automatic},
     {"lines", discovery::FileFormat::lines},
     {"json", discovery::FileFormat::json},
     {"yaml", discovery::FileFormat::yaml}}};

constexpr std::array<std::string_view, 8> later_sources{"exec",  "http",   "dns",    "etcd",
                                                        "etcd2", "consul", "docker", "kubernetes"};

std::optional<discovery::Member> read_member_map(const Field& field) {
    Keys keys(field, "a backend");
    discovery::Member member;
    const auto at = keys.need("address", "address: 10.0.0.7");
    const auto found = at ? address(*at) : std::nullopt;
    if (found) member.address = *found;
    const auto port = keys.take("port"), weight = keys.take("weight");
    if (port) member.port = bounded<Port>(*port);
    if (weight) member.weight = bounded<Weight>(*weight);
    keys.finish();
    if (!found || (port && !member.port) || (weight && !member.weight)) return std::nullopt;
    if (const auto why = discovery::why_unusable(member.address); !why.empty())
        return at->complain(why), std::nullopt;
    return member;
}

std::optional<discovery::Member> read_member(const Field& field) {
    if (field.is_map()) return read_member_map(field);
    const auto text = word(field, "\"10.0.0.7:8080 5\"");
    if (!text) return std::nullopt;
    std::string why;
    const auto member = discovery::parse_member(*text, why);
    if (!member) field.complain(why);
    return member;
}

void read_static(const Field& field, PoolDraft& pool) {
    discovery::StaticSource source;
    const auto items = field.list("[\"10.0.0.7:8080\", \"10.0.0.8:8080 5\"]");
    if (items.size() > discovery::most_members)
        return field.complain("more than " + std::to_string(discovery::most_members) + " backends in one pool");
    source.members.reserve(items.size());
    pool.member_spots.reserve(items.size());
    for (const auto& item : items) {
        const auto member = read_member(item);
        if (!member) continue;
        source.members.push_back(*member);
        pool.member_spots.push_back(item.spot());
    }
    pool.settings.source = std::move(source);
}

void read_file(const Field& field, PoolDraft& pool) {
    discovery::FileSource source;
    if (!field.is_map()) {
        set(source.path, path(field));
    } else {
        Keys keys(field, "a file source");
        if (auto f = keys.need("path", "path: /etc/koi/web.backends")) set(source.path, path(*f));
        if (auto f = keys.take("format")) set(source.format, choice(*f, formats));
        keys.finish();
    }
    pool.settings.source = std::move(source);
}

void read_source(const Field& field, PoolDraft& pool) {
    Keys keys(field, "a source");
    const auto list = keys.take("static"), file = keys.take("file");
    for (const auto key : later_sources) keys.not_yet(key);
    keys.finish();
    if (list && file) return file->complain("a pool has one source; \"static\" is there already");
    if (list) return read_static(*list, pool);
    if (file) return read_file(*file, pool);
    if (field.is_map() && field.node().items.empty())
        field.complain("a source needs \"static\" or \"file\"; for example { file: /etc/koi/web.backends }");
}

void read_guard(const Field& field, discovery::PoolSettings& settings) {
    Keys keys(field, "a guard");
    if (auto f = keys.take("hold_empty")) set(settings.hold_empty, duration(*f, longest_patience));
    keys.not_yet("max_removal");
    keys.not_yet("panic");
    keys.finish();
}

PoolDraft read_pool(const Field::Named& named) {
    PoolDraft pool;
    pool.settings.name = named.name;
    Keys keys(named.value, "a pool");
    const auto source = keys.need("source", "source: { file: /etc/koi/web.backends }");
    if (auto f = keys.take("weight")) set(pool.settings.weight, bounded<Weight>(*f));
    if (auto f = keys.take("port")) pool.settings.port = bounded<Port>(*f);
    if (auto f = keys.take("guard")) read_guard(*f, pool.settings);
    if (auto f = keys.take("drain")) set(pool.settings.drain, duration(*f, longest_patience));
    keys.not_yet("check");
    keys.finish();
    if (source) read_source(*source, pool);
    pool.written = {named.name_spot, keys.places()};
    return pool;
}

}  // namespace

std::vector<PoolDraft> read_pools(const Field& field) {
    std::vector<PoolDraft> pools;
    if (!field.is_map()) {
        field.complain("must be a map from names to pools, not " + std::string(what_it_is(field.node())) +
                       "; for example web: { source: { file: /etc/koi/web.backends } }");
        return pools;
    }
    for (const auto& named : field.named()) {
        if (!check_name(named.name, named.name_spot, field.notes())) continue;
        pools.push_back(read_pool(named));
    }
    return pools;
}

}  // namespace koi::config
