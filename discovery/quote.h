// discovery/quote.h
//
// Foreign text made fit for a sentence: control characters and broken UTF-8 written as \xNN, and no longer than a
// person will read. Everything that quotes a file, a source or a configuration goes through here, so that nobody can
// paint on an operator's terminal. Pure.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace koi::discovery {

constexpr std::size_t longest_quote = 80;  // bytes of the original

std::string shown(std::string_view);  // in quotes
// The same without quotes, for the words of a library that may quote its input.
std::string clean(std::string_view, std::size_t longest = 160);

// The first byte that does not belong to well-formed UTF-8, or npos.
std::size_t find_broken_utf8(std::string_view);

}  // namespace koi::discovery
