// carp/instance.h
//
// One vhid, tied together: machine + seal + guard + counter, still without a socket or a clock. Bytes and instants go
// in; bytes to send and role changes come out. The speaker and the simulated lab drive the same class.
//
// Counter: the node's own (counter.h). A legacy peer's value is never adopted, and growth is never demanded of
// anybody without a trailer (carp.md 2.4).
//
// The vips and the password are in what peers sign, so while a reload goes from node to node they
// differ. For `grace` after a change the previous seal is accepted, too: reload the backups first, then the master,
// and nobody takes over.
//
// The driver must tell everything it heard before it tells DeadlinePassed for the same turn: an advert that waits in
// the socket of a node that was held up for a moment is worth more than its timer.
//
// Counts: adverts sent, accepted, refused by reason.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "carp/counter.h"
#include "carp/guard.h"
#include "carp/machine.h"
#include "carp/seal.h"

namespace koi::carp {

struct Counters {
    std::uint64_t sent = 0;
    std::uint64_t bow_outs_sent = 0;
    std::uint64_t accepted = 0;
    std::array<std::uint64_t, refusals> refused{};
    std::uint64_t became_master = 0;
    friend bool operator==(const Counters&, const Counters&) = default;
};

// Becomes bytes only when it leaves (Instance::bytes): the tag and NetBSD's checksum depend on the way.
struct Send {
    Advert advert;  // without counter and digest
    int copies = 1;
    // For the trailer: what the sender is about (machine.h, rules 13 and 14).
    bool leaving = false, asks = false, ready = false;
    std::uint64_t go_to = 0;          // 0: nobody is told to go
    std::optional<IpAddress> only{};  // not to everybody: a presence is the master's business
    friend bool operator==(const Send&, const Send&) = default;
};
// What our trailers tell beside the claim. Zero: not known.
struct Condition {
    std::uint64_t configuration = 0;  // digest of what all nodes should have in common
    std::uint16_t healthy = 0, backends = 0;
    friend bool operator==(const Condition&, const Condition&) = default;
};
// Rule 14: from now on the addresses answer until leased_until(), which is soon, and the next process must not go on
// as master. Comes before the word that lets somebody else take over.
struct HandingOver {
    friend bool operator==(const HandingOver&, const HandingOver&) = default;
};
// What the driver has to do, in this order.
using Deed = std::variant<Send, HandingOver, Prepare, RoleChanged, AnnounceAgain>;

class Instance {
public:
    Instance(Settings, Counter&);  // the counter is the node's and outlives us

    const Settings& settings() const { return settings_; }
    const State& state() const { return state_; }
    const Counters& counters() const { return counters_; }
    Instant deadline() const { return next_due(state_); }

    // The driver says when an advert of ours has really left. From there counts how long we may answer for the vips
    // without another one: the lease, and rule 12.
    void advert_left(Instant now) { last_left_ = now; }
    Instant leased_until() const {
        if (state_.role == Role::master && state_.handing_to != 0) return state_.handing_until;
        return last_left_ + lease();
    }
    // Leads, and has said nothing for too long. Whatever is taken or heard next is preceded by rule 12; a driver asks
    // this right before it sends something a master says.
    std::vector<Deed> wake(Instant now);  // rule 12, if it is due
    bool overslept(Instant now) const {
        const Duration grace_of_go = state_.handing_to != 0 ? 50ms : 0ms;  // its end is the machine's to judge
        return state_.role == Role::master && now > leased_until() + grace_of_go;
    }

    // The source address of our adverts in this family (the interface's first, vips excluded). May change, may go.
    void own_address(const IpAddress& a) { (a.is_v4() ? own_.v4 : own_.v6) = a; }
    void forget_own_address(Family f) { (f == Family::ipv4 ? own_.v4 : own_.v6).reset(); }
    const OwnAddresses& own_addresses() const { return own_; }

    std::vector<Deed> start(Instant now) { return take(Started{}, now); }
    std::vector<Deed> resume(Instant now);
    std::vector<Deed> take(const Event&, Instant now);
    // A decoded advert for this vhid and the packet it came in, whose source is not one of our own addresses. Checks
    // vhid, echo, unicast peers, the trailer and the digest first; a refusal is counted and moves nothing. Nor does a
    // presence, which is no claim.
    struct Reception {
        std::optional<Refusal> refused;
        std::optional<Refusal> doubt;    // heard as plain CARP although its trailer is not valid (guard.h)
        std::optional<Trailer> trailer;  // valid
        Replay::News news = Replay::News::nothing;
        // Ours by its trailer, but with another password or list of vips: heard, because it lives.
        bool other_vips = false;
        std::vector<Deed> deeds;
    };
    Reception hear(const Advert&, const Packet&, Instant now, WallTime);
    // What leaves for this way now, with the next counter. Two copies are two packets.
    std::vector<std::uint8_t> bytes(const Send&, const Envelope&, Instant now, WallTime);
    void tell(const Condition& c) { condition_ = c; }
    Guard& guard() { return guard_; }
    const Guard& guard() const { return guard_; }
    void refuse(Refusal why) { ++counters_.refused[static_cast<std::size_t>(why)]; }

    // A reload that keeps the vhid: new settings, same role. Timers follow the new beat from now on, and a master
    // says a new beat at once. Equal settings change nothing.
    std::vector<Deed> change(Settings, Instant now);
    static constexpr Duration grace = 60s;

    // Everything but the settings, which it is made with: for a program that replaces this one in the middle of a
    // role.
    struct Whole {
        State state;
        Instant last_left{};
        Counters counters;
        std::optional<Settings> previous;  // whose seal counts until
        Instant previous_until{};
        Guard::Whole guard;
    };
    Whole whole() const;
    void restore(const Whole&);

private:
    std::vector<Deed> perform(Step, Instant now);
    Duration lease() const { return lease_length(settings_, sent_skew(settings_, state_.demotion)); }
    std::optional<Refusal> objection(const Advert&, const IpAddress& source) const;
    bool digest_fits(const Advert&, Instant now) const;

    Settings settings_;
    Seal seal_;
    std::optional<Settings> previous_;  // as long as its seal is kept
    std::optional<Seal> previous_seal_;
    Instant previous_until_{};
    OwnAddresses own_;
    State state_;
    Instant last_left_{};
    Counters counters_;
    Counter& counter_;
    Guard guard_;
    Condition condition_;
};

}  // namespace koi::carp
