// tests/lab/law.h
//
// What the election owes a connected group, watched over while a lab lives:
//
//   1. It is never without a master for longer than its formula allows:
//
//          the patience of the least patient node in it that may lead, plus the wire;
//          only the rank of the first in line, plus the wire, where a master everybody followed bowed out
//
//      The patience of a node is 3·advbase + skew/256 s with the skew it would send (3·skew/256 s where advbase is
//      0; where the master told his interval, three of those and skew/256 of one), or three beats of the master it
//      followed where that does not outlast two and its own claim is no better (machine.h, rule 6). The rank is 250
//      µs for each step of that skew; it may come on top of a patience, where a backup gave up its turn. The count
//      begins when the group lost its master, or when it became a group: when the last fault in it ended, its last
//      member joined, or one was reloaded.
//   2. It has two masters for no longer than one beat of the better one, counted alike.
//   3. A node that is stepped down never leads, whatever is going on around it; but one that led goes on for a
//   second,
//      and a hand-over, while it waits for a successor that it has heard of.
//   4. Never do two nodes answer, on any wire, whatever became of their processes. A node answers as long as its
//      kernel does (node.h). What cannot be otherwise is told apart and counted (overlaps.h):
//
//          unknowable  An advert of the older leader failed to reach the newer one while that one waited: it was
//                      lost, cut off, delayed, or the newer one slept; or one of the two was suspended since the
//                      newer one took over, and woke within its lease. Until an advert crosses again: one exchange
//                      after the first that did, and no later than one beat after the last that did not. The same
//                      for every other kind from the moment when an advert between the two fails.
//          in flight   The newer one took over openly (a better claim, a bow-out, by agreement, or again after it had
//                      handed over in vain) or the two took over at once, and neither can have heard of it yet. For
//                      one exchange. So, too, if it let the older one's adverts pass because it followed a better
//                      master than that.
//          unanswered  What would have been over after an exchange, but the one that should have answered had spoken
//                      within the last 1/256 s, or was handing over, and put it off (machine.h, rules 4 and 14). For
//                      that time more; for one beat where it had put off eight since its last advert that was due.
//          impatient   By its settings the newer one waits for less than the longest lease of the older one, which
//                      different advbases bring, or different skews where it is 0, and it had heard nothing from the
//                      older one since it began to wait. For one exchange.
//          woken       One of the two is a guest that was paused: its clock stood still, and so did its lease or its
//                      patience. For one beat of the other one, and no longer than one exchange after an advert has
//                      crossed.
//          prolonged   The older one's machine was suspended after it spoke, and its kernel's timers stood still. A
//                      process that is awake knows better than its lease; one that died or hangs since does not.
//                      Then the lease ends it, later by the time of that sleep.
//
//      Everything else is forbidden; above all an older leader that still answers when one takes over by silence
//      that heard all it said. An exchange is an advert and what the other one says to it: twice the wire. If one of
//      the two has no process, or it sleeps, nobody can tell it anything; then its lease ends what was allowed.
//      The longest lease is three intervals where the leader tells one, else three advbases, or three of its beats
//      where the base is 0.
//
// A connected group: awake nodes that all hear each other, hear nobody else and are heard by nobody else, over a wire
// without noise. Where there is noise, or one hears the other and not the other way round, CARP promises nothing.
#pragma once

#include <array>
#include <optional>
#include <string>

#include "tests/lab/lab.h"
#include "tests/lab/overlaps.h"

namespace koi::lab {

// The formulas, written down a second time: a law that asked carp/ for them could not see them change.
Duration patience(int advbase, int skew);
Duration patience(const Node&);
Duration beat(const Node&);           // with the skew it would send
Duration longest_lease(const Node&);  // after an advert with that skew
carp::Claim claim(const Node&);

class Law {
public:
    explicit Law(Lab&);  // for labs of at most four nodes; the lab must outlive it

    const std::string& broken() const { return broken_; }  // empty: it held so far
    unsigned absences() const { return absences_; }  // how often a group lost its master and had another in time
    const Overlaps& overlaps() const { return overlaps_; }
    void look();  // the lab calls it; call once more at the end

private:
    static constexpr std::size_t most = 4;
    using Set = unsigned;  // of nodes, a bit each

    struct Sight {
        Set awake = 0, masters = 0, stepped_down = 0;
        std::array<Set, most> hears{};          // only among the awake
        std::array<Duration, most> patience{};  // as configured
        Duration delay{};                       // of the noise
        bool noise = false;
        friend bool operator==(const Sight&, const Sight&) = default;
    };
    // Something that may only last so long. Kept for each node, as a member of its group.
    struct Window {
        std::optional<Instant> since;
        Duration allowed{};
    };
    struct Reign {
        const Node* leader = nullptr;
        Instant since{};
    };

    const Node& node(std::size_t n) const { return *lab_.nodes()[n]; }
    std::size_t count() const { return lab_.nodes().size(); }

    Sight see() const;
    bool may_still_lead(const Node&) const;
    Set group_of(std::size_t n) const;
    Set who_may_lead(Set group) const;
    Duration longest_absence(Set may_lead, Set in_line) const;
    Duration longest_doubt(Set masters) const;
    Set line_after_bow_out(Set group, const Reign&) const;
    bool any_open() const;
    void judge(const Window&, std::size_t n, const char* what);
    void measure();
    void measure(std::size_t n, Set group);
    void set(Window&, bool open, Duration allowed) const;

    Lab& lab_;
    Overlaps overlaps_;
    Sight seen_;
    Instant calm_from_{};
    std::array<Window, most> absent_, doubled_;
    std::array<Reign, most> reign_;    // the last undisputed one
    std::array<Set, most> in_line_{};  // the absence began with a bow-out, and these take turns
    std::string broken_;
    unsigned absences_ = 0;
};

}  // namespace koi::lab
