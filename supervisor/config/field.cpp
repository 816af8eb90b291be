#include "supervisor/config/field.h"

#include <algorithm>
#include <unordered_map>

#include "discovery/quote.h"
#include "supervisor/config/suggest.h"
#include "supervisor/config/yaml_trouble.h"

namespace koi::config {

namespace {

using discovery::shown;

// Words from elsewhere that no typing mistake explains.
std::string_view our_word_for(std::string_view theirs) {
    static const std::unordered_map<std::string_view, std::string_view> words{{"password", "key_file"},
                                                                              {"pass", "key_file"},
                                                                              {"secret", "key_file"},
                                                                              {"vip", "addresses"},
                                                                              {"virtual_ipaddress", "addresses"},
                                                                              {"virtual_router_id", "vhid"},
                                                                              {"lb_algo", "scheduler"},
                                                                              {"lvs_sched", "scheduler"},
                                                                              {"lb_kind", "forward"},
                                                                              {"method", "forward"},
                                                                              {"persistence_timeout", "persistence"},
                                                                              {"backends", "static"},
                                                                              {"members", "static"},
                                                                              {"port_default", "port"},
                                                                              {"ops", "one_packet"}};
    const auto found = words.find(theirs);
    return found == words.end() ? "" : found->second;
}

std::string proposal(std::string_view key, const std::vector<std::string_view>& known) {
    if (const auto ours = our_word_for(key); std::ranges::find(known, ours) != known.end())
        return "; it is called " + shown(ours) + " here";
    return did_you_mean(key, known);
}

// Says which keys of a map are there twice, each with its first place. What is under the second is still looked at.
void complain_about_duplicates(const Field& field) {
    const auto& keys = field.node().keys;
    std::unordered_map<std::string_view, const Node::Key*> seen;
    seen.reserve(keys.size());
    for (std::size_t i = 0; i < keys.size(); ++i) {
        const auto [first, is_new] = seen.try_emplace(keys[i].text, &keys[i]);
        if (is_new) continue;
        const Spot spot{keys[i].place, field.child(keys[i], field.node().items[i]).spot().path};
        field.notes().complain(spot, "is there twice; first at " + first->second->place.text());
    }
}

}  // namespace

Field Field::child(const Node::Key& key, const Node& value) const {
    std::string path = spot_.path;
    if (!path.empty()) path += '.';
    return {value, {value.place, path + shown_key(key.text)}, *notes_};
}

Field Field::item(std::size_t i) const {
    const Node& value = node_->items[i];
    return {value, {value.place, spot_.path + "[" + std::to_string(i) + "]"}, *notes_};
}

std::vector<Field> Field::list(std::string_view example) const {
    std::vector<Field> out;
    if (!is_list()) {
        complain("must be a list, not " + std::string(what_it_is(*node_)) + "; for example " + std::string(example));
        return out;
    }
    out.reserve(node_->items.size());
    for (std::size_t i = 0; i < node_->items.size(); ++i) out.push_back(item(i));
    return out;
}

std::vector<Field::Named> Field::named() const {
    std::vector<Named> out;
    complain_about_duplicates(*this);
    for (std::size_t i = 0; i < node_->keys.size(); ++i) {
        Field value = child(node_->keys[i], node_->items[i]);
        const Spot name_spot{node_->keys[i].place, value.spot().path};
        out.push_back({node_->keys[i].text, name_spot, std::move(value)});
    }
    return out;
}

Keys::Keys(const Field& field, std::string_view what) : field_(field), what_(what) {
    if (!field.is_map()) {
        field.complain(std::string(what) + " must be a map of keys and values, not " +
                       std::string(what_it_is(field.node())));
        return;
    }
    taken_.resize(field.node().keys.size());
    complain_about_duplicates(field);
}

std::optional<Field> Keys::take(std::string_view key) {
    known_.push_back(key);
    std::optional<Field> found;
    if (!is_map()) return found;
    const auto& keys = field_.node().keys;
    for (std::size_t i = 0; i < keys.size(); ++i) {
        if (keys[i].text != key) continue;
        taken_[i] = true;
        if (!found) found = field_.child(keys[i], field_.node().items[i]);
    }
    if (!found || found->node().kind != Node::Kind::nothing) return found;
    found->complain("has no value; write one, or remove the key");
    return std::nullopt;
}

std::optional<Field> Keys::need(std::string_view key, std::string_view example) {
    const bool there =
        is_map() && std::ranges::any_of(field_.node().keys, [&](const auto& k) { return k.text == key; });
    if (is_map() && !there)
        field_.complain(std::string(what_) + " needs " + shown(key) + "; for example " + std::string(example));
    return take(key);
}

void Keys::not_yet(std::string_view key) {
    known_.push_back(key);
    if (!is_map()) return;
    const auto& keys = field_.node().keys;
    for (std::size_t i = 0; i < keys.size(); ++i) {
        if (keys[i].text != key) continue;
        taken_[i] = true;
        const Field found = field_.child(keys[i], field_.node().items[i]);
        field_.notes().complain({keys[i].place, found.spot().path}, std::string(not_in_this_version));
    }
}

std::map<std::string, Spot, std::less<>> Keys::places() const {
    std::map<std::string, Spot, std::less<>> out;
    if (!is_map()) return out;
    const auto& keys = field_.node().keys;
    for (std::size_t i = 0; i < keys.size(); ++i)
        if (taken_[i]) out.try_emplace(keys[i].text, field_.child(keys[i], field_.node().items[i]).spot());
    return out;
}

void Keys::finish() {
    if (!is_map()) return;
    const auto& keys = field_.node().keys;
    for (std::size_t i = 0; i < keys.size(); ++i) {
        if (taken_[i]) continue;
        const Spot spot{keys[i].place, field_.child(keys[i], field_.node().items[i]).spot().path};
        field_.notes().complain(spot, "unknown key" + proposal(keys[i].text, known_));
    }
}

}  // namespace koi::config
