#include "supervisor/config/read.h"

#include <array>

#include "discovery/quote.h"
#include "supervisor/config/draft.h"
#include "supervisor/config/include.h"
#include "supervisor/config/rules.h"
#include "supervisor/config/values.h"

namespace koi::config {

namespace {

constexpr std::array<std::pair<std::string_view, Standby>, 3> standbys{
    {{"auto", Standby::automatic}, {"cold", Standby::cold}, {"warm", Standby::warm}}};

void read_node(const std::optional<Field>& field, const Spot& top, const Loader& loader, Draft& draft, Notes& notes) {
    if (field) return set(draft.config.node, name(*field));
    draft.config.node = loader.host_name;
    if (is_name(loader.host_name)) return;
    draft.config.node = "unnamed";
    notes.warn(top, "the host name " + discovery::shown(loader.host_name) +
                        " cannot be a name here, so this node is called \"unnamed\"; write for example node: lb1");
}

void read_datapath(const Field& field) {
    const auto which = one_of(field, {"auto", "ipvs", "relay"});
    if (which == 2) field.complain(std::string(not_in_this_version));
}

void read_connection_sync(const Field& field) {
    Keys keys(field, "connection_sync");
    const auto enabled = keys.take("enabled");
    (void)keys.take("interface");
    (void)keys.take("id");
    keys.finish();
    if (enabled && boolean(*enabled) == false) return;
    const Field& which = enabled ? *enabled : field;
    if (!enabled || boolean(*enabled) == true) which.complain(std::string(not_in_this_version));
}

void read_demote(const Field& field, Config& config) {
    Keys keys(field, "demote");
    if (auto f = keys.take("link")) set(config.demote_link, bounded<Demotion>(*f));
    keys.not_yet("pool_below");
    keys.not_yet("script");
    keys.finish();
}

void read_status(const Field& field) {
    Keys keys(field, "status");
    keys.not_yet("listen");
    keys.finish();
}

Draft read_top(const Field& top, const Loader& loader) {
    Draft draft;
    Keys keys(top, "the configuration");
    read_node(keys.take("node"), top.spot(), loader, draft, top.notes());
    const auto carp = keys.take("carp");
    const CarpDraft defaults = carp ? read_carp_defaults(*carp) : CarpDraft{};
    if (auto f = keys.take("vips")) draft.vips = read_vips(*f, defaults);
    if (auto f = keys.take("services")) draft.services = read_services(*f);
    if (auto f = keys.take("pools")) draft.pools = read_pools(*f);
    if (auto f = keys.take("standby")) set(draft.config.standby, choice(*f, standbys));
    if (auto f = keys.take("datapath")) read_datapath(*f);
    if (auto f = keys.take("connection_sync")) read_connection_sync(*f);
    if (auto f = keys.take("demote")) read_demote(*f, draft.config);
    if (auto f = keys.take("status")) read_status(*f);
    keys.not_yet("templates");
    keys.not_yet("children");
    keys.finish();
    draft.written = {top.spot(), keys.places()};
    return draft;
}

Config finished(Draft draft) {
    Config config = std::move(draft.config);
    for (auto& vip : draft.vips) config.vips.push_back(std::move(vip.group));
    for (auto& one : draft.services) config.services.push_back(std::move(one.service));
    for (auto& pool : draft.pools) config.pools.push_back(std::move(pool.settings));
    return config;
}

Reading told(Notes& notes, std::optional<Config> config) {
    notes.sort();
    return {.config = std::move(config),
            .complaints = std::move(notes.complaints),
            .warnings = std::move(notes.warnings)};
}

}  // namespace

Reading read(const std::string& path, const Loader& loader) {
    Notes notes;
    Tree tree;
    read_tree(path, loader, tree, notes);
    if (!notes.complaints.empty()) return told(notes, std::nullopt);
    if (tree.root.kind == Node::Kind::nothing) {
        notes.complain({{&tree.files.front(), 0, 0}, ""},
                       "the file is empty; koi.yaml(5) shows what belongs into it");
        return told(notes, std::nullopt);
    }
    const Field top(tree.root, {tree.root.place, ""}, notes);
    if (!top.is_map()) {
        top.complain("a configuration is a map of keys and values, not " + std::string(what_it_is(tree.root)) +
                     "; for example node: lb1");
        return told(notes, std::nullopt);
    }
    Draft draft = read_top(top, loader);
    const auto keys = read_keys(draft, loader, notes);
    apply_rules(draft, notes);
    const bool usable = notes.complaints.empty();
    auto reading = told(notes, usable ? std::optional(finished(std::move(draft))) : std::nullopt);
    reading.key_files = keys.named;
    reading.withheld = keys.withheld;
    return reading;
}

}  // namespace koi::config
