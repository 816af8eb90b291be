#include "supervisor/vip/address_set.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace koi::vip {
namespace {

Held held(std::string_view prefix, std::string interface = "eth0") {
    return {std::move(interface), *Prefix::parse(prefix)};
}

std::string text(const std::vector<AddressChange>& changes) {
    std::string out;
    for (const auto& change : changes) {
        if (const auto* add = std::get_if<AddAddress>(&change)) out += "+ " + add->held.text() + "\n";
        if (const auto* remove = std::get_if<RemoveAddress>(&change)) out += "- " + remove->held.text() + "\n";
    }
    return out;
}

TEST(AddressSet, AnAddressSaysWhereItIs) {
    EXPECT_EQ(held("192.0.2.10/24").text(), "192.0.2.10/24 on eth0");
    EXPECT_EQ(held("2001:db8::10", "bond0.7").text(), "2001:db8::10/128 on bond0.7");
}

TEST(AddressSet, NewAddressesComeBeforeOldOnesGo) {
    EXPECT_EQ(text(diff({held("192.0.2.1/24"), held("192.0.2.9/24")}, {held("192.0.2.1/24"), held("192.0.2.10/24")})),
              "+ 192.0.2.10/24 on eth0\n"
              "- 192.0.2.9/24 on eth0\n");
}

TEST(AddressSet, TheLastOneToComeIsTheFirstToGo) {
    const std::set<Held> three = {held("192.0.2.1/24"), held("192.0.2.2/24"), held("192.0.2.3/24")};
    EXPECT_EQ(text(diff({}, three)), "+ 192.0.2.1/24 on eth0\n+ 192.0.2.2/24 on eth0\n+ 192.0.2.3/24 on eth0\n");
    EXPECT_EQ(text(diff(three, {})), "- 192.0.2.3/24 on eth0\n- 192.0.2.2/24 on eth0\n- 192.0.2.1/24 on eth0\n");
}

TEST(AddressSet, AnAddressThatMovesLeavesBeforeItArrives) {
    EXPECT_EQ(text(diff({held("192.0.2.10/24", "eth0")}, {held("192.0.2.10/24", "eth1"), held("192.0.2.11/24")})),
              "+ 192.0.2.11/24 on eth0\n"
              "- 192.0.2.10/24 on eth0\n"
              "+ 192.0.2.10/24 on eth1\n");
    EXPECT_EQ(text(diff({held("2001:db8::10/64")}, {held("2001:db8::10/128")})),
              "- 2001:db8::10/64 on eth0\n"
              "+ 2001:db8::10/128 on eth0\n");
}

std::set<Held> any_set(std::mt19937& dice) {
    std::map<IpAddress, Held> chosen;  // never one address twice
    for (auto n = dice() % 6; n > 0; --n) {
        const auto address = IpAddress::v4({192, 0, 2, static_cast<std::uint8_t>(dice() % 5)});
        chosen[address] =
            Held{dice() % 2 ? "eth0" : "eth1", {address, static_cast<std::uint8_t>(dice() % 2 ? 24 : 32)}};
    }
    std::set<Held> out;
    for (const auto& [address, where] : chosen) out.insert(where);
    return out;
}

// The law: the changes lead from one set to the other, no address is ever there twice, what stays is never touched.
TEST(AddressSet, ApplyingTheDifferenceGivesTheDesiredSetAndNeverOneAddressTwice) {
    for (unsigned seed = 0; seed < 2000; ++seed) {
        std::mt19937 dice(seed);
        const auto observed = any_set(dice), desired = any_set(dice);
        auto now = observed;
        for (const auto& change : diff(observed, desired)) {
            if (const auto* remove = std::get_if<RemoveAddress>(&change)) {
                ASSERT_FALSE(desired.contains(remove->held)) << "seed " << seed;
                ASSERT_EQ(now.erase(remove->held), 1u) << "seed " << seed;
            } else {
                ASSERT_TRUE(now.insert(std::get<AddAddress>(change).held).second) << "seed " << seed;
            }
            std::set<IpAddress> addresses;
            for (const auto& one : now) ASSERT_TRUE(addresses.insert(one.prefix.address).second) << "seed " << seed;
        }
        ASSERT_EQ(now, desired) << "seed " << seed;
        ASSERT_TRUE(diff(desired, desired).empty());
    }
}

}  // namespace
}  // namespace koi::vip
