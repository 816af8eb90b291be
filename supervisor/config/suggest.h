// supervisor/config/suggest.h — "did you mean". Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace koi::config {

// The candidate that a typing mistake of `word` may have meant, or "".
std::string_view nearest(std::string_view word, const std::vector<std::string_view>& candidates);
// "; did you mean "web"?" or "".
std::string did_you_mean(std::string_view word, const std::vector<std::string_view>& candidates);

// Insertions, removals, exchanges and swaps of neighbours that lead from one to the other. At most `enough` is
// counted.
std::size_t distance(std::string_view, std::string_view, std::size_t enough);

}  // namespace koi::config
