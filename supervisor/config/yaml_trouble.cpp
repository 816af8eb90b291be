#include "supervisor/config/yaml_trouble.h"

#include <algorithm>
#include <array>
#include <vector>

#include "discovery/quote.h"

namespace koi::config {

namespace {

std::string place(std::string_view text, std::size_t at) {
    const auto [line, column] = line_and_column(text, at);
    return "line " + std::to_string(line) + ", column " + std::to_string(column);
}

// The byte after the quotation that opens at `at`; npos if it is never closed.
std::size_t after_quote(std::string_view text, std::size_t at) {
    const char quote = text[at];
    for (std::size_t i = at + 1; i < text.size(); ++i) {
        if (text[i] == '\\' && quote == '"') {
            ++i;
        } else if (text[i] == quote) {
            if (quote == '"' || i + 1 == text.size() || text[i + 1] != '\'') return i + 1;
            ++i;
        }
    }
    return std::string_view::npos;
}

bool begins_word(std::string_view text, std::size_t at) {
    return at == 0 || std::string_view(" \t\r\n[{,:").find(text[at - 1]) != std::string_view::npos;
}

struct Brackets {
    std::vector<std::size_t> open;             // innermost last
    std::optional<std::size_t> wrong_closing;  // closes a "[" with "}" or a "{" with "]"
};

// Reads brackets from `from` on, as YAML does inside of them: quotations and comments do not count.
Brackets match_brackets(std::string_view text, std::size_t from) {
    Brackets found;
    for (std::size_t i = from; i < text.size(); ++i) {
        const char c = text[i];
        if ((c == '"' || c == '\'') && begins_word(text, i)) {
            const auto after = after_quote(text, i);
            if (after == std::string_view::npos) return found;
            i = after - 1;
        } else if (c == '#' && begins_word(text, i)) {
            i = std::min(text.find('\n', i), text.size());
        } else if (c == '[' || c == '{') {
            found.open.push_back(i);
        } else if (c == ']' || c == '}') {
            if (text[found.open.back()] != (c == ']' ? '[' : '{')) {
                found.wrong_closing = i;
                return found;
            }
            found.open.pop_back();
            if (found.open.empty()) return found;
        }
    }
    return found;
}

// The first quotation that is opened and never closed.
std::optional<YamlTrouble> quote_trouble(std::string_view text) {
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '#' && begins_word(text, i)) {
            i = std::min(text.find('\n', i), text.size());
        } else if ((text[i] == '"' || text[i] == '\'') && begins_word(text, i)) {
            const auto after = after_quote(text, i);
            if (after == std::string_view::npos) return YamlTrouble{i, "the quotes that open here are never closed"};
            i = after - 1;
        }
    }
    return std::nullopt;
}

std::optional<YamlTrouble> tab_trouble(std::string_view text, std::size_t at) {
    const auto newline = text.substr(0, at).rfind('\n');
    const auto begin = newline == std::string_view::npos ? 0 : newline + 1;
    const auto indent = text.substr(begin, std::min(text.find_first_not_of(" \t", begin), text.size()) - begin);
    const auto tab = indent.find('\t');
    if (tab == std::string_view::npos) return std::nullopt;
    return YamlTrouble{begin + tab, "a tab in the indentation; YAML wants spaces"};
}

// How yaml-cpp's words begin → ours. What is not here is said in its words. Later versions (0.8) put the name of a
// thing behind: "the referenced anchor is not defined: NAME".
constexpr std::array<std::pair<std::string_view, std::string_view>, 6> phrases{{
    {"illegal map value",
     "a \":\" where none can be: a missing line break, wrong indentation, or text that needs quotes"},
    {"end of map not found",
     "this line does not fit its neighbours: wrong indentation, a missing \":\", or text that needs quotes"},
    {"end of sequence not found", "this line does not fit the list before it: wrong indentation, or a missing \"-\""},
    {"illegal block entry", "a \"-\" where no list can begin; put the list on a line of its own"},
    {"the referenced anchor is not defined",
     "an alias (*name) without an anchor (&name) before it; a pattern such as *.yaml needs quotes"},
    {"illegal flow end", "a closing bracket without an opening one"},
}};

}  // namespace

