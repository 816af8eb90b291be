// supervisor/config/yaml_trouble.h
//
// What is wrong with a text that is no YAML, in words that help: yaml-cpp says "illegal map value" at the place where
// it noticed, we want "this [ is never closed" at the place where it was opened. Pure; looks at bytes only.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace koi::config {

struct YamlTrouble {
    std::size_t at = 0;  // byte of the text
    std::string what;
};

// Before parsing: text that is not UTF-8 or contains control characters.
std::optional<YamlTrouble> look_at_bytes(std::string_view text);

// After a failure: `said` is yaml-cpp's reason at byte `at`; `bracket` is the outermost bracket that was open then.
YamlTrouble explain_yaml(std::string_view text, std::size_t at, const std::string& said,
                         std::optional<std::size_t> bracket);

// The innermost bracket that is never closed, of those from byte `at` on; nothing if there is no bracket or all is
// well.
std::optional<YamlTrouble> unclosed_bracket(std::string_view text, std::size_t at);

// yaml-cpp takes the end of the file for the end of a quotation. We do not.
bool quote_is_closed(std::string_view text, std::size_t opening);

std::pair<unsigned, unsigned> line_and_column(std::string_view text, std::size_t at);  // from 1

// A key fit to be part of a path: shortened, and without what could confuse.
std::string shown_key(std::string_view);

}  // namespace koi::config
