#include "supervisor/config/suggest.h"

#include <algorithm>
#include <cctype>

#include "discovery/quote.h"

namespace koi::config {

namespace {

constexpr std::size_t longest_word = 64;  // nobody mistypes more

std::string folded(std::string_view word) {
    std::string out(word);
    for (char& c : out) c = c == '-' ? '_' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return out;
}

// How many mistakes a word of this length can bear and still be the same word.
std::size_t mistakes_in(std::size_t length) { return length <= 3 ? 1 : length <= 7 ? 2 : 3; }

}  // namespace

std::size_t distance(std::string_view a, std::string_view b, std::size_t enough) {
    if (std::max(a.size(), b.size()) - std::min(a.size(), b.size()) >= enough) return enough;
    std::vector<std::size_t> before_last, last(b.size() + 1), row(b.size() + 1);
    for (std::size_t j = 0; j <= b.size(); ++j) last[j] = j;
    for (std::size_t i = 1; i <= a.size(); ++i) {
        row[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = std::min(row[j], before_last[j - 2] + 1);
        }
        before_last = last;
        last = row;
    }
    return std::min(last[b.size()], enough);
}

std::string_view nearest(std::string_view word, const std::vector<std::string_view>& candidates) {
    if (word.empty() || word.size() > longest_word) return "";
    const std::string mine = folded(word);
    std::size_t best = longest_word;
    bool best_begins_alike = false;
    std::string_view found;
    for (const auto candidate : candidates) {
        if (candidate.empty() || candidate.size() > longest_word) continue;
        const std::string theirs = folded(candidate);
        const auto steps = distance(mine, theirs, best + 1);
        if (steps > mistakes_in(std::min(mine.size(), theirs.size()))) continue;
        // The first letter is rarely the wrong one.
        const bool begins_alike = mine.front() == theirs.front();
        const bool nearer = steps < best || (steps == best && !found.empty() && begins_alike && !best_begins_alike);
        if (!nearer) continue;
        best = steps;
        best_begins_alike = begins_alike;
        found = candidate;
    }
    return found;
}

std::string did_you_mean(std::string_view word, const std::vector<std::string_view>& candidates) {
    const auto candidate = nearest(word, candidates);
    return candidate.empty() ? "" : "; did you mean " + discovery::shown(candidate) + "?";
}

}  // namespace koi::config
