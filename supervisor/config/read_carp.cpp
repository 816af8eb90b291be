// supervisor/config/read_carp.cpp — `carp:` and `vips:`. What stands under `carp:` is the default for every vip.
#include <array>
#include <charconv>

#include "discovery/quote.h"
#include "supervisor/config/draft.h"
#include "supervisor/config/values.h"

namespace koi::config {

namespace {

constexpr Duration longest_preempt_delay = 24h;
constexpr Duration shortest_lease = 20ms, longest_lease = 1h;
constexpr Duration longest_interval = 65s;  // the trailer has 16 bits of milliseconds for it

constexpr std::array<std::pair<std::string_view, carp::LinkLocal>, 2> link_locals{
    {{"exclude", carp::LinkLocal::exclude}, {"include", carp::LinkLocal::include}}};
constexpr std::array<std::pair<std::string_view, carp::V6Checksum>, 2> checksums{
    {{"plain", carp::V6Checksum::plain}, {"pseudo", carp::V6Checksum::pseudo}}};

constexpr std::array<std::pair<std::string_view, carp::Auth::Mode>, 3> auth_modes{
    {{"off", carp::Auth::Mode::off}, {"prefer", carp::Auth::Mode::prefer}, {"require", carp::Auth::Mode::require}}};

// auto, off, or how long a vip may answer after the last advert. Against the beat it is held in rules_vips.cpp.
void read_lease(const Field& field, carp::Lease& lease) {
    const bool is_word = field.is_word();
    if (is_word && field.node().text == "auto") return void(lease = {});
    if (is_word && field.node().text == "off") return void(lease = {carp::Lease::Kind::off, {}});
    const auto length = duration(field, longest_lease);
    if (!length) return;
    if (*length < shortest_lease)
        return field.complain(
            "a lease of less than 20ms ends before it can be renewed; write auto, off or a duration");
    lease = {carp::Lease::Kind::fixed, *length};
}

// { 1: /etc/koi/keys/auth.key }
void read_auth_keys(const Field& field, CarpDraft& draft) {
    draft.auth_key_files.clear();
    if (!field.is_map())
        return field.complain("is a map from key id to file; for example { 1: /etc/koi/keys/auth.key }");
    for (const auto& entry : field.named()) {
        int id = 0;
        const auto* const end = entry.name.data() + entry.name.size();
        const auto [stop, bad] = std::from_chars(entry.name.data(), end, id);
        if (bad != std::errc{} || stop != end || id < 1 || id > 255) {
            entry.value.complain(discovery::shown(entry.name) + " is no key id; a key has a number from 1 to 255");
            continue;
        }
        if (entry.name.starts_with('0')) {  // else 01 would replace 1 without a word
            entry.value.complain(discovery::shown(entry.name) + " is no key id; write " + std::to_string(id));
            continue;
        }
        if (const auto file = path(entry.value, true)) draft.auth_key_files[static_cast<std::uint8_t>(id)] = *file;
    }
}

void read_interval(const Field& field, Duration& interval) {
    // 100 is meant as milliseconds, 1 as a second.
    const bool one_digit = field.is_word() && field.node().text.size() == 1;
    const auto read = duration(field, longest_interval, one_digit ? "s" : "ms");
    if (!read) return;
    if (*read < carp::shortest_interval)
        return field.complain(
            "nobody speaks faster than every 50ms: a machine that is busy for a moment would lose "
            "its vips; write 50ms or more");
    interval = *read;
}

void read_addresses_of_nodes(const Field& field, std::string_view example, std::vector<IpAddress>& nodes,
                             std::vector<Spot>& spots) {
    nodes.clear();
    spots.clear();
    for (const auto& item : field.list(example)) {
        const auto node = address(item);
        if (!node) continue;
        nodes.push_back(*node);
        spots.push_back(item.spot());
    }
}

// The keys that `carp:` and a vip share.
void read_shared(Keys& keys, CarpDraft& draft) {
    auto& settings = draft.settings;
    if (auto f = keys.take("interface")) set(settings.interface, interface(*f));
    if (auto f = keys.take("key_file")) set(draft.key_file, path(*f, true));
    if (auto f = keys.take("advbase")) set(settings.advbase, bounded<carp::Advbase>(*f));
    if (auto f = keys.take("advskew")) set(settings.advskew, bounded<carp::Advskew>(*f));
    if (auto f = keys.take("preempt")) set(settings.preempt, boolean(*f));
    if (auto f = keys.take("preempt_delay")) set(settings.preempt_delay, duration(*f, longest_preempt_delay));
    if (auto f = keys.take("peers")) read_addresses_of_nodes(*f, "[10.0.0.2]", settings.peers, draft.peer_spots);
    if (auto f = keys.take("link_local")) set(settings.link_local, choice(*f, link_locals));
    if (auto f = keys.take("v6_checksum")) set(settings.v6_checksum, choice(*f, checksums));
    if (auto f = keys.take("auth")) set(settings.auth.mode, choice(*f, auth_modes));
    if (auto f = keys.take("auth_keys")) read_auth_keys(*f, draft);
    if (auto f = keys.take("legacy_peers"))
        read_addresses_of_nodes(*f, "[10.0.0.9]", settings.auth.legacy_peers, draft.legacy_spots);
    if (auto f = keys.take("interval")) read_interval(*f, settings.interval);
    if (auto f = keys.take("lease")) read_lease(*f, settings.lease);
}

void read_addresses(const Field& field, VipDraft& vip) {
    const auto items = field.list("[192.0.2.10/24]");
    if (field.is_list() && items.empty())
        field.complain("a vip needs at least one address; for example [192.0.2.10/24]");
    for (const auto& item : items) {
        const auto text = word(item, "192.0.2.10/24");
        if (!text) continue;
        const auto prefix = Prefix::parse(*text);
        if (!prefix) {
            item.complain(discovery::shown(*text) + " is not an address with a length; for example 192.0.2.10/24");
            continue;
        }
        vip.group.addresses.push_back(*prefix);
        vip.group.carp.addresses.push_back(prefix->address);
        vip.address_spots.push_back(item.spot());
    }
}

void need_somewhere(const CarpDraft& draft, std::string_view key, std::string_view example, Notes& notes) {
    if (draft.written.has(key)) return;
    notes.complain(draft.written.whole, "needs " + discovery::shown(key) + ", here or under \"carp\"; for example " +
                                            std::string(example));
}

VipDraft read_vip(const Field& field, const CarpDraft& defaults) {
    VipDraft vip;
    CarpDraft draft = defaults;
    Keys keys(field, "a vip");
    const auto vhid = keys.need("vhid", "vhid: 51");
    const auto addresses = keys.need("addresses", "addresses: [192.0.2.10/24]");
    read_shared(keys, draft);
    keys.finish();

    // What is written here counts before the place of a default.
    vip.written = {field.spot(), keys.places()};
    draft.written.whole = field.spot();
    vip.written.keys.insert(draft.written.keys.begin(), draft.written.keys.end());
    draft.written.keys = vip.written.keys;
    if (keys.is_map()) {
        need_somewhere(draft, "interface", "interface: eth0", field.notes());
        need_somewhere(draft, "key_file", "key_file: /etc/koi/keys/carp.key", field.notes());
    }

    vip.group.carp = draft.settings;
    vip.group.key_file = draft.key_file;
    vip.group.auth_key_files = draft.auth_key_files;
    vip.peer_spots = draft.peer_spots;
    vip.legacy_spots = draft.legacy_spots;
    if (vhid) {
        const auto number = bounded<Vhid>(*vhid);
        vip.has_vhid = number.has_value();
        set(vip.group.carp.vhid, number);
    }
    if (addresses) read_addresses(*addresses, vip);
    return vip;
}

}  // namespace

CarpDraft read_carp_defaults(const Field& field) {
    CarpDraft draft;
    Keys keys(field, "carp");
    read_shared(keys, draft);
    keys.finish();
    draft.written = {field.spot(), keys.places()};
    return draft;
}

std::vector<VipDraft> read_vips(const Field& field, const CarpDraft& defaults) {
    std::vector<VipDraft> vips;
    for (const auto& item : field.list("- { vhid: 51, addresses: [192.0.2.10/24] }"))
        vips.push_back(read_vip(item, defaults));
    return vips;
}

}  // namespace koi::config
