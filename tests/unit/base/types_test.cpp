#include "supervisor/base/types.h"

#include <gtest/gtest.h>

#include <limits>
#include <type_traits>

namespace koi {
namespace {

template <class T>
void nothing_outside_its_bounds() {
    const std::int64_t lowest = T::min, highest = T::max;
    EXPECT_EQ(T::of(lowest)->value(), lowest);
    EXPECT_EQ(T::of(highest)->value(), highest);
    for (const std::int64_t outside : {lowest - 1, highest + 1, std::numeric_limits<std::int64_t>::min(),
                                       std::numeric_limits<std::int64_t>::max(), highest + (std::int64_t{1} << 32)})
        EXPECT_FALSE(T::of(outside)) << outside;
}

TEST(Types, NoNumberExistsOutsideItsBounds) {
    nothing_outside_its_bounds<Vhid>();
    nothing_outside_its_bounds<Weight>();
    nothing_outside_its_bounds<Port>();
    nothing_outside_its_bounds<Demotion>();
}

TEST(Types, TheBoundsAreTheProtocols) {
    EXPECT_FALSE(Vhid::of(0));
    EXPECT_TRUE(Weight::of(0)) << "0 drains";
    EXPECT_FALSE(Port::of(0));
    EXPECT_TRUE(Demotion::of(240));
    EXPECT_FALSE(Demotion::of(241));
}

TEST(Types, TheyCompareAndCannotBeMistakenForEachOther) {
    EXPECT_LT(Vhid::of(7), Vhid::of(8));
    EXPECT_EQ(Vhid::of(7), Vhid::of(7));
    static_assert(!std::is_convertible_v<Vhid, Demotion> && !std::is_constructible_v<Vhid, int>);
    static_assert(!std::is_convertible_v<Weight, Port>);
}

}  // namespace
}  // namespace koi
