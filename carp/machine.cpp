#include "carp/machine.h"

#include <algorithm>
#include <cstdio>
#include <utility>

namespace koi::carp {

namespace {

constexpr int highest_demoted_skew = 240;      // rule 9: the ceiling of every implementation
constexpr Duration just_now = Duration(3906);  // rule 4: 1/256 s, the shortest beat there is
constexpr unsigned most_ties_over_v6 = 3;      // rule 3
constexpr Duration presence_pause = 1s;        // rule 13
constexpr Duration presence_memory = 3s;       // a standby not heard for longer is none
constexpr Duration ask_pause = 10ms;
constexpr Duration ask_patience = 1s;
constexpr unsigned most_late_answers = 8;  // rule 4, between two adverts that were due
constexpr Duration right_to_go = 50ms;     // rule 15
constexpr Duration go_patience = 15ms;     // rule 14
constexpr Duration after_go = 100ms;
constexpr Duration leave_patience = 1s;
constexpr Duration leave_pause = 20ms;  // between the adverts of a master that leaves
constexpr Duration overslept = 250ms;   // rule 8: no timer of a machine that is awake is so late

std::string seconds(Duration d) {
    char out[32];
    std::snprintf(out, sizeof out, "%.2f s", static_cast<double>(d.count()) / 1e6);
    return out;
}

std::string described(const Claim& c) {
    return "demotion " + std::to_string(c.demotion) + ", beat " + seconds(c.beat);
}

// One step in the making: what a rule may look at, what it may change, and the few things rules do.
struct Turn {
    const Settings& us;
    const Instant now;
    State next;
    std::vector<Action> actions;

    Claim our_claim() const { return claim_of(claim_advert(us, next)); }

    // How long the present role waits: a master for its beat, a backup for its patience (rules 6 and 8).
    Duration wait() const {
        const Advskew skew = sent_skew(us, next.demotion);
        if (next.role == Role::master) return beat(us, skew);
        const Duration own = own_patience();
        const auto& theirs = next.master_claim;
        const bool too_short = theirs && own < 2 * masters_beat() && !(our_claim() < *theirs);
        return too_short ? 3 * masters_beat() : own;
    }
    Duration own_patience() const {
        const Advskew skew = sent_skew(us, next.demotion);
        return next.master_interval > 0us ? patience(next.master_interval, skew) : patience(us.advbase, skew);
    }
    // Of the master we follow, if his claim is known.
    Duration masters_beat() const {
        return next.master_interval > 0us ? next.master_interval : next.master_claim->beat;
    }
    void wait_from(Instant begin) {
        next.counts_from = begin;
        next.fixed_deadline = false;
        next.deadline = std::max(now, begin + wait());
    }

    // Neither a patience nor a beat.
    void wait_exactly(Duration d) {
        next.deadline = now + d;
        next.fixed_deadline = true;
    }

    // The same for a wait that became another one on its way: a longer one counts from where the old one began, a
    // shorter one ends at `end` or where the old one would have ended, whichever comes first.
    void wait_until(Instant end) { wait_from(std::max(next.counts_from, std::min(next.deadline, end) - wait())); }

