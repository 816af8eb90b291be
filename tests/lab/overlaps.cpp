#include "tests/lab/overlaps.h"

#include <algorithm>
#include <utility>

#include "tests/lab/law.h"

namespace koi::lab {

namespace {

constexpr Duration one_way = 2 * Wire::slowest;  // what the lab calls in time
constexpr Duration exchange = 2 * one_way + 100us;
constexpr Duration just_now = 3907us;  // nobody answers so soon after he spoke (machine.h, rule 4)
constexpr unsigned most_late_answers = 8;
constexpr Duration hand_over = 15ms;  // nor while he waits for his successor (rule 14)

bool tells_silence(const std::string& because) {
    return because.starts_with("no advert") || because.starts_with("no master was heard");
}
bool is_resumed(const std::string& because) { return because.starts_with("back before"); }

// How much later than at once an answer to it may come.
Duration lateness(const Lab::Crossing& c, bool one_hands_over, Duration a_beat) {
    if (one_hands_over || c.hearer_hands_over) return hand_over;
    if (c.hearer_spoke <= c.heard - just_now) return {};
    return c.late_answers < most_late_answers ? just_now : a_beat;
}

std::string ms(Duration d) { return std::to_string(d.count() / 1000) + " ms"; }

}  // namespace

std::string_view Overlaps::name(Kind k) {
    switch (k) {
        case Kind::unknowable: return "unknowable";
        case Kind::in_flight: return "in flight";
        case Kind::unanswered: return "unanswered";
        case Kind::impatient: return "impatient";
        case Kind::woken: return "woken";
        case Kind::prolonged: return "prolonged";
    }
    return "?";
}

void Overlaps::Tally::add(const Tally& other) {
    for (std::size_t k = 0; k < kinds; ++k) {
        seen[k] += other.seen[k];
        longest[k] = std::max(longest[k], other.longest[k]);
    }
}

Overlaps::Overlaps(Lab& lab) : lab_(lab) {
    lab_.watch_overlaps([this](const Lab::Overlap& o) { see(o); });
}

// ---- What is remembered -----------------------------------------------------------------------------

void Overlaps::look() {
    for (const auto& n : lab_.nodes()) look(*n);
}

void Overlaps::look(const Node& n) {
    Past& past = past_[n.place()];
    if (n.is_awake() && !past.awake) past.awake_since = lab_.now();
    past.awake = n.is_awake();
    if (!n.is_running()) return;
    const auto& state = n.state();
    if (!n.holds()) {
        const bool starts_to_wait = state.counts_from != past.own_waits_from;
        if (starts_to_wait) past.waits_from = n.lab_time(state.counts_from);
        past.own_waits_from = state.counts_from;
        past.own_since = Instant::min();
        past.patience = patience(n);
        if (state.master || starts_to_wait) past.follows = state.master;
        past.gave_way = lab_.because(n.place()).starts_with("the successor");
        return;
    }
    const auto& because = lab_.because(n.place());
    if (state.since != past.own_since && !is_resumed(because)) {
        past.reign = ++reigns_;
        past.took_over = lab_.now();
        past.by_silence = tells_silence(because) && !past.gave_way;
    }
    past.own_since = state.since;
    if (lab_.spoke(n.place()) == lab_.now()) past.lease = longest_lease(n);
}

// ---- What is judged ---------------------------------------------------------------------------------

void Overlaps::see(const Lab::Overlap& o) {
    const bool in_order = past_[o.one].reign < past_[o.other].reign;
    const std::size_t older = in_order ? o.one : o.other, newer = in_order ? o.other : o.one;
    Episode& e = episodes_[o.one * most + o.other];
    const bool goes_on = e.until == o.from && e.older == past_[older].reign && e.newer == past_[newer].reign;
    if (!goes_on) {
        const auto kind = kind_of(older, newer, o.from);
        if (!kind) return complain(older, newer, o, "nothing was missed");
        e = {past_[older].reign, past_[newer].reign, *kind, o.from, o.from, o.from - 1us};
        ++tally_.seen[static_cast<std::size_t>(*kind)];
    }
    e.until = o.from + o.lasted;
    measure(older, newer, e);
    if (e.until > e.end && e.until <= e.unanswered_until) {
        if (e.kind != Kind::unknowable) change_kind(e, Kind::unanswered);
        e.end = e.unanswered_until;
    }
    if (e.until > e.end)
        complain(older, newer, o,
                 std::string(name(e.kind)) + " since " + std::to_string(e.began.time_since_epoch().count()) +
                     " us, " + ms(e.until - e.end) + " too long");
    auto& longest = tally_.longest[static_cast<std::size_t>(e.kind)];
    if (e.kind != Kind::woken || (node(older).is_awake() && node(newer).is_awake()))
        longest = std::max(longest, e.until - e.began);
}

// Why two may answer from now on, or nothing.
std::optional<Overlaps::Kind> Overlaps::kind_of(std::size_t older, std::size_t newer, Instant now) const {
    const Past &o = past_[older], &n = past_[newer];
    if (slept_through(older, n.took_over) || slept_through(newer, n.took_over)) return Kind::woken;
    if (now > n.took_over) {  // it began again
        const bool woke = node(older).woke_from_suspend() == now || node(newer).woke_from_suspend() == now;
        return woke ? std::optional(Kind::unknowable) : std::nullopt;
    }
    if (!n.by_silence) return Kind::in_flight;
    const Instant spoke = lab_.spoke(older);
    if (spoke <= n.waits_from) {
        if (slept_through(older, spoke)) return Kind::woken;
        if (node(older).woke_from_suspend() > spoke && !node(older).is_awake()) return Kind::prolonged;
        if (n.patience < o.lease) return Kind::impatient;
        return std::nullopt;
    }
    if (slept_through(newer, n.waits_from) || slept_through(older, spoke)) return Kind::woken;
    if (lab_.missed(older, newer) >= n.waits_from) return Kind::unknowable;
    if (now - spoke <= one_way) return Kind::in_flight;
    const auto& own = node(older).addresses();
    const bool let_pass = n.follows && n.follows != own.v4 && n.follows != own.v6;
    if (let_pass && lab_.crossing(older, newer).heard > n.waits_from) return Kind::in_flight;
    return std::nullopt;
}

Instant Overlaps::last_missed(std::size_t a, std::size_t b) const {
    return std::max(lab_.missed(a, b), lab_.missed(b, a));
}

// When it must be over, as far as can be said now. What failed moves it away, what crossed brings it nearer.
void Overlaps::measure(std::size_t older, std::size_t newer, Episode& e) {
    const Node &o = node(older), &n = node(newer);
    const auto is_short = [&] { return e.kind == Kind::in_flight || e.kind == Kind::impatient; };
    if (!o.is_awake() || !n.is_awake()) {
        if (is_short()) change_kind(e, Kind::unknowable);
        e.end = Instant::max();
        return;
    }
    Duration a_beat = std::min(beat(o), beat(n));
    if (e.kind == Kind::woken) a_beat = slept_through(older, past_[newer].took_over) ? beat(n) : beat(o);
    const Instant awake = std::max(past_[older].awake_since, past_[newer].awake_since);
    if (e.end == Instant::max()) e.end = std::max(e.began, awake) + exchange + (is_short() ? 0us : a_beat);

    const Instant missed = last_missed(older, newer);
    if (missed >= e.began || (is_short() && awake > e.began)) change_kind(e, Kind::unknowable);
    if (awake > std::max(e.measured, e.began)) e.end = std::max(e.end, awake + a_beat + exchange);
    if (missed > e.measured) e.end = std::max(e.end, missed + a_beat + exchange);
    std::array crossed = {lab_.crossing(older, newer), lab_.crossing(newer, older)};
    std::ranges::sort(crossed, {}, &Lab::Crossing::heard);
    // What is said while one waits for a successor moves nobody else.
    const bool one_does = o.state().handing_to != 0 || n.state().handing_to != 0;
    for (const auto& c : crossed) {
        if (c.heard <= e.measured || c.said < e.began || c.said <= missed) continue;
        if (const Duration late = lateness(c, one_does, a_beat); late > 0us)
            e.unanswered_until = c.heard + late + exchange;
        else
            e.end = std::min(e.end, c.heard + exchange);
    }
    e.measured = lab_.now();
}

void Overlaps::change_kind(Episode& e, Kind kind) {
    if (kind == e.kind) return;
    --tally_.seen[static_cast<std::size_t>(e.kind)];
    ++tally_.seen[static_cast<std::size_t>(kind)];
    e.kind = kind;
}

void Overlaps::complain(std::size_t older, std::size_t newer, const Lab::Overlap& o, std::string why) {
    if (!broken_.empty()) return;
    const auto us = [](Instant i) { return std::to_string(i.time_since_epoch().count()) + " us"; };
    broken_ = node(older).name() + " and " + node(newer).name() + " both answered from " + us(o.from) + " for " +
              std::to_string(o.lasted.count()) + " us: " + why + "; " + node(newer).name() + " took over at " +
              us(past_[newer].took_over) + " because \"" + lab_.because(newer) + "\", had waited since " +
              us(past_[newer].waits_from) + ", and " + node(older).name() + " had spoken at " + us(lab_.spoke(older));
}

}  // namespace koi::lab
