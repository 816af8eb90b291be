// supervisor/answers.cpp — what the worker answers on the control socket (paths in supervisor/control/paths.h).
#include <algorithm>
#include <nlohmann/json.hpp>

#include "supervisor/base/secret.h"
#include "supervisor/base/version.h"
#include "supervisor/config/collect.h"
#include "supervisor/control/sent_files.h"
#include "supervisor/control/words.h"
#include "supervisor/plan.h"
#include "supervisor/worker.h"

namespace koi {

namespace {

using nlohmann::json;

using control::as_json, control::error, control::number, control::word;

json to_json(const std::vector<config::Complaint>& complaints) {
    json list = json::array();
    for (const auto& one : complaints)
        list.push_back({{"file", one.file},
                        {"line", one.line},
                        {"column", one.column},
                        {"path", one.path},
                        {"what", one.what},
                        {"text", one.text()}});
    return list;
}

json change(const char* kind, const std::string& text) { return {{"kind", kind}, {"text", text}}; }

std::string group_text(const config::VipGroup& group) {
    std::string text = "vhid " + std::to_string(group.carp.vhid.value()) + " on " + group.carp.interface + ":";
    for (const auto& prefix : group.addresses) text += " " + prefix.text();
    return text;
}

// The keys of the configuration that differ; nothing of what they hold, because some are secret.
std::string changed_keys(const carp::Settings& now, const carp::Settings& next) {
    std::string keys;
    const auto compare = [&](const char* key, const auto& a, const auto& b) {
        if (!(a == b)) keys += (keys.empty() ? "" : ", ") + std::string(key);
    };
    compare("key_file", now.password, next.password);
    compare("advbase", now.advbase, next.advbase);
    compare("advskew", now.advskew, next.advskew);
    compare("preempt", now.preempt, next.preempt);
    compare("preempt_delay", now.preempt_delay, next.preempt_delay);
    compare("peers", now.peers, next.peers);
    compare("link_local", now.link_local, next.link_local);
    compare("v6_checksum", now.v6_checksum, next.v6_checksum);
    compare("lease", now.lease, next.lease);
    compare("auth", now.auth.mode, next.auth.mode);
    compare("auth_keys", now.auth.keys, next.auth.keys);
    compare("legacy_peers", now.auth.legacy_peers, next.auth.legacy_peers);
    compare("interval", now.interval, next.interval);
    return keys.empty() ? "the names of files" : keys;
}

// What another configuration means for elections and addresses.
void compare_vips(const config::Config& now, const config::Config& next, json& changes) {
    const auto same_vhid = [](const auto& list, Vhid vhid) {
        return std::ranges::find(list, vhid, [](const auto& g) { return g.carp.vhid; });
    };
    for (const auto& group : now.vips)
        if (same_vhid(next.vips, group.carp.vhid) == next.vips.end())
            changes.push_back(change("vip", "leave " + group_text(group)));
    for (const auto& group : next.vips) {
        const auto before = same_vhid(now.vips, group.carp.vhid);
        if (before == now.vips.end())
            changes.push_back(change("vip", "join " + group_text(group)));
        else if (before->addresses != group.addresses || before->carp.interface != group.carp.interface)
            changes.push_back(change("vip", "change " + group_text(*before) + " to " + group_text(group)));
        else if (!(*before == group))
            changes.push_back(change("carp", "change " + changed_keys(before->carp, group.carp) + " of vhid " +
                                                 std::to_string(group.carp.vhid.value())));
    }
}

// Keys that were not looked at are taken for those in use. A note for each says so, and why.
json take_as_unchanged(const config::Config& now, config::Config& next,
                       const std::map<std::string, std::string>& why) {
    for (auto& group : next.vips) {
        const auto before = std::ranges::find(now.vips, group.carp.vhid, [](const auto& g) { return g.carp.vhid; });
        if (before == now.vips.end()) continue;
        if (why.contains(group.key_file)) group.carp.password = before->carp.password;
        for (const auto& [id, path] : group.auth_key_files) {
            const auto key = before->carp.auth.keys.find(id);
            if (why.contains(path) && key != before->carp.auth.keys.end()) group.carp.auth.keys[id] = key->second;
        }
    }
    json notes = json::array();
    for (const auto& [path, because] : why)
        notes.push_back("the key in " + path + " was not looked at and is taken as unchanged: " + because);
    return notes;
}

void compare_pools(const config::Config& now, const config::Config& next, json& changes) {
    for (const auto& pool : now.pools)
        if (!next.pool(pool.name)) changes.push_back(change("pool", "forget pool " + pool.name));
    for (const auto& pool : next.pools) {
        const auto* before = now.pool(pool.name);
        if (!before)
            changes.push_back(change("pool", "watch pool " + pool.name + " (" + discovery::text(pool.source) + ")"));
        else if (!(*before == pool))
            changes.push_back(change("pool", "change pool " + pool.name));
    }
}

}  // namespace

status::Status Worker::status(bool with_counters) {
    ipvs::Counters counters;
    if (with_counters && datapath_)
        if (auto counted = datapath_->counters()) counters = std::move(*counted);
    return snapshot(config_, facts_, desired_, counters, troubles_,
                    {setup_.configuration, loop_.now(), started_, configured_, std::chrono::system_clock::now()});
}

void Worker::answer(const control::Request& request, const control::Reply& reply) {
    const bool get = request.method == "GET", post = request.method == "POST";
    const auto& path = request.path;
    if (get && path == "/v1/status") return reply(answer_status(request));
    if ((get || post) && path == "/v1/plan") return reply(answer_plan(request));
    if (get && path == "/v1/events") return reply(answer_events(request));
    if (post && path == "/v1/reload") return reply(answer_reload());
    if (get && path == "/v1/versions") return reply(answer_versions());
    if (post && path == "/v1/upgrade") return reply(answer_upgrade());
    if (post && path == "/v1/step-down") return reply(answer_step(request, true));
    if (post && path == "/v1/step-up") return reply(answer_step(request, false));
    if (get && path == "/metrics") return reply({200, "text/plain; version=0.0.4", status::as_metrics(status(true))});
    if (get && path == "/healthz") return reply({200, "text/plain", "ok\n"});
    const bool known = path.starts_with("/v1/") || path == "/metrics" || path == "/healthz";
    if (known && !get && !post) return reply(error(405, request.method + " is not understood here; use GET or POST"));
    reply(error(404, "there is nothing at " + request.method + " " + path + "; see koi(1)"));
}

control::Answer Worker::answer_status(const control::Request& request) {
    const auto part = status::part_of(word(request, "part", "all"));
    if (!part) return error(400, "there is no part \"" + word(request, "part", "") + "\" to show");
    const auto format = word(request, "format", "json");
    if (refresh_troubles()) say_status();
    const auto value = status(true);
    if (format == "json") return {200, "application/json", status::as_json(value, *part)};
    if (format == "yaml") return {200, "application/yaml", status::as_yaml(value, *part)};
    if (format != "text") return error(400, "there is no format \"" + format + "\"; use json, yaml or text");
    const auto columns = std::clamp<std::uint64_t>(number(request, "columns", 100), 40, 100);
    return {200, "text/plain; charset=utf-8",
            status::as_text(value, *part, {word(request, "colour", "0") == "1", static_cast<unsigned>(columns)})};
}

// Key files that a sent configuration names are looked at for root; for others only those in use, because what is
// wrong with a file says something about it.
config::Loader Worker::loader_of(const control::SentFiles& sent, unsigned uid) const {
    auto loader = config::replay({sent.files, sent.patterns}, config::disk());
    loader.secret = [this, uid](const std::string& path) -> Result<std::string> {
        const auto names = [&](const config::VipGroup& group) {
            return group.key_file == path ||
                   std::ranges::any_of(group.auth_key_files, [&](const auto& file) { return file.second == path; });
        };
        if (uid != 0 && std::ranges::none_of(config_.vips, names))
            return Error{"only root may ask about a key file that is not in use", config::withheld};
        auto key = read_secret(path);
        if (!key && key.error().code == EACCES) return Error{key.error().story, config::withheld};
        return key;
    };
    return loader;
}

// Without a file: what stands undone at the moment. With one: what applying it would change, while nothing is
// changed.
control::Answer Worker::answer_plan(const control::Request& request) {
    const auto sent = control::sent_files(request.body);
    const std::string file = sent ? sent->configuration : setup_.configuration;
    if (!sent && control::text_in(request.body, "configuration").value_or(file) != file)
        return error(400,
                     "a plan for another file needs its content, which this koi did not send; koi and koid are of "
                     "different versions");
    auto reading = sent ? config::read(file, loader_of(*sent, request.uid)) : config::load(file);
    if (!reading.config) {
        return as_json(
            {{"error", "the configuration " + file + " cannot be used"}, {"complaints", to_json(reading.complaints)}},
            422);
    }
    const json notes = take_as_unchanged(config_, *reading.config, reading.withheld);
    json changes = json::array();
    compare_vips(config_, *reading.config, changes);
    Facts facts = facts_;
    facts.speaker.reset();  // what waits for an address to go (plan.h, rule 8) will go
    for (const auto& service : reading.config->services) facts.owned.insert(service.at);
    // A static pool's members are known from the file itself; a new file's members only its source can tell.
    for (const auto& pool : reading.config->pools) {
        const auto* source = std::get_if<discovery::StaticSource>(&pool.source);
        if (!source) continue;
        const auto members = discovery::resolve(source->members, pool);
        if (const auto* resolved = std::get_if<discovery::Snapshot>(&members))
            facts.pools[pool.name] = discovery::believe(facts.pools[pool.name], *resolved, pool, loop_.now());
    }
    const auto desired = plan(*reading.config, facts, loop_.now());
    for (const auto& one : ipvs::diff(ipvs::only(facts.observed, facts.owned), desired.table))
        changes.push_back(change("ipvs", ipvs::text(one)));
    compare_pools(config_, *reading.config, changes);
    return as_json({{"configuration", file}, {"changes", changes}, {"notes", notes}});
}

control::Answer Worker::answer_events(const control::Request& request) {
    const auto most = number(request, "most", 2000);
    std::string lines;
    status::Status times;
    times.at = loop_.now();
    times.wall = std::chrono::system_clock::now();
    for (const auto& event : events_.after(number(request, "after", 0), static_cast<std::size_t>(most)))
        lines += status::event_json(event, times) + "\n";
    return {200, "application/x-ndjson", lines};
}

control::Answer Worker::answer_reload() {
    const auto outcome = reload();
    return as_json({{"outcome", outcome.outcome},
                    {"configuration", setup_.configuration},
                    {"complaints", to_json(outcome.complaints)}},
                   outcome.outcome == "refused" ? 422 : 200);
}

// What runs and what is installed, and how the last upgrade went. `koi upgrade` asks until its number has grown.
control::Answer Worker::answer_versions() {
    look_at_versions();
    const auto upgrade = facts_.speaker ? facts_.speaker->upgrade : link::UpgradeReport{};
    return as_json({{"speaker", facts_.speaker ? facts_.speaker->version : ""},
                    {"worker", version()},
                    {"scout", facts_.scout_version},
                    {"installed", facts_.installed_version},
                    {"known", facts_.speaker.has_value()},
                    {"upgrade",
                     {{"number", upgrade.number},
                      {"running", upgrade.running},
                      {"failed", upgrade.failed},
                      {"from", upgrade.from},
                      {"to", upgrade.to}}}});
}

control::Answer Worker::answer_upgrade() {
    if (!link::is_spoken(link::Upgrade{}, format_) || !facts_.speaker || facts_.speaker->version.empty())
        return error(409,
                     "the koid that runs is too old to be replaced while it works; hand over to the peer and start "
                     "it anew: systemctl restart koi");
    if (facts_.speaker->upgrade.running) return error(409, "an upgrade is under way; see: koi events");
    happened(5, "upgrade", "the operator wants the installed programs to take over");
    tell(link::Upgrade{});
    return as_json({{"outcome", "told"}});
}

control::Answer Worker::answer_step(const control::Request& request, bool down) {
    const auto given = control::number_in(request.body, "vhid");
    const auto vhid = given ? Vhid::of(*given) : std::nullopt;
    if (!vhid) return error(400, "say which vhid, 1 to 255");
    const auto group = std::ranges::find(config_.vips, *vhid, [](const auto& g) { return g.carp.vhid; });
    if (group == config_.vips.end())
        return error(404, "vhid " + std::to_string(vhid->value()) + " is not in the configuration");
    json outcome = {{"outcome", "told"}};
    const auto role = facts_.roles.find(*vhid);
    const bool leads = role != facts_.roles.end() && role->second.role == carp::Role::master;
    const bool stands_by = facts_.speaker && std::ranges::any_of(facts_.speaker->peers, [&](const auto& p) {
                               return p.vhid == *vhid && p.standby;
                           });
    if (down && leads && !stands_by && group->carp.auth.mode != carp::Auth::Mode::off)
        outcome["warning"] = "nobody has said that it stands by for vhid " + std::to_string(vhid->value()) +
                             "; if no other node leads in a few seconds its addresses are gone until: koi step-up " +
                             std::to_string(vhid->value());
    if (down)
        tell(link::StepDown{*vhid, "stepped down by the operator"});
    else
        tell(link::StepUp{*vhid});
    happened(5, down ? "step_down" : "step_up",
             "the operator asked vhid " + std::to_string(vhid->value()) + (down ? " to step down" : " to step up"),
             {{"vhid", std::to_string(vhid->value())}});
    return as_json(outcome);
}

}  // namespace koi
