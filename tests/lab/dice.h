// tests/lab/dice.h — luck that can be repeated: the same seed throws the same numbers on every machine.
#pragma once

#include <cstdint>
#include <span>

#include "supervisor/base/clock.h"

namespace koi::lab {

class Dice {
public:
    explicit Dice(std::uint64_t seed) : state_(seed) {}

    // SplitMix64 (Steele, Lea and Flood 2014): a whole generator in four lines.
    std::uint64_t throw_once() {
        std::uint64_t z = (state_ += 0x9E3779B97F4A7C15u);
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
        return z ^ (z >> 31);
    }

    int between(int lowest, int highest) {  // both included
        const auto sides = static_cast<std::uint64_t>(highest - lowest) + 1;
        return lowest + static_cast<int>(throw_once() % sides);
    }
    Duration between(Duration shortest, Duration longest) {
        const auto sides = static_cast<std::uint64_t>((longest - shortest).count()) + 1;
        return shortest + Duration(static_cast<std::int64_t>(throw_once() % sides));
    }
    bool chance(int percent) { return percent > 0 && between(1, 100) <= percent; }

private:
    std::uint64_t state_;
};

}  // namespace koi::lab
