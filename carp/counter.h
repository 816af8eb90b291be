// carp/counter.h
//
// The number in our adverts that only grows: across crashes, reboots and clocks that are set back. Between Koi nodes
// it stops replays (carp.md 5.4); other implementations let any number pass. One per node, for all of its vhids.
//
//     K = the larger of: one more than the last, and the wall clock's microseconds
//
// The wall clock lifts K above what a lost or old file remembers; nothing ever lowers it. What was said last survives
// in a file as a reservation: a number above all that may be said before the file is written again. Writing is the
// driver's business, and no advert waits for it: a disk that hangs only weakens what a crash *and* a clock set back
// would need.
#pragma once

#include <cstdint>

#include "supervisor/base/clock.h"

namespace koi::carp {

class Counter {
public:
    // What a file keeps. A node without one is a new node: sender random, high 0.
    struct Kept {
        std::uint64_t sender = 0;
        std::uint16_t session = 0;
        std::uint64_t high = 0;  // nothing above it was ever said
        friend bool operator==(const Kept&, const Kept&) = default;
    };
    // Goes on above everything said before; a start is a new session.
    explicit Counter(const Kept&);

    std::uint64_t sender() const { return kept_.sender; }
    std::uint16_t session() const { return kept_.session; }
    // Another host has our identity, too. The numbers go on: to everybody else we are a new sender.
    void become(std::uint64_t sender) { kept_.sender = sender; }
    std::uint64_t next(WallTime);
    // May receivers hold our numbers against their own clock? (flag "clock")
    static bool tells_time(std::uint64_t k, WallTime);

    // Should the file be written? A reservation lasts 10 s of wall clock; it is renewed after 5.
    bool wants_keeping() const { return last_ + lead / 2 > kept_.high; }
    Kept reserve();  // for the file
    Kept close();    // for the file, at a clean end: exactly what was said

    // For a program that replaces this one and goes on in the same session.
    struct Whole {
        Kept kept;
        std::uint64_t last = 0;
        friend bool operator==(const Whole&, const Whole&) = default;
    };
    Whole whole() const { return {kept_, last_}; }
    static Counter go_on(const Whole& all) {
        Counter same(all.kept);
        same.kept_ = all.kept;  // no new session
        same.last_ = all.last;
        return same;
    }

    static constexpr std::uint64_t lead = 10'000'000;  // µs

private:
    Kept kept_;
    std::uint64_t last_;
};

}  // namespace koi::carp
