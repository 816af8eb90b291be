// tests/lab/attacker.h
//
// Somebody on the wire who records every packet and says it again, later, as it was or edited, from the address it
// came from, to any node. For labs in which every node requires a trailer: then nothing may be accepted but what a
// node said just so, and each counter only once and upwards.
//
// A packet that never reached a node and is still the next in line for it is not sent there: a slow wire would look
// the same (carp/replay.h), and noise brings enough of them.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "tests/lab/lab.h"

namespace koi::lab {

class Attacker {
public:
    // The lab must outlive it, and have no nodes yet that spoke.
    Attacker(Lab&, std::uint64_t seed);

    void watch(Node&);  // once for each node that could be deceived
    void strike();      // one packet to one node

    const std::string& broken() const { return broken_; }  // empty: nobody was deceived so far
    std::uint64_t replayed() const { return replayed_; }
    std::uint64_t forged() const { return forged_; }

private:
    const Packet& any_record();
    Packet edited(Packet);
    bool is_genuine(const Packet&) const;
    std::uint64_t newest(const Node&, const Packet&) const;  // counter that this node accepted from this source
    void accepted(const Node&, const Packet&);

    Lab& lab_;
    Dice dice_;
    std::vector<Packet> records_;
    std::unordered_set<std::uint64_t> genuine_;
    std::map<std::pair<std::size_t, IpAddress>, std::uint64_t> newest_;
    std::uint64_t replayed_ = 0, forged_ = 0;
    std::string broken_;
};

}  // namespace koi::lab
