// supervisor/config/values.h
//
// Words of the file → values inside their bounds. Each function complains, with what was expected and what was found,
// and gives nothing, when the word does not fit. Pure.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "supervisor/base/address.h"
#include "supervisor/base/clock.h"
#include "supervisor/config/field.h"

namespace koi::config {

// Any text on one line. example: what it looks like here, for a complaint about something else.
std::optional<std::string> word(const Field&, std::string_view example);
// A name of ours: 1–63 of A–Z a–z 0–9 . _ -
bool is_name(std::string_view);
std::optional<std::string> name(const Field&);
bool check_name(std::string_view, const Spot&, Notes&);
// The name of a network interface: 1–15 characters, as the kernel has it.
std::optional<std::string> interface(const Field&);
// An absolute path. secret: do not repeat the text in a complaint, it may be a password in the wrong place.
std::optional<std::string> path(const Field&, bool secret = false);

std::optional<std::int64_t> number(const Field&, std::int64_t lowest, std::int64_t highest);
template <class Bounded>
std::optional<Bounded> bounded(const Field& field) {
    const auto n = number(field, Bounded::min, Bounded::max);
    return n ? Bounded::of(*n) : std::nullopt;
}
std::optional<bool> boolean(const Field&);  // true or false
// bare: the unit proposed for a number without one.
std::optional<Duration> duration(const Field&, Duration highest, std::string_view bare = "s");
std::optional<IpAddress> address(const Field&);
std::optional<Endpoint> endpoint(const Field&);

// One of some words.
std::optional<std::size_t> one_of(const Field&, const std::vector<std::string_view>& words);
template <class Enum, std::size_t n>
std::optional<Enum> choice(const Field& field, const std::array<std::pair<std::string_view, Enum>, n>& words) {
    std::vector<std::string_view> names;
    for (const auto& [text, value] : words) names.push_back(text);
    const auto i = one_of(field, names);
    if (!i) return std::nullopt;
    return words[*i].second;
}

}  // namespace koi::config
