// carp/settings.h — what one vhid needs to be told. Values are already inside their bounds (carp.md 3.4).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "supervisor/base/address.h"
#include "supervisor/base/clock.h"
#include "supervisor/base/types.h"

namespace koi::carp {

using Advbase = Bounded<struct AdvbaseMeaning, std::uint8_t, 0, 254>;  // seconds
using Advskew = Bounded<struct AdvskewMeaning, std::uint8_t, 0, 254>;  // 1/256 s

// Which link-local IPv6 address of the vhid is in the digest we send. Both are accepted on receipt (carp.md 2.3).
enum class LinkLocal { exclude, include };

// NetBSD 10 sums the IPv6 pseudo-header into the CARP checksum, everybody else does not (carp.md 1.2). Both are
// accepted.
enum class V6Checksum { plain, pseudo };

// How long the kernel lets a vip answer after our last advert (lease_length below). automatic: a little less than the
// least patient peer waits, so that we are silent before it takes over.
struct Lease {
    enum class Kind { automatic, off, fixed } kind = Kind::automatic;
    Duration length{};  // fixed
    friend bool operator==(const Lease&, const Lease&) = default;
};

// The authenticated trailer between Koi nodes (guard.h).
struct Auth {
    enum class Mode { off, prefer, require } mode = Mode::off;
    std::map<std::uint8_t, std::string> keys;  // by id 1–255, at least 32 bytes each; the highest signs
    std::vector<IpAddress> legacy_peers;       // prefer: who alone may speak without; empty: anybody
    friend bool operator==(const Auth&, const Auth&) = default;
};

struct Settings {
    Vhid vhid = *Vhid::of(1);
    std::string interface;
    std::vector<IpAddress> addresses;  // the vips, both families, any order, without masks: they are in the digest
    std::string password;              // 1–19 bytes, raw
    Advbase advbase = *Advbase::of(1);
    Advskew advskew = *Advskew::of(0);
    bool preempt = true;
    Duration preempt_delay{};      // after becoming backup from init, before a worse master is pushed aside
    std::vector<IpAddress> peers;  // unicast; empty = multicast
    LinkLocal link_local = LinkLocal::exclude;
    V6Checksum v6_checksum = V6Checksum::plain;
    Lease lease;
    Auth auth;
    Duration interval{};  // between adverts, told to Koi peers in the trailer; 0: as advbase and advskew say

    friend bool operator==(const Settings&, const Settings&) = default;
};

// advbase + advskew/256 s, and never less than 1/256 s: the time between two adverts.
Duration beat(Advbase, Advskew);
// How long a backup waits for its master (carp.md 3.1): 3·advbase + advskew/256 s as everybody computes it; with
// advbase 0 that would be a single interval, so 3·advskew/256 s as OpenBSD has it, and never less than 3/256 s.
Duration patience(Advbase, Advskew);

// The time between our own adverts: our interval if we sign a trailer to tell it in, else beat() of what is sent.
Duration beat(const Settings&, Advskew sent);
// How long a backup that sends this skew waits for a master that told his interval: three of them, and a fraction of
// one by which the better waits less. Nobody's interval counts as less than 50 ms.
Duration patience(Duration interval, Advskew);
constexpr Duration shortest_interval = 50ms;

// How long the least patient peer that could be waits for a master that sends this skew (demotion included): three of
// our intervals where we tell one, else three of our bases, or three of its beats where the base is 0. What peers
// really wait depends on their own skews, which only makes them wait longer.
Duration least_patience(const Settings&, Advskew sent);
// How long after our last advert we may still answer for the vips. lease: off does not change it: it is what we allow
// ourselves, whether or not the kernel enforces it. automatic: least_patience less a margin of a twentieth of it,
// at least 20 ms (a kernel's clock ticks each 4 or 10 ms, and the lease is renewed just after the advert has left).
// fixed: as written, unless that is longer, or would not outlast a beat that demotion has made longer.
Duration lease_length(const Settings&, Advskew sent);

}  // namespace koi::carp
