#include "supervisor/config/read.h"

#include <array>

#include "discovery/quote.h"
#include "supervisor/config/draft.h"
#include "supervisor/config/include.h"
#include "supervisor/config/rules.h"
#include "supervisor/config/values.h"

namespace koi::config {

namespace {

constexpr std::size_t shortest_auth_key = 32;
constexpr std::size_t longest_password = 19;  // ucarp and OpenBSD share it as 20 bytes with a NUL

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

// The password in a key file, or why it cannot be used. Its content is never shown.
Result<std::string> password(const std::string& path, const Loader& loader) {
    auto key = loader.secret(path);
    if (!key) {
        Error error = key.error();
        if (error.code == ENOENT)
            error.story = "there is no " + path +
                          "; make one with: head -c 12 /dev/urandom | base64 | install -m 600 /dev/stdin " + path +
                          ", and copy it to the other nodes";
        return error;
    }
    if (key->empty()) return Error{path + " is empty; it must hold the password, 1 to 19 bytes"};
    if (key->size() > longest_password)
        return Error{path + " holds " + std::to_string(key->size()) +
                     " bytes; a CARP password has at most 19, and a longer one would be cut by other speakers"};
    if (key->find('\0') != std::string::npos)
        return Error{path + " holds a NUL byte, at which other speakers would cut it"};
    return key;
}

// A key of the trailer. It is not told from a password by its look, so at least a password's file is refused.
Result<std::string> auth_key(const std::string& path, const Loader& loader) {
    auto key = loader.secret(path);
    const std::string advice = "make one with: head -c 32 /dev/urandom | base64 | install -m 600 /dev/stdin " + path +
                               ", and copy it to the other nodes";
    if (!key) {
        Error error = key.error();
        if (error.code == ENOENT) error.story = "there is no " + path + "; " + advice;
        return error;
    }
    if (key->size() < shortest_auth_key)
        return Error{path + " holds " + std::to_string(key->size()) +
                     " bytes, which can be guessed; it needs at least " + std::to_string(shortest_auth_key) + "; " +
                     advice};
    return key;
}

void read_auth_keys(Draft& draft, const Loader& loader, Notes& notes) {
    std::map<std::string, Result<std::string>> known;
    for (auto& vip : draft.vips)
        for (const auto& [id, path] : vip.group.auth_key_files) {
            auto found = known.find(path);
            if (found == known.end()) {
                found = known.emplace(path, auth_key(path, loader)).first;
                if (!found->second) notes.complain(vip.written.of("auth_keys"), found->second.error().story);
            }
            if (found->second) vip.group.carp.auth.keys[id] = *found->second;
        }
}

void read_passwords(Draft& draft, const Loader& loader, Notes& notes) {
    std::map<std::string, Result<std::string>> known;
    for (auto& vip : draft.vips) {
        const auto& path = vip.group.key_file;
        if (path.empty()) continue;  // has had its complaint
        auto found = known.find(path);
        if (found == known.end()) {
            found = known.emplace(path, password(path, loader)).first;
            if (!found->second) notes.complain(vip.written.of("key_file"), found->second.error().story);
        }
        if (found->second) vip.group.carp.password = *found->second;
    }
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
    read_passwords(draft, loader, notes);
    read_auth_keys(draft, loader, notes);
    apply_rules(draft, notes);
    if (!notes.complaints.empty()) return told(notes, std::nullopt);
    return told(notes, finished(std::move(draft)));
}

}  // namespace koi::config
