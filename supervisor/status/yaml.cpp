// The tree of a status as YAML, in block style. Strings that any reader of YAML could take for something else are
// quoted as JSON quotes them, which YAML 1.2 reads alike.
#include <algorithm>
#include <cctype>
#include <cstring>

#include <nlohmann/json.hpp>

#include "supervisor/status/status.h"
#include "supervisor/status/tree.h"

namespace koi::status {

namespace {

using Json = nlohmann::ordered_json;

// A plain word: begins with a letter or '/', holds nothing that YAML gives a meaning, and is no word that YAML 1.1
// or 1.2 reads as a truth value or as nothing.
bool is_plain(const std::string& s) {
    static constexpr std::string_view meaning[] = {"true", "false", "yes", "no", "on", "off", "y", "n", "null"};
    if (s.empty() || !(std::isalpha(static_cast<unsigned char>(s[0])) || s[0] == '/') || s.back() == ' ')
        return false;
    std::string lower = s;
    for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    if (std::ranges::find(meaning, lower) != std::end(meaning)) return false;
    return std::ranges::all_of(s, [](unsigned char c) { return std::isalnum(c) || std::strchr(" _-./+()", c); });
}

std::string scalar(const Json& value) {
    if (value.is_string() && is_plain(value.get_ref<const std::string&>())) return value.get<std::string>();
    return value.dump();  // numbers, true, false, null, and quoted strings
}

bool is_block(const Json& value) { return value.is_structured() && !value.empty(); }

void print(const Json& value, std::size_t indent, std::string& out);

// "key: value", or "key:" and a block below.
void print_pair(const std::string& key, const Json& value, std::size_t indent, std::string& out) {
    out += scalar(key) + ":";
    if (!is_block(value)) {
        out += " " + scalar(value) + "\n";
        return;
    }
    out += "\n";
    print(value, indent + 2, out);
}

void print(const Json& value, std::size_t indent, std::string& out) {
    const std::string margin(indent, ' ');
    if (value.is_object()) {
        for (const auto& [key, each] : value.items()) {
            out += margin;
            print_pair(key, each, indent, out);
        }
        return;
    }
    for (const Json& each : value) {
        std::string item;
        if (is_block(each))
            print(each, indent + 2, item);
        else
            item = margin + "  " + scalar(each) + "\n";
        item.replace(indent, 1, "-");
        out += item;
    }
}

}  // namespace

std::string as_yaml(const Status& status, Part part) {
    std::string out;
    print(tree(status, part), 0, out);
    return out;
}

}  // namespace koi::status
