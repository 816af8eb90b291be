// carp/replay.h
//
// What one vhid has heard from whom, so that a recorded advert is worth nothing (carp.md 5.4). For each sender id and
// family the last counter; only growth is accepted, and over one family nothing that is seconds behind the other one.
// A node that we have not heard since we started, be it new to us or known from before, is believed if its counter
// fits our clock, where both of us have one: what was recorded while we were down is not of now.
//
// judge() costs a look into a table and comes before the hashing; only a valid tag may make remember() be called, so
// strangers cannot fill the table. It survives our restarts: recall() and all().
//
// A packet that a paused guest, or an attacker, held back and that is still the next in line is accepted, because the
// two look the same; remember() says so.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "carp/counter.h"
#include "carp/trailer.h"
#include "supervisor/base/clock.h"

namespace koi::carp {

class Replay {
public:
    static constexpr std::size_t most_senders = 32;

    // replayed, stale_clock or table_full, or nothing against it.
    std::optional<Refusal> judge(const Trailer&, std::uint64_t counter, Family, Instant now, WallTime) const;

    enum class News { nothing, newcomer, late };
    News remember(const Trailer&, std::uint64_t counter, Family, Instant now);

    struct Line {
        std::uint64_t sender = 0;
        Family family = Family::ipv4;
        std::uint64_t counter = 0;
        friend bool operator==(const Line&, const Line&) = default;
    };
    std::vector<Line> all() const;
    void recall(const std::vector<Line>&, Instant now);

    // Everything, for a program that replaces this one.
    struct Remembered {
        std::uint64_t sender = 0;
        Family family = Family::ipv4;
        std::uint64_t counter = 0;
        std::uint16_t session = 0;
        bool clock = false;
        Instant heard{};
        bool recalled = false;
        friend bool operator==(const Remembered&, const Remembered&) = default;
    };
    std::vector<Remembered> whole() const;
    void restore(const std::vector<Remembered>&);

private:
    struct Entry {
        std::uint64_t counter = 0;
        std::uint16_t session = 0;
        bool clock = false;  // and so comparable with the next one's
        Instant heard{};
        bool recalled = false;  // known from an earlier life of ours, and not heard since
    };
    using Key = std::pair<std::uint64_t, Family>;
    bool knows(std::uint64_t sender) const;
    std::uint64_t highest(std::uint64_t sender) const;  // over either family; 0: never heard
    bool was_heard(std::uint64_t sender) const;         // since we started
    bool has_room(Instant now, bool fits_clock) const;

    std::map<Key, Entry> heard_;
};

}  // namespace koi::carp
