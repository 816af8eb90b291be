// carp/machine.h
//
// Who leads: one vhid's state machine, pure. State, event and time go in, the next state and actions come out.
//
// The rules (carp.md 3.2 to 3.5; numbers are repeated in machine.cpp and tests/unit/carp/machine_test.cpp):
//
//   1. A node that starts, or whose link comes up, listens as backup for one patience before it may lead.
//   2. A master says an advert each beat, or each `interval` where it tells it in its trailer; whoever follows it
//      then waits three of those and a fraction of one instead of a patience of seconds. Its claim is (demotion,
//      beat with the demoted skew, source address).
//   3. A master that hears a better claim sends one last advert, so that the winner announces itself again, and
//      yields.
//      Better: lower demotion; then shorter beat; then, on a tie, the address that compares lower *as UCARP
//      compares it*: last octet of an IPv4 address most significant; IPv6 addresses compare first byte first.
//      A node that speaks both families is heard twice, and its two addresses need not compare the same way. So one
//      family decides: IPv4 for a node that has it, IPv6 for a node that has nothing else. A tied advert of the
//      other family moves nothing. Only after three tied IPv6 adverts in a row, without any over IPv4 between them,
//      does IPv6 decide, because then IPv4 does not get through.
//   4. A master that hears a worse claim stays, says an advert at once (BSD masters that hear a worse master stay
//      silent) and announces its addresses again. It does not answer within 1/256 s of its last advert, but then,
//      and 8 times at most between two adverts that are due: two nodes that both believe themselves better would
//      fill the wire.
//   5. A backup that hears a master whose demotion is higher than its own takes over, preempt or not; one with
//      preempt whose own claim has a shorter beat and no higher demotion takes over, once preempt_delay has passed.
//   6. A backup whose patience is shorter than the advertised beat takes over at once ("will time out anyway"),
//      unless the master's claim is the better one: it would yield again, and so for ever. Then it waits three of
//      those beats where its own patience is shorter than two.
//   7. A bow-out (255/255) of the master it follows makes a backup take over in the order of the skews: each waits
//      rank(skew), at most 64 ms, and gives up if it hears another master meanwhile.
//   8. Any other advert restarts the patience, which is that of the skew the node itself would send: where several
//      wait, the well one comes first. An advert worse than that of the master it follows, who spoke within his
//      last two beats, moves nothing: the better master sees to it. A patience whose end is noticed more than 250
//      ms late was slept through (a paused guest, a suspended machine), proves nothing about the master, and begins
//      again.
//   9. Demotion d adds to the skew that is sent, at most up to 240, and is sent in byte 4 as well. A rise is said
//      at once.
//  10. A master that leaves lets go of its addresses first, then says 255/255 twice; 255/255 is never said
//      otherwise. A master that hears one treats it as a worse claim. Byte 4 of a bow-out is 255, so that no
//      demoted OpenBSD master takes it for a better one.
//  11. Link down: back to init at once, without a word.
//  12. A master that said nothing for longer than its lease (settings.h) is none any more: it was stopped, starved
//      or asleep, the lease has ended, and a peer may lead. It lets go before it says or believes anything, without
//      a word, listens for one patience, and pushes nobody aside before that has passed.
//
// Between Koi nodes, who sign a trailer (trailer.h), nobody is pushed aside. The holder goes on answering until the
// successor does, so that no client waits:
//
//  13. A backup that follows a signed master tells it once a second that it stands by (presence). One that would
//      take over by rule 5, or hears that the master is leaving, has its tables prepared; when they stand it asks
//      every 10 ms: by rule 5 at once, of a leaving master in the order of the ranks.
//  14. A master that is asked by a better claim, or is leaving, answers the first who is ready with "go". From then
//      on it answers for its addresses 15 ms at most, and says nothing more. It lets go when it hears the
//      successor, or anybody else it would give way to.
//  15. Whoever is told to go, and asked within the last 50 ms, takes the addresses first and then says its first
//      advert.
//
//      If the successor is not heard in time, the holder is none any more: it listens for another 100 ms before it
//      may lead again, which is longer than the successor's right to take over lasts. A backup that asks in
//      vain for a second takes over as in plain CARP. A master that leaves and is not asked within a second, or has
//      heard of nobody who stands by, leaves by rule 10.
//
// Peers that know no demotion (UCARP, FreeBSD, NetBSD) see only the demoted skew. If both are masters at once and
// the two orders disagree, both yield; whose patience is shorter leads after it, and nobody pushes him aside.
//
// A master's link is one event away from silence: Heard is only for adverts that carry a good digest and are not
// ours.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "carp/advert.h"
#include "carp/settings.h"
#include "supervisor/base/clock.h"

