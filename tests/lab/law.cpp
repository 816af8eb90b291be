#include "tests/lab/law.h"

#include <algorithm>
#include <utility>

#include "supervisor/base/check.h"

namespace koi::lab {

namespace {

constexpr Duration the_wire = 2 * Wire::slowest + 100us;
constexpr Duration highest_rank = 64ms;

bool has(unsigned set, std::size_t n) { return (set >> n & 1) != 0; }
unsigned bit(std::size_t n, bool set = true) { return set ? 1u << n : 0u; }

Duration steps(int n) { return Duration(n * std::int64_t{1'000'000} / 256); }

int skew(const Node& n) {
    const int plain = n.settings().advskew.value(), unwell = n.state().demotion.value();
    return std::max(plain, std::min(240, plain + unwell));
}
int claimed_steps(const Node& n) { return n.settings().advbase.value() * 256 + skew(n); }
bool tells_interval(const Node& n) {
    return n.settings().auth.mode != carp::Auth::Mode::off && n.settings().interval > 0us;
}
Duration rank(const Node& n) { return 250us * skew(n); }

}  // namespace

Duration patience(int advbase, int skew) {
    return advbase == 0 ? steps(std::max(3, 3 * skew)) : steps(3 * advbase * 256 + skew);
}
Duration patience(const Node& n) {
    const auto told = n.state().master_interval;
    const auto own = told > 0us ? 3 * told + told * skew(n) / 256 : patience(n.settings().advbase.value(), skew(n));
    const auto& followed = n.state().master_claim;
    if (!followed) return own;
    const auto masters_beat = told > 0us ? told : followed->beat;
    const bool cannot_outlast = own < 2 * masters_beat && !(claim(n) < *followed);
    return cannot_outlast ? 3 * masters_beat : own;
}
Duration beat(const Node& n) {
    return tells_interval(n) ? n.settings().interval : steps(std::max(1, claimed_steps(n)));
}
Duration longest_lease(const Node& n) {
    const int base = n.settings().advbase.value();
    return tells_interval(n) || base == 0 ? 3 * beat(n) : steps(3 * base * 256);
}
carp::Claim claim(const Node& n) { return {n.state().demotion.value(), steps(claimed_steps(n))}; }

Law::Law(Lab& lab) : lab_(lab), overlaps_(lab) {
    lab_.watch([this] { look(); });
}

void Law::look() {
    KOI_CHECK(count() <= most);
    overlaps_.look();
    if (broken_.empty()) broken_ = overlaps_.broken();
    for (std::size_t n = 0; n < count(); ++n) {
        judge(absent_[n], n, " was without a master for ");
        judge(doubled_[n], n, " had two masters for ");
    }
    const Sight before = std::exchange(seen_, see());
    bool joined = (seen_.awake & ~before.awake) != 0 || seen_.patience != before.patience;
    for (std::size_t n = 0; n < most; ++n) joined |= (seen_.hears[n] & ~before.hears[n]) != 0;
    if (joined) {
        calm_from_ = std::max(calm_from_, lab_.now());
        absent_ = doubled_ = {};
    }
    for (std::size_t n = 0; n < count(); ++n)
        if (has(seen_.masters & seen_.stepped_down, n) && !may_still_lead(node(n)) && broken_.empty())
            broken_ = node(n).name() + " leads that is stepped down";
    // What was sent in noise may arrive long after it.
    if (seen_.delay != before.delay) calm_from_ = std::max(calm_from_, lab_.now() + before.delay);
    if (seen_ != before || any_open()) measure();
}

Law::Sight Law::see() const {
    Sight s;
    for (std::size_t n = 0; n < count(); ++n) {
        s.patience[n] = patience(node(n).settings().advbase.value(), node(n).settings().advskew.value());
        if (!node(n).is_awake()) continue;
        s.awake |= bit(n);
        s.masters |= bit(n, node(n).holds());
        s.stepped_down |= bit(n, node(n).state().stepped_down);
        for (std::size_t from = 0; from < count(); ++from)
            s.hears[n] |= bit(from, node(from).is_awake() && lab_.hears(node(n), node(from)));
    }
    const auto& noise = lab_.wire().noise();
    s.delay = noise.delay;
    s.noise = noise.loss > 0 || noise.duplication > 0 || noise.delay > 0us;
    return s;
}

// Until a successor has taken over, or none has come for a second.
bool Law::may_still_lead(const Node& n) const {
    constexpr Duration turns = 60ms;  // its clock is looked at each 20 ms, and a hand-over may have begun
    const auto& state = n.state();
    const Instant last = std::max(n.lab_time(state.leaving_until), calm_from_);  // it may have hung meanwhile
    return !state.leaving.empty() && lab_.now() <= last + turns;
}

// The connected group of n, or nothing.
Law::Set Law::group_of(std::size_t n) const {
    if (seen_.noise || !has(seen_.awake, n)) return 0;
    const Set group = seen_.hears[n] | bit(n);
    for (std::size_t m = 0; m < count(); ++m) {
        if (has(group, m) && (seen_.hears[m] | bit(m)) != group) return 0;
        if (!has(group, m) && (seen_.hears[m] & group) != 0) return 0;
    }
    return group;
}

Law::Set Law::who_may_lead(Set group) const {
    Set may = 0;
    for (std::size_t n = 0; n < count(); ++n)
        may |= bit(n, has(group & ~seen_.stepped_down, n) && node(n).role() != carp::Role::init);
    return may;
}

Duration Law::longest_absence(Set may_lead, Set in_line) const {
    Duration least = Duration::max() - the_wire;
    for (std::size_t n = 0; n < count(); ++n) {
        if (has(in_line, n)) least = std::min(least, rank(node(n)));
        if (in_line == 0 && has(may_lead, n)) least = std::min(least, patience(node(n)) + highest_rank);
    }
    return least + the_wire;
}

Duration Law::longest_doubt(Set masters) const {
    const Node* best = nullptr;
    for (std::size_t n = 0; n < count(); ++n)
        if (has(masters, n) && (!best || claim(node(n)) < claim(*best))) best = &node(n);
    return best ? beat(*best) + the_wire : Duration{};
}

// Those who take turns because the master left with a word, provided it had led, undisturbed, for long enough that
// everybody followed it.
Law::Set Law::line_after_bow_out(Set group, const Reign& reign) const {
    if (!reign.leader || !has(group, reign.leader->place())) return 0;
    const Node& leader = *reign.leader;
    const bool has_left = leader.role() == carp::Role::init || leader.state().stepped_down;
    const Duration settled = 3 * beat(leader);
    // Whoever steps up later did not take the bow-out for his cue.
    if (leader.lab_time(leader.state().since) != lab_.now()) return 0;
    if (!has_left || lab_.now() - calm_from_ <= settled || lab_.now() - reign.since <= settled) return 0;
    return who_may_lead(group) & ~bit(leader.place());
}

bool Law::any_open() const {
    const auto open = [](const Window& w) { return w.since.has_value(); };
    return std::ranges::any_of(absent_, open) || std::ranges::any_of(doubled_, open);
}

void Law::judge(const Window& w, std::size_t n, const char* what) {
    if (!w.since || !broken_.empty()) return;
    const Duration lasted = lab_.now() - std::max(*w.since, calm_from_);
    if (lasted <= w.allowed) return;
    broken_ = "the group of " + node(n).name() + what + std::to_string(lasted.count()) + " us until " +
              std::to_string(lab_.now().time_since_epoch().count()) + " us; allowed are " +
              std::to_string(w.allowed.count());
}

void Law::measure() {
    for (std::size_t n = 0; n < count(); ++n) measure(n, group_of(n));
}

void Law::measure(std::size_t n, Set group) {
    const Set masters = group & seen_.masters, may_lead = who_may_lead(group);
    const bool alone = masters != 0 && (masters & (masters - 1)) == 0;
    if (absent_[n].since && alone) ++absences_;
    if (!absent_[n].since) in_line_[n] = line_after_bow_out(group, reign_[n]);
    // Who is in line may fall, or somebody may step up who heard no bow-out: then it is an absence like any other.
    const Set leader = reign_[n].leader ? bit(reign_[n].leader->place()) : 0;
    if (in_line_[n] != (may_lead & ~leader)) in_line_[n] = 0;
    set(absent_[n], group != 0 && masters == 0 && may_lead != 0, longest_absence(may_lead, in_line_[n]));
    set(doubled_[n], masters != 0 && !alone, longest_doubt(masters));

    if (group == 0 || (masters != 0 && !alone)) reign_[n] = {};
    for (std::size_t m = 0; m < count() && alone; ++m)
        if (has(masters, m) && reign_[n].leader != &node(m)) reign_[n] = {&node(m), lab_.now()};
}

void Law::set(Window& w, bool open, Duration allowed) const {
    if (!open) return w.since.reset();
    w.allowed = w.since ? std::max(w.allowed, allowed) : allowed;
    if (!w.since) w.since = lab_.now();
}

}  // namespace koi::lab
