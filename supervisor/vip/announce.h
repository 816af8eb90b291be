// supervisor/vip/announce.h
//
// Tells the neighbours where an address lives now: gratuitous ARP for IPv4, unsolicited neighbour advertisements for
// IPv6 (ipvs.md 6.3, carp.md 3.6).
//
//   1. at 0, 0.05, 0.25, 1, 2 and 5 s after an address was taken, because some switches ignore the first;
//   2. from the beginning again whenever another master is heard for an address we hold, or the carrier comes back;
//   3. once a minute while we hold it.
//   4. ARP is sent as a request (Linux believes that at once) and as a reply whose target MAC is the sender's (for
//      gear that wants replies).
//
// More than 50 addresses are announced in groups of 50 with a rest of 50 ms between them, one per millisecond.
//
// Also the question whether a stranger answers for the address already (RFC 5227 probe; neighbour solicitation from
// ::), and reading the answers.
//
// Promises: pure. The timetable never says anything about an address after it was let go.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "supervisor/base/clock.h"
#include "supervisor/vip/kernel_addresses.h"

namespace koi::vip {

using Frame = std::vector<std::uint8_t>;  // whole Ethernet frame

std::vector<Frame> announcement(const IpAddress& vip, const Mac&, bool router);
Frame probe(const IpAddress& vip, const Mac&);

// Somebody else says this vip is his. From an ARP packet (sender address = vip, sender MAC not ours) or a neighbour
// advertisement (target = vip, another MAC). nullopt: not about these vips, or our own.
struct Stranger {
    IpAddress vip;
    Mac mac;
    friend bool operator==(const Stranger&, const Stranger&) = default;
};
std::optional<Stranger> claims(std::span<const std::uint8_t> frame, const std::set<IpAddress>& vips, const Mac& ours);

class Timetable {
public:
    void take(const Held&, Instant now);    // rule 1
    void hold(const Held&, Instant now);    // rule 3: it was taken and said long ago
    void repeat(const Held&, Instant now);  // rule 2; nothing if it is not held
    void let_go(const Held&);
    std::vector<Held> due(Instant now);  // and moves on
    Instant next() const;                // Instant::max() when nothing is held

private:
    struct Entry {
        Instant next;
        std::size_t step = 0;
        std::optional<Instant> said = std::nullopt;
    };
    std::map<Held, Entry> entries_;
    Instant rest_until_{};
};

}  // namespace koi::vip