namespace koi::carp {

enum class Role { init, backup, master };
std::string_view to_string(Role);

// How strong a claim to the addresses is. Smaller is stronger, member by member. The beat here is the plain
// advbase + advskew/256 s that every implementation compares, 0 included; nobody speaks faster than carp::beat().
struct Claim {
    std::uint8_t demotion = 0;
    Duration beat{};
    friend auto operator<=>(const Claim&, const Claim&) = default;
};
Claim claim_of(const Advert&);

// The source addresses of our adverts, one of each family at most: for ties and echoes.
struct OwnAddresses {
    std::optional<IpAddress> v4, v6;
    const std::optional<IpAddress>& of(Family f) const { return f == Family::ipv4 ? v4 : v6; }
};

// Rule 3's tie between two addresses of one family: does `ours` stay? Equal addresses: ours stays.
bool wins_tie(const IpAddress& ours, const IpAddress& theirs);
// Rule 7: 0–64 ms, growing with the skew (250 µs a step).
Duration rank(Advskew);
// Rule 9: the skew a node sends. Never less than the configured one.
Advskew sent_skew(const Settings&, Demotion);

struct Started {};  // the link is up and everything is there to listen
struct LinkLost {
    std::string because;
};  // the link went down, or the interface vanished
struct Heard {
    Advert advert;
    IpAddress source;
    Duration interval{};  // between the sender's adverts, as his trailer tells; 0: as base and skew say
    // From his trailer, if there is a valid one; 0 and false otherwise.
    std::uint64_t sender = 0;
    bool leaving = false;
    bool go = false;     // he hands over, to whomever
    bool to_us = false;  // to us
};
struct Present {
    IpAddress source;
    std::uint64_t sender = 0;
    Claim claim;
    bool asks = false, ready = false;
};  // rule 13: somebody stands by
struct Prepared {
    bool ready = false;
};                         // what was prepared by Prepare is there, or is not any more
struct DeadlinePassed {};  // state.deadline has come; one that has not is no event
struct Demoted {
    Demotion demotion;
};  // how unwell this node feels from now on (0: well)
struct SteppedDown {
    std::string because;
};  // the operator, or worker gone: be backup and do not lead until SteppedUp
struct SteppedUp {};
struct Stopped {
    bool at_once = false;  // without waiting for a successor
};                         // leaving for good
struct Slept {
    Duration silence;
};  // we have said nothing for longer than our lease: others may have taken over since
using Event = std::variant<Started, LinkLost, Heard, DeadlinePassed, Demoted, SteppedDown, SteppedUp, Stopped, Slept,
                           Present, Prepared>;

struct SendAdvert {
    friend bool operator==(const SendAdvert&, const SendAdvert&) = default;
};  // say our claim now
struct SendBowOut {
    friend bool operator==(const SendBowOut&, const SendBowOut&) = default;
};  // 255/255, said twice
struct SendPresence {
    bool asks = false;
    friend bool operator==(const SendPresence&, const SendPresence&) = default;
};  // tell the master we follow that we stand by, or want to lead
struct SendGo {
    std::uint64_t to = 0;
    friend bool operator==(const SendGo&, const SendGo&) = default;
};  // rule 14. Before it leaves, the addresses must have been limited to handing_until.
struct Prepare {
    bool wanted = true;
    friend bool operator==(const Prepare&, const Prepare&) = default;
};  // have everything ready to lead, but the addresses; not wanted: no longer
struct RoleChanged {
    Role from, to;
    std::string because;
    // A takeover that nobody planned: for how long the master before had said nothing. 0: any other change.
    Duration silence{};
};  // because: a sentence part, as "no advert from 10.0.0.2 for 3.08 s"
struct AnnounceAgain {
    std::string because;
};  // rule 4: tell the neighbours again where the addresses are
using Action = std::variant<SendAdvert, SendBowOut, SendPresence, SendGo, Prepare, RoleChanged, AnnounceAgain>;
// The order of actions is the order of deeds. A new master's list is SendAdvert, RoleChanged; after an agreement
// RoleChanged, SendAdvert. A leaving master's list is RoleChanged (addresses go), then SendBowOut.

struct State {
    Role role = Role::init;
    Instant deadline = Instant::max();     // backup: when patience ends; master: when the next advert is due
    Instant counts_from{};                 // where the deadline's wait began: the last advert said, or heard
    Instant since{};                       // when this role began
    Instant may_preempt = Instant::max();  // preempt_delay counts from here
    Demotion demotion = *Demotion::of(0);
    bool stepped_down = false;
    bool bow_out_pending = false;  // rule 7: the deadline is a rank, not a patience
    bool fixed_deadline = false;   // nor a beat: what changes the length of either does not move it
    bool heard_nobody = false;     // for a whole patience, while stepped down
    // What we know of the master we follow (backup) or last heard (any role), for sentences and status.
    std::optional<IpAddress> master;
    std::optional<Claim> master_claim;
    Duration master_interval{};  // as he told it; 0: he did not
    Instant last_heard{};
    std::uint64_t master_sender = 0;  // its id, if it signs
    // Rule 13, a backup's: when the next word to the master is due, and why we ask it.
    Instant presence_at = Instant::max();
    std::string asking;  // the reason; empty: we do not ask
    bool asked_by_leaving = false, prepared = false;
    Instant asking_since{}, asked_first = Instant::max(), last_asked = Instant::min();
    // Rule 14, a master's.
    Instant standby_heard = Instant::min();
    std::string leaving;  // why it wants to be rid of its role; empty: it does not
    bool leaves_for_good = false;
    Instant leaving_until{};
    std::uint64_t handing_to = 0;  // 0: to nobody
    Instant handing_until{};
    unsigned late_answers = 0;  // rule 4
    unsigned tied_over_v6 = 0;  // rule 3: ties heard over IPv6 since something came over IPv4
};

struct Step {
    State next;
    std::vector<Action> actions;
};

// When something is due: the deadline, or a word to the master.
Instant next_due(const State&);

Step step(const Settings&, const OwnAddresses&, const State&, const Event&, Instant now);

// A node that comes back within its peers' patience after having been master goes on as one (resume), instead of
// listening. Says an advert at once. Only from init; a node that is stepped down starts as usual.
Step resume(const Settings&, const State&, Instant now);

// The settings became `now_ours`, in the middle of a role. A master says a new beat at once. A backup waits on: a
// shorter patience begins now, because the master may not be reloaded yet, but does not end later than the longer one
// would have.
Step change(const Settings& before, const Settings& now_ours, const State&, Instant now);

// The advert a node says in this state, without counter and digest.
Advert claim_advert(const Settings&, const State&);
Advert bow_out_advert(const Settings&);

}  // namespace koi::carp
