// supervisor/base/types.h
//
// Numbers that mean one thing, inside their bounds from birth. of() is the only way in; afterwards nobody checks
// again.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>

namespace koi {

template <class Meaning, class Rep, Rep lowest, Rep highest>
class Bounded {
public:
    static constexpr Rep min = lowest;
    static constexpr Rep max = highest;

    static constexpr std::optional<Bounded> of(std::int64_t n) {
        if (n < static_cast<std::int64_t>(lowest) || n > static_cast<std::int64_t>(highest)) return std::nullopt;
        return Bounded(static_cast<Rep>(n));
    }
    constexpr Rep value() const { return value_; }
    friend constexpr auto operator<=>(const Bounded&, const Bounded&) = default;

private:
    explicit constexpr Bounded(Rep n) : value_(n) {}
    Rep value_;
};

using Vhid = Bounded<struct VhidMeaning, std::uint8_t, 1, 255>;         // a group of vips that move together
using Weight = Bounded<struct WeightMeaning, std::uint16_t, 0, 65535>;  // share of new connections; 0 drains
using Port = Bounded<struct PortMeaning, std::uint16_t, 1, 65535>;
using Demotion = Bounded<struct DemotionMeaning, std::uint8_t, 0, 240>;  // how unwell a node says it is; carp.md 3.3

}  // namespace koi
