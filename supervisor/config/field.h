// supervisor/config/field.h
//
// Reading a tree by name. A Field is a node that knows its path and where complaints go; Keys is a map whose keys are
// asked for one by one, and whatever nobody asked for is a mistake with a proposal.
//
//     Keys keys(field, "a service");
//     if (auto f = keys.need("name", "name: web")) set(service.name, name(*f));
//     if (auto f = keys.take("pool")) ...
//     keys.not_yet("check");
//     keys.finish();
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "supervisor/config/complaint.h"
#include "supervisor/config/yaml_tree.h"

namespace koi::config {

class Field {
public:
    Field(const Node& node, Spot spot, Notes& notes) : node_(&node), spot_(std::move(spot)), notes_(&notes) {}

    const Node& node() const { return *node_; }
    const Spot& spot() const { return spot_; }
    Notes& notes() const { return *notes_; }

    bool is_list() const { return node_->kind == Node::Kind::list; }
    bool is_map() const { return node_->kind == Node::Kind::map; }
    bool is_word() const { return node_->kind == Node::Kind::scalar; }

    void complain(std::string what) const { notes_->complain(spot_, std::move(what)); }
    void warn(std::string what) const { notes_->warn(spot_, std::move(what)); }

    // The items of a list; a complaint and nothing if it is none. example: what a list looks like here.
    std::vector<Field> list(std::string_view example) const;
    // The values of a map with free keys (names), each with its key's text; duplicates are complained about.
    struct Named;
    std::vector<Named> named() const;

    Field child(const Node::Key&, const Node& value) const;
    Field item(std::size_t i) const;

private:
    const Node* node_;
    Spot spot_;
    Notes* notes_;
};

struct Field::Named {
    std::string_view name;
    Spot name_spot;
    Field value;
};

class Keys {
public:
    // what: "a service", for complaints. Complains at once about a field that is no map and about keys given twice.
    Keys(const Field&, std::string_view what);

    bool is_map() const { return field_.is_map(); }
    // The value under a key; nothing, without a complaint, if it is not there. A key without a value is complained
    // about.
    std::optional<Field> take(std::string_view key);
    std::optional<Field> need(std::string_view key, std::string_view example);  // complains if it is not there
    // A key that is designed and not built.
    void not_yet(std::string_view key);
    // Complains about every key that nobody asked for.
    void finish();

    // Where each key stands that has been asked for.
    std::map<std::string, Spot, std::less<>> places() const;

private:
    Field field_;
    std::string_view what_;
    std::vector<std::string_view> known_;
    std::vector<bool> taken_;
};

constexpr std::string_view not_in_this_version = "not available in this version of Koi; remove it";

// The common end of reading a value: keep it if it was good.
template <class T>
void set(T& to, std::optional<T> value) {
    if (value) to = std::move(*value);
}

}  // namespace koi::config