    void become(Role role, std::string because, Duration silence = {}) {
        actions.emplace_back(RoleChanged{next.role, role, std::move(because), silence});
        next.role = role;
        next.since = now;
        next.bow_out_pending = false;
        next.heard_nobody = false;
        next.late_answers = 0;
        next.tied_over_v6 = 0;
        next.leaving.clear();
        next.handing_to = 0;
        stop_asking();
        next.prepared = false;
    }
    void follow_nobody() {
        next.master.reset();
        next.master_claim.reset();
        next.master_interval = {};
        next.master_sender = 0;
        next.presence_at = Instant::max();
    }
    // Who leads does not need what was prepared to be taken away.
    void stop_asking() {
        if (!next.asking.empty() && next.role != Role::master) actions.emplace_back(Prepare{false});
        next.asking.clear();
        next.prepared = false;
    }
    void ask(std::string reason, bool leaving) {
        if (next.asking.empty()) {
            next.asking_since = now;
            next.asked_first = Instant::max();
            next.presence_at = leaving ? now + rank(sent_skew(us, next.demotion)) : now;
            actions.emplace_back(Prepare{true});
        }
        next.asking = std::move(reason);
        next.asked_by_leaving = leaving;
    }
    void say() {
        if (next.handing_to != 0) return;  // 14
        actions.emplace_back(SendAdvert{});
        wait_from(now);
        if (!next.leaving.empty()) wait_exactly(leave_pause);
    }
    // Rule 4.
    void answer() {
        if (next.handing_to != 0) return;  // 14
        if (now - next.counts_from >= just_now) return say();
        if (next.late_answers == most_late_answers) return;
        ++next.late_answers;
        next.deadline = std::min(next.deadline, next.counts_from + just_now);
        next.fixed_deadline = true;
    }
    // The first advert leaves before anything else is done: peers stop waiting the sooner.
    void lead(std::string because, Duration silence = {}) {
        actions.emplace_back(SendAdvert{});
        become(Role::master, std::move(because), silence);
        follow_nobody();
        wait_from(now);
    }
    void listen(std::string because) {
        become(Role::backup, std::move(because));
        follow_nobody();
        wait_from(now);
    }
    void fall_silent(std::string because) {
        become(Role::init, std::move(because));
        follow_nobody();
        next.deadline = Instant::max();
    }
    // Rule 15: the addresses before the advert, because he who still has them lets go when he hears it.
    void lead_agreed(std::string because) {
        become(Role::master, std::move(because));
        actions.emplace_back(SendAdvert{});
        follow_nobody();
        wait_from(now);
    }
    void note(const Heard& h) {
        if (h.sender == 0) {
            next.presence_at = Instant::max();
        } else if (next.master_sender != h.sender) {
            next.presence_at = now;
            next.asking_since = now;  // another one to ask
            next.asked_first = Instant::max();
        }
        next.master_sender = h.sender;
        next.master = h.source;
        next.master_claim = claim_of(h.advert);
        next.master_interval = h.interval;
        next.last_heard = now;
    }
};

// ---- What a master makes of an advert -----------------------------------------------------------

enum class Verdict { yield, stay, undecided };

// Rule 3's last part, for two claims that are otherwise equal.
Verdict judge_tie(Turn& t, const OwnAddresses& own, const IpAddress& source) {
    const auto& ours = own.of(source.family());
    if (!ours) return Verdict::undecided;
    const bool may_come_over_v4 = !source.is_v4() && own.v4;
    if (may_come_over_v4 && ++t.next.tied_over_v6 <= most_ties_over_v6) return Verdict::undecided;
    return wins_tie(*ours, source) ? Verdict::stay : Verdict::yield;
}

Verdict judge(Turn& t, const OwnAddresses& own, const Heard& h) {
    if (h.source.is_v4()) t.next.tied_over_v6 = 0;
    if (h.advert.is_bow_out()) return Verdict::stay;  // rule 10
    const Claim ours = t.our_claim(), theirs = claim_of(h.advert);
    if (theirs == ours) return judge_tie(t, own, h.source);
    return theirs < ours ? Verdict::yield : Verdict::stay;
}

// Rules 10 and 14: how a master ends that has no successor to hear.
void leave(Turn& t) {
    const std::string because = t.next.leaving;
    if (t.next.leaves_for_good)
        t.fall_silent(because);
    else
        t.listen(because);
    t.actions.emplace_back(SendBowOut{});
}

// Rule 14: the successor has spoken.
void handed_over(Turn& t, const Heard& h) {
    const std::string why = t.next.leaving.empty() ? "" : t.next.leaving + "; ";
    const bool for_good = !t.next.leaving.empty() && t.next.leaves_for_good;
    const std::string because = why + "handed over to " + h.source.text();
    if (for_good) return t.fall_silent(because);
    t.become(Role::backup, because);
    t.note(h);
    t.wait_from(t.now);
}

void hear_as_master(Turn& t, const OwnAddresses& own, const Heard& h) {
    const std::string who = h.source.text();
    const bool handing = t.next.handing_to != 0;
    if (handing && h.sender == t.next.handing_to && !h.go && !h.leaving) return handed_over(t, h);
    if (h.go && !h.to_us) return;
    if (h.go || h.leaving) return t.answer();  // his claim is worth nothing, but he should know that we are here
    if (!t.next.leaving.empty() && !h.advert.is_bow_out()) {  // somebody leads already
        t.next.leaving += "; " + who + " leads, too";
        return leave(t);
    }
    switch (judge(t, own, h)) {
        case Verdict::undecided: return;
        case Verdict::stay:  // rule 4
            t.answer();
            if (!handing) t.actions.emplace_back(AnnounceAgain{who + " spoke as master, too"});
            return;
        case Verdict::yield:  // rule 3
            if (!handing) t.actions.emplace_back(SendAdvert{});
            t.become(Role::backup, who + " has the better claim (" + described(claim_of(h.advert)) + ")");
            t.note(h);
            t.wait_from(t.now);
            return;
    }
}

// ---- What a backup makes of an advert -----------------------------------------------------------

// Rules 5 and 6: the reason to take over from a master with this claim, or none.
std::string reason_to_lead(const Turn& t, const Claim& theirs, const IpAddress& source) {
    if (t.next.stepped_down) return {};
    const Claim ours = t.our_claim();
    if (theirs.demotion > ours.demotion)  // 5
        return source.text() + " is less well (demotion " + std::to_string(theirs.demotion) + " against our " +
               std::to_string(ours.demotion) + ")";
    if (!(ours < theirs)) return {};
    if (t.us.preempt && t.now >= t.next.may_preempt)  // 5
        return "our claim is better than that of " + source.text() + " (beat " + seconds(ours.beat) + " against " +
               seconds(theirs.beat) + ")";
    if (t.own_patience() < t.masters_beat())  // 6
        return source.text() + " speaks only every " + seconds(t.masters_beat()) + ", which is longer than we wait";
    return {};
}

// Rule 8: somebody worse than the master we follow and have just heard.
bool is_the_masters_business(const Turn& t, const Heard& h) {
    const auto& followed = t.next.master_claim;
    if (!followed || t.next.master == h.source) return false;
    return *followed < claim_of(h.advert) && t.now - t.next.last_heard < 2 * t.masters_beat();
}

// Rule 7. Copies of a bow-out that arrive after somebody else took over are not from the master we follow; nor is one
// of another sender over the other family.
void hear_bow_out(Turn& t, const Heard& h) {
    if (t.next.bow_out_pending) return;
    const auto& master = t.next.master;
    if (master && master->family() == h.source.family() && *master != h.source) return;
    if (h.sender != 0 && t.next.master_sender != 0 && h.sender != t.next.master_sender) return;
    t.next.master = h.source;
    t.next.master_claim.reset();
    t.next.last_heard = t.now;
    t.next.bow_out_pending = true;
    t.next.heard_nobody = false;
    t.next.counts_from = t.now;
    t.wait_exactly(rank(sent_skew(t.us, t.next.demotion)));
}

void hear_as_backup(Turn& t, const Heard& h) {
    if (h.advert.is_bow_out()) return hear_bow_out(t, h);
    if (is_the_masters_business(t, h)) return;
    t.note(h);
    t.next.bow_out_pending = t.next.heard_nobody = false;
    // Whoever gives his role away is no master to measure others by: his successor may have a worse claim.
    if (h.go || h.leaving) t.next.master_claim.reset();
    if (h.go) {  // 15
        const bool we_just_asked = !t.next.asking.empty() && t.now - right_to_go <= t.next.last_asked;
        if (h.to_us && we_just_asked && !t.next.stepped_down)
            return t.lead_agreed(h.source.text() + " handed over: " + std::string(t.next.asking));
        return t.wait_from(t.now);
    }
    t.wait_from(t.now);  // 8
    if (h.leaving) {     // 13
        if (!t.next.stepped_down) t.ask("it is leaving", true);
        return;
    }
    auto reason = reason_to_lead(t, claim_of(h.advert), h.source);
    if (reason.empty()) return t.stop_asking();
    if (h.sender == 0 || t.us.auth.mode == Auth::Mode::off) return t.lead(std::move(reason));
    t.ask(std::move(reason), false);
}

// Rule 13, the backup's clock.
void word_due(Turn& t) {
    t.next.presence_at = t.now + presence_pause;
    if (t.next.asking.empty()) {
        if (!t.next.stepped_down) t.actions.emplace_back(SendPresence{false});
        return;
    }
    if (t.next.asked_by_leaving && t.now - t.next.asking_since >= ask_patience) return t.stop_asking();
    if (!t.next.prepared) {  // nobody is pushed aside for somebody who could not serve
        t.next.asked_first = Instant::max();
        if (t.next.asked_by_leaving)
            t.next.presence_at = std::min(t.next.presence_at, t.next.asking_since + ask_patience);
        t.actions.emplace_back(SendPresence{false});
        return;
    }
    if (t.next.asked_first == Instant::max()) t.next.asked_first = t.now;
    if (!t.next.asked_by_leaving && t.now - t.next.asked_first >= ask_patience)
        return t.lead(std::string(t.next.asking));
    t.next.presence_at = t.now + ask_pause;
    t.next.last_asked = t.now;
    t.actions.emplace_back(SendPresence{true});
}

// ---- Time ---------------------------------------------------------------------------------------

void patience_ended(Turn& t) {
    const bool left = t.next.bow_out_pending;
    if (t.now - t.next.deadline > overslept) {  // 8
        t.next.bow_out_pending = t.next.heard_nobody = false;
        return t.wait_from(t.now);
    }
    if (t.next.stepped_down) {
        const bool was_patience = !t.next.fixed_deadline;
        t.next.bow_out_pending = false;
        t.follow_nobody();
        if (!was_patience) return t.wait_from(t.now);
        t.next.heard_nobody = true;  // since counts_from
        t.next.deadline = t.now + t.wait();
        return;
    }
    if (left) return t.lead(t.next.master->text() + " left");  // 7
    const Duration silence = t.now - std::max(t.next.since, t.next.last_heard);
    const std::string lasted = " for " + seconds(silence);
    if (t.next.master) return t.lead("no advert from " + t.next.master->text() + lasted, silence);
    t.lead("no master was heard" + lasted);
}

// ---- Events -------------------------------------------------------------------------------------

void take(Turn& t, const OwnAddresses&, const Started&) {  // 1
    if (t.next.role != Role::init) return;
    t.next.may_preempt = t.now + t.us.preempt_delay;
    t.listen("listening first");
}

void take(Turn& t, const OwnAddresses&, const LinkLost& e) {  // 11
    if (t.next.role != Role::init) t.fall_silent(e.because);
}

void take(Turn& t, const OwnAddresses& own, const Heard& e) {
    if (t.next.role == Role::master) return hear_as_master(t, own, e);
    if (t.next.role == Role::backup) hear_as_backup(t, e);
}

void take(Turn& t, const OwnAddresses&, const DeadlinePassed&) {
    if (t.next.role == Role::backup && t.now >= t.next.presence_at) word_due(t);
    if (t.next.role == Role::init || t.now < t.next.deadline) return;
    if (t.next.role == Role::backup) return patience_ended(t);
    if (t.next.handing_to != 0) {  // 14
        if (!t.next.leaving.empty()) return leave(t);
        t.listen("the successor was not heard in time");
        t.wait_exactly(after_go);
        return;
    }
    if (!t.next.leaving.empty() && t.now >= t.next.leaving_until) return leave(t);
    if (!t.next.fixed_deadline) t.next.late_answers = 0;
    t.say();  // 2
}

// Rule 14.
void take(Turn& t, const OwnAddresses&, const Present& e) {
    if (t.next.role != Role::master) return;
    t.next.standby_heard = t.now;
    if (!e.asks || !e.ready || t.next.handing_to != 0) return;
    if (t.next.leaving.empty() && !(e.claim < t.our_claim())) return;
    t.next.handing_to = e.sender;
    t.wait_exactly(go_patience);
    t.next.handing_until = t.next.deadline;
    t.actions.emplace_back(SendGo{e.sender});
}

void take(Turn& t, const OwnAddresses&, const Prepared& e) {
    if (t.next.asking.empty()) return;
    t.next.prepared = e.ready;
    // A leaving master is asked in the order of the ranks; else nothing is worth waiting for.
    const auto earliest =
        t.next.asked_by_leaving ? t.next.asking_since + rank(sent_skew(t.us, t.next.demotion)) : t.now;
    if (e.ready) t.next.presence_at = std::max(t.now, earliest);
}

// A master that wants to be rid of its role. True if somebody is there to take it.
bool begin_to_leave(Turn& t, std::string because, bool for_good) {
    if (t.us.auth.mode == Auth::Mode::off || t.next.standby_heard == Instant::min() ||
        t.now - t.next.standby_heard > presence_memory)
        return false;
    if (t.next.leaving.empty()) {
        t.next.leaves_for_good = false;
        t.next.leaving_until = t.now + leave_patience;
    }
    t.next.leaves_for_good |= for_good;
    t.next.leaving = std::move(because);
    t.say();
    return true;
}

void take(Turn& t, const OwnAddresses&, const Demoted& e) {  // 9
    const bool worse = e.demotion > t.next.demotion;
    t.next.demotion = e.demotion;
    if (t.next.role == Role::master && worse) return t.say();
    const bool is_waiting = t.next.deadline != Instant::max() && t.next.handing_to == 0;
    if (is_waiting && !t.next.fixed_deadline) t.wait_from(t.next.counts_from);
}

void take(Turn& t, const OwnAddresses&, const SteppedDown& e) {
    t.next.stepped_down = true;
    if (t.next.role == Role::backup) t.stop_asking();
    if (t.next.role != Role::master || begin_to_leave(t, e.because, false)) return;
    t.listen(e.because);
    t.actions.emplace_back(SendBowOut{});  // 10
}

void take(Turn& t, const OwnAddresses&, const SteppedUp&) {
    t.next.stepped_down = false;
    if (!t.next.leaves_for_good) t.next.leaving.clear();
    // Whoever has listened in vain for long enough need not begin anew.
    if (t.next.role == Role::backup && t.next.heard_nobody) t.next.deadline = std::min(t.next.deadline, t.now);
}

void take(Turn& t, const OwnAddresses&, const Stopped& e) {  // 10
    const bool led = t.next.role == Role::master;
    if (led && !e.at_once && begin_to_leave(t, "stopping", true)) return;
    if (t.next.role != Role::init) t.fall_silent("stopping");
    if (led) t.actions.emplace_back(SendBowOut{});
}

void take(Turn& t, const OwnAddresses&, const Slept& e) {  // 12
    if (t.next.role != Role::master) return;
    const std::string because =
        "said nothing for " + seconds(e.silence) + ", longer than its lease; others may lead by now";
    if (t.next.leaves_for_good && !t.next.leaving.empty()) return t.fall_silent(because);
    t.listen(because);
    t.next.may_preempt = t.now + std::max(t.wait(), t.us.preempt_delay);
}

Duration raw_beat(int base, int skew) { return Duration((base * 256 + skew) * std::int64_t{1'000'000} / 256); }

}  // namespace

std::string_view to_string(Role r) {
    switch (r) {
        case Role::init: return "init";
        case Role::backup: return "backup";
        case Role::master: return "master";
    }
    return "?";
}

Claim claim_of(const Advert& a) { return {a.demotion, raw_beat(a.advbase, a.advskew)}; }

bool wins_tie(const IpAddress& ours, const IpAddress& theirs) {
    const auto a = ours.bytes(), b = theirs.bytes();
    if (ours.is_v4()) return !std::lexicographical_compare(b.rbegin(), b.rend(), a.rbegin(), a.rend());
    return !std::lexicographical_compare(b.begin(), b.end(), a.begin(), a.end());
}

Duration rank(Advskew skew) { return skew.value() * Duration(250); }

Advskew sent_skew(const Settings& us, Demotion demotion) {
    const int plain = us.advskew.value();
    return *Advskew::of(std::max(plain, std::min(highest_demoted_skew, plain + demotion.value())));
}

Advert claim_advert(const Settings& us, const State& state) {
    Advert a;
    a.vhid = us.vhid;
    a.advbase = us.advbase.value();
    a.advskew = sent_skew(us, state.demotion).value();
    a.demotion = state.demotion.value();
    return a;
}

Advert bow_out_advert(const Settings& us) {
    Advert a;
    a.vhid = us.vhid;
    a.advbase = a.advskew = a.demotion = 255;
    return a;
}

Instant next_due(const State& state) {
    return state.role == Role::backup ? std::min(state.deadline, state.presence_at) : state.deadline;
}

Step step(const Settings& us, const OwnAddresses& own, const State& state, const Event& event, Instant now) {
    Turn t{us, now, state, {}};
    std::visit([&](const auto& e) { take(t, own, e); }, event);
    return {std::move(t.next), std::move(t.actions)};
}

Step resume(const Settings& us, const State& state, Instant now) {
    if (state.stepped_down) return step(us, {}, state, Started{}, now);
    Turn t{us, now, state, {}};
    if (t.next.role == Role::init) {
        t.next.may_preempt = now;
        t.lead("back before our peers stopped waiting");
    }
    return {std::move(t.next), std::move(t.actions)};
}

Step change(const Settings& before, const Settings& now_ours, const State& state, Instant now) {
    Turn t{now_ours, now, state, {}};
    const auto skew = sent_skew(now_ours, state.demotion);
    const bool same_beat = before.advbase == now_ours.advbase && before.advskew == now_ours.advskew &&
                           beat(before, skew) == beat(now_ours, skew);
    if (!same_beat && t.next.role == Role::master) t.say();
    const bool is_waiting = t.next.role == Role::backup && t.next.deadline != Instant::max();
    if (!same_beat && is_waiting && !t.next.fixed_deadline) t.wait_until(now + t.wait());
    return {std::move(t.next), std::move(t.actions)};
}

}  // namespace koi::carp
