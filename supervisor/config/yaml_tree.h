// supervisor/config/yaml_tree.h
//
// One YAML text as a light tree in which everything knows its place. The border to yaml-cpp: its exceptions stop
// here, and neither its nodes (slow, and without the place of a key) nor its marks are seen elsewhere.
//
// Promises: pure. Order and duplicates of keys are kept, for the reader to judge. Aliases are resolved by copying,
// within a bound, so that no small file becomes a large tree ("billion laughs"). The only tag is !include, left as a
// node for include.h. A text that is no YAML, or uses what is not read here (several documents, other tags, merge
// keys), is one Complaint with a place.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "supervisor/config/complaint.h"

namespace koi::config {

struct Node {
    enum class Kind { nothing, scalar, list, map, include };
    struct Key {
        std::string text;
        Place place;
    };

    Kind kind = Kind::nothing;
    bool in_quotes = false;  // scalar
    Place place;
    std::string text;         // scalar: its value; include: the pattern
    std::vector<Key> keys;    // map: keys[i] is the key of items[i]
    std::vector<Node> items;  // list, map
};

// What a person would call it: "a list", "a map", "nothing", "one value".
std::string_view what_it_is(const Node&);

// `file` is the name for complaints and must outlive the tree.
std::variant<Node, Complaint> parse_yaml(std::string_view text, const std::string& file);

}  // namespace koi::config
