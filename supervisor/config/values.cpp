#include "supervisor/config/values.h"

#include <algorithm>
#include <charconv>

#include "discovery/quote.h"
#include "supervisor/config/suggest.h"
#include "supervisor/config/units.h"

namespace koi::config {

namespace {

using discovery::shown;

std::string list_of(const std::vector<std::string_view>& words) {
    std::string out;
    for (std::size_t i = 0; i < words.size(); ++i) {
        if (i > 0) out += i + 1 == words.size() ? " or " : ", ";
        out += words[i];
    }
    return out;
}

// The text of a plain value; a complaint if there is a list or a map instead.
const std::string* scalar(const Field& field, std::string_view expected) {
    if (field.is_word()) return &field.node().text;
    const bool list = field.is_list();
    field.complain("must be " + std::string(expected) + ", not " + std::string(what_it_is(field.node())) +
                   (list ? "; text that begins with \"[\" needs quotes" : ""));
    return nullptr;
}

bool is_control(char c) { return (c >= 0 && c < ' ') || c == 0x7F; }

}  // namespace

std::optional<std::string> word(const Field& field, std::string_view example) {
    const auto* text = scalar(field, "one value, for example " + std::string(example));
    if (!text) return std::nullopt;
    if (text->empty()) return field.complain("is empty; for example " + std::string(example)), std::nullopt;
    if (std::ranges::any_of(*text, is_control))
        return field.complain("must be on one line, without control characters"), std::nullopt;
    return *text;
}

bool is_name(std::string_view text) {
    return !text.empty() && text.size() <= 63 && std::ranges::all_of(text, [](char c) {
        return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
               c == '-';
    });
}

bool check_name(std::string_view text, const Spot& spot, Notes& notes) {
    if (is_name(text)) return true;
    notes.complain(spot, shown(text) + " is not a name: 1 to 63 of A-Z a-z 0-9 . _ -");
    return false;
}

std::optional<std::string> name(const Field& field) {
    const auto* text = scalar(field, "a name");
    if (!text || !check_name(*text, field.spot(), field.notes())) return std::nullopt;
    return *text;
}

std::optional<std::string> interface(const Field& field) {
    const auto text = word(field, "eth0");
    if (!text) return std::nullopt;
    if (text->size() > 15)
        return field.complain(shown(*text) + " is too long for an interface: at most 15 characters"), std::nullopt;
    if (*text == "." || *text == ".." || text->find_first_of("/: \t") != std::string::npos)
        return field.complain(shown(*text) + " is not the name of an interface"), std::nullopt;
    return text;
}

std::optional<std::string> path(const Field& field, bool secret) {
    const auto text = word(field, secret ? "/etc/koi/keys/carp.key" : "/etc/koi/web.backends");
    if (!text) return std::nullopt;
    if (text->size() > 4095) return field.complain("is too long for a path: at most 4095 bytes"), std::nullopt;
    if (text->starts_with('/')) return text;
    if (secret)
        return field.complain("must be the absolute path of a file, for example /etc/koi/keys/carp.key"),
               std::nullopt;
    return field.complain(shown(*text) + " is not an absolute path; write " + shown("/etc/koi/" + *text)),
           std::nullopt;
}

std::optional<std::int64_t> number(const Field& field, std::int64_t lowest, std::int64_t highest) {
    const auto expected = "a whole number from " + std::to_string(lowest) + " to " + std::to_string(highest);
    const auto* text = scalar(field, expected);
    if (!text) return std::nullopt;
    std::int64_t n = 0;
    const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), n);
    if (end != text->data() + text->size() || error == std::errc::invalid_argument)
        return field.complain(shown(*text) + " is not " + expected), std::nullopt;
    if (error != std::errc{} || n < lowest || n > highest)
        return field.complain(shown(*text) + " is out of range: " + expected), std::nullopt;
    return n;
}

std::optional<bool> boolean(const Field& field) {
    const auto* text = scalar(field, "true or false");
    if (!text) return std::nullopt;
    if (*text == "true") return true;
    if (*text == "false") return false;
    const auto folded = nearest(*text, {"true", "false"});
    std::string meant(folded);
    if (*text == "yes" || *text == "on" || *text == "1") meant = "true";
    if (*text == "no" || *text == "off" || *text == "0") meant = "false";
    return field.complain(shown(*text) + " is not true or false" +
                          (meant.empty() ? "" : "; did you mean " + shown(meant) + "?")),
           std::nullopt;
}

std::optional<Duration> duration(const Field& field, Duration highest, std::string_view bare) {
    const auto* text = scalar(field, "a duration, for example 30s");
    if (!text) return std::nullopt;
    const auto found = parse_duration(*text);
    if (found && *found <= highest) return found;
    if (found) return field.complain(shown(*text) + " is too long: at most " + config::text(highest)), std::nullopt;
    const bool digits = !text->empty() && text->size() < 10 &&
                        std::ranges::all_of(*text, [](char c) { return c >= '0' && c <= '9'; });
    return field.complain(shown(*text) + " is not a duration: a whole number and ms, s, m or h" +
                          (digits ? "; did you mean " + shown(*text + std::string(bare)) + "?" : "")),
           std::nullopt;
}

std::optional<IpAddress> address(const Field& field) {
    const auto* text = scalar(field, "an IP address");
    if (!text) return std::nullopt;
    auto found = IpAddress::parse(*text);
    if (!found) field.complain(shown(*text) + " is not an IP address");
    return found;
}

std::optional<Endpoint> endpoint(const Field& field) {
    const auto* text = scalar(field, "an address and a port, for example 10.0.0.7:8080");
    if (!text) return std::nullopt;
    auto found = Endpoint::parse(*text);
    if (!found)
        field.complain(shown(*text) +
                       " is not an address and a port, for example 10.0.0.7:8080 or [2001:db8::7]:8080");
    return found;
}

std::optional<std::size_t> one_of(const Field& field, const std::vector<std::string_view>& words) {
    const auto* text = scalar(field, list_of(words));
    if (!text) return std::nullopt;
    for (std::size_t i = 0; i < words.size(); ++i)
        if (*text == words[i]) return i;
    field.complain(shown(*text) + " is not " + list_of(words) + did_you_mean(*text, words));
    return std::nullopt;
}

}  // namespace koi::config