std::optional<YamlTrouble> look_at_bytes(std::string_view text) {
    if (text.starts_with("\xFF\xFE") || text.starts_with("\xFE\xFF"))
        return YamlTrouble{0, "the file is UTF-16; save it as UTF-8"};
    if (const auto at = discovery::find_broken_utf8(text); at != std::string_view::npos)
        return YamlTrouble{at, "the file is not UTF-8 from here on; save it as UTF-8"};
    const auto control = std::ranges::find_if(text, [](char c) {
        const auto byte = static_cast<unsigned char>(c);
        return (byte < 0x20 && c != '\n' && c != '\r' && c != '\t') || byte == 0x7F;
    });
    if (control == text.end()) return std::nullopt;
    const auto at = static_cast<std::size_t>(control - text.begin());
    return YamlTrouble{at,
                       "a control character (" + discovery::shown(text.substr(at, 1)) + "); is this a text file?"};
}

std::optional<YamlTrouble> unclosed_bracket(std::string_view text, std::size_t from) {
    if (from >= text.size() || (text[from] != '[' && text[from] != '{')) return std::nullopt;
    const auto brackets = match_brackets(text, from);
    if (brackets.open.empty()) return std::nullopt;
    const std::size_t opening = brackets.open.back();
    const std::string one = text[opening] == '[' ? "\"[\"" : "\"{\"",
                      other = text[opening] == '[' ? "\"]\"" : "\"}\"";
    std::string what = "the " + one + " that opens here is never closed; a " + other + " is missing";
    if (brackets.wrong_closing)
        what += " before the \"" + std::string(1, text[*brackets.wrong_closing]) + "\" at " +
                place(text, *brackets.wrong_closing);
    return YamlTrouble{opening, what};
}

YamlTrouble explain_yaml(std::string_view text, std::size_t at, const std::string& said,
                         std::optional<std::size_t> bracket) {
    if (auto tab = tab_trouble(text, at)) return *tab;
    if (bracket)
        if (auto open = unclosed_bracket(text, *bracket)) return *open;
    if (said == "illegal EOF in scalar" || said == "illegal document indicator in scalar")
        if (auto quote = quote_trouble(text)) return *quote;
    if (at > 0 && at < text.size() && text[at - 1] == ']' && text[at] == ':')
        return {at, "a \":\" behind a list; an IPv6 address in brackets needs quotes: \"[2001:db8::10]:80\""};
    if (said == "unknown token" && at < text.size())
        return {at, "text cannot begin with \"" + std::string(1, text[at]) + "\"; put it in quotes"};
    if (said.starts_with("unknown escape character"))
        return {at, "an escape that YAML does not know; for a backslash in double quotes write \"\\\\\""};
    for (const auto& [theirs, ours] : phrases)
        if (said.starts_with(theirs)) return {at, std::string(ours)};
    return {at, "not YAML: " + discovery::clean(said)};
}

bool quote_is_closed(std::string_view text, std::size_t opening) {
    while (opening < text.size() && (text[opening] == '&' || text[opening] == '!')) {  // an anchor, a tag
        opening = std::min(text.find_first_of(" \t\r\n", opening), text.size());
        opening = std::min(text.find_first_not_of(" \t\r\n", opening), text.size());
    }
    if (opening >= text.size() || (text[opening] != '"' && text[opening] != '\'')) return true;
    return after_quote(text, opening) != std::string_view::npos;
}

std::pair<unsigned, unsigned> line_and_column(std::string_view text, std::size_t at) {
    const auto before = text.substr(0, at);
    const auto newline = before.rfind('\n');
    const auto begin = newline == std::string_view::npos ? 0 : newline + 1;
    return {static_cast<unsigned>(std::ranges::count(before, '\n')) + 1,
            static_cast<unsigned>(before.size() - begin) + 1};
}

std::string shown_key(std::string_view key) {
    constexpr std::size_t longest = 64;
    const bool plain = std::ranges::all_of(key, [](char c) { return c > ' ' && c < 0x7F && c != '"' && c != '.'; });
    if (plain && !key.empty() && key.size() <= longest) return std::string(key);
    return discovery::shown(key.substr(0, longest));
}

}  // namespace koi::config
