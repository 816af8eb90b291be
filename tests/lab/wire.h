// tests/lab/wire.h
//
// A shared segment in memory. It carries whole packets from one place to every other, each on its own way: a way may
// be cut in one direction alone. The segment keeps the order of what it carries, as a switch does. Noise loses,
// doubles and delays what passes; delayed packets overtake each other.
#pragma once

#include <cstddef>
#include <vector>

#include "supervisor/base/clock.h"
#include "tests/lab/dice.h"

namespace koi::lab {

struct Noise {
    int loss = 0;         // percent
    int duplication = 0;  // percent
    Duration delay{};     // on top of the segment's own, at most
};

class Wire {
public:
    static constexpr Duration fastest = 50us, slowest = 300us;  // the segment's own delay

    void add_place();  // connected with all others
    std::size_t places() const { return places_; }

    void cut(std::size_t from, std::size_t to) { open(from, to) = false; }
    void mend(std::size_t from, std::size_t to) { open(from, to) = true; }
    bool carries(std::size_t from, std::size_t to) const { return ways_[from * most_places + to]; }

    void noise(Noise n) { noise_ = n; }
    const Noise& noise() const { return noise_; }

    // When a packet that leaves now arrives: never, once or twice.
    std::vector<Instant> arrivals(std::size_t from, std::size_t to, Instant now, Dice&);

private:
    static constexpr std::size_t most_places = 16;
    std::vector<bool>::reference open(std::size_t from, std::size_t to) { return ways_[from * most_places + to]; }

    std::size_t places_ = 0;
    std::vector<bool> ways_ = std::vector<bool>(most_places * most_places, true);
    std::vector<Instant> last_ = std::vector<Instant>(most_places * most_places);  // arrival on each way, noise apart
    Noise noise_;
};

}  // namespace koi::lab
