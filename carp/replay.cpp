#include "carp/replay.h"

#include <algorithm>

namespace koi::carp {

namespace {

constexpr std::uint64_t honest_clock = 300'000'000;  // µs two synchronised clocks may differ
constexpr std::uint64_t one_mouth = 5'000'000;       // µs the two families of one sender may be apart
constexpr Duration idle = 24h;                       // a sender silent for longer may be forgotten
// and after this, where the table is full and the newcomer's clock shows that it is no recording
constexpr Duration idle_when_full = 1min;

}  // namespace

bool Replay::knows(std::uint64_t sender) const {
    const auto at = heard_.lower_bound({sender, Family{}});
    return at != heard_.end() && at->first.first == sender;
}

std::uint64_t Replay::highest(std::uint64_t sender) const {
    std::uint64_t counter = 0;
    for (auto at = heard_.lower_bound({sender, Family{}}); at != heard_.end() && at->first.first == sender; ++at)
        counter = std::max(counter, at->second.counter);
    return counter;
}

bool Replay::was_heard(std::uint64_t sender) const {
    for (auto at = heard_.lower_bound({sender, Family{}}); at != heard_.end() && at->first.first == sender; ++at)
        if (!at->second.recalled) return true;
    return false;
}

bool Replay::has_room(Instant now, bool fits_clock) const {
    const Duration long_enough = fits_clock ? idle_when_full : idle;
    return heard_.size() < 2 * most_senders ||
           std::ranges::any_of(heard_, [&](const auto& e) { return now - e.second.heard > long_enough; });
}

std::optional<Refusal> Replay::judge(const Trailer& t, std::uint64_t counter, Family family, Instant now,
                                     WallTime wall) const {
    const auto known = heard_.find({t.sender, family});
    if (known != heard_.end() && counter <= known->second.counter) return Refusal::replayed;
    if (const auto most = highest(t.sender); most > one_mouth && counter < most - one_mouth) return Refusal::replayed;
    const auto apart = std::max(counter, wall.us) - std::min(counter, wall.us);
    const bool clocks = t.clock && wall.synchronised;
    if (!was_heard(t.sender) && clocks && apart > honest_clock) return Refusal::stale_clock;
    if (known == heard_.end() && !has_room(now, clocks)) return Refusal::table_full;
    return std::nullopt;
}

Replay::News Replay::remember(const Trailer& t, std::uint64_t counter, Family family, Instant now) {
    const bool newcomer = !knows(t.sender);
    const auto known = heard_.find({t.sender, family});
    News news = newcomer ? News::newcomer : News::nothing;
    if (known != heard_.end() && known->second.session == t.session && known->second.clock && t.clock) {
        const Duration ours = now - known->second.heard;
        const auto theirs = Duration(static_cast<std::int64_t>(counter - known->second.counter));
        const Duration interval = std::chrono::milliseconds(t.interval_ms);
        if (ours - theirs > std::max<Duration>(2s, 2 * interval) + ours / 1000) news = News::late;
    }
    if (known == heard_.end() && heard_.size() >= 2 * most_senders)
        heard_.erase(
            std::ranges::min_element(heard_, {}, [](const auto& e) { return e.second.heard; }));  // an idle one
    heard_[{t.sender, family}] = {counter, t.session, t.clock, now, false};
    return news;
}

std::vector<Replay::Line> Replay::all() const {
    std::vector<Line> lines;
    for (const auto& [key, entry] : heard_) lines.push_back({key.first, key.second, entry.counter});
    return lines;
}

std::vector<Replay::Remembered> Replay::whole() const {
    std::vector<Remembered> all;
    for (const auto& [key, e] : heard_)
        all.push_back({key.first, key.second, e.counter, e.session, e.clock, e.heard, e.recalled});
    return all;
}

void Replay::restore(const std::vector<Remembered>& all) {
    heard_.clear();
    for (const auto& r : all) heard_[{r.sender, r.family}] = {r.counter, r.session, r.clock, r.heard, r.recalled};
}

void Replay::recall(const std::vector<Line>& lines, Instant now) {
    for (const auto& line : lines) {
        if (heard_.size() >= 2 * most_senders) return;
        auto& entry = heard_[{line.sender, line.family}];
        if (line.counter > entry.counter) entry = {line.counter, 0, false, now, true};
    }
}

}  // namespace koi::carp
