#include "ipvs/diff.h"

#include <gtest/gtest.h>

#include "tests/unit/ipvs/any_table.h"

namespace koi::ipvs {

namespace {

const ServiceKey web = tcp("192.0.2.10", 80), dns = udp("192.0.2.10", 53), mail = tcp("192.0.2.10", 25);
const BackendKey seven = at("10.0.0.7", 8080), eight = at("10.0.0.8", 8080), nine = at("10.0.0.9", 8080);

std::string told(const std::vector<Change>& changes) {
    std::string out;
    for (const auto& change : changes) out += text(change) + "\n";
    return out;
}

}  // namespace

TEST(Diff, ApplyingTheDifferenceGivesTheDesiredTable) {
    for (unsigned seed = 0; seed < 2000; ++seed) {
        std::mt19937 dice(seed);
        const Table observed = any_table(dice), desired = any_table(dice);
        ASSERT_EQ(after(observed, diff(observed, desired)), desired) << "seed " << seed;
        ASSERT_TRUE(diff(desired, desired).empty()) << "seed " << seed;
    }
}

TEST(Diff, NothingOfTheSameIsSentTwice) {
    for (unsigned seed = 0; seed < 2000; ++seed) {
        std::mt19937 dice(seed);
        const Table observed = any_table(dice), desired = any_table(dice);
        auto table = observed;
        for (const auto& change : diff(observed, desired)) {
            const auto next = after(table, {change});
            ASSERT_NE(next, table) << "seed " << seed << ": " << text(change) << " changes nothing";
            table = next;
        }
    }
}

TEST(Diff, ArrivalsComeBeforeDepartures) {
    const Table observed{{dns, {{}, {{seven, {}}}}}, {web, {{}, {{seven, {}}, {eight, {}}}}}};
    const Table desired{{mail, {{}, {{nine, {}}}}},
                        {web, {{.scheduler = "mh"}, {{eight, {.weight = 0}}, {nine, {}}}}}};
    EXPECT_EQ(told(diff(observed, desired)),
              "add service 192.0.2.10:25/tcp (wrr)\n"
              "add backend 10.0.0.9:8080 to 192.0.2.10:25/tcp (nat, weight 1)\n"
              "edit service 192.0.2.10:80/tcp (mh)\n"
              "add backend 10.0.0.9:8080 to 192.0.2.10:80/tcp (nat, weight 1)\n"
              "edit backend 10.0.0.8:8080 of 192.0.2.10:80/tcp (nat, weight 0)\n"
              "remove backend 10.0.0.7:8080 from 192.0.2.10:80/tcp\n"
              "remove service 192.0.2.10:53/udp\n");
}

// The weight a service can give new connections never falls below what it was before and what it will be after.
TEST(Diff, CapacityNeverDipsBelowBoth) {
    for (unsigned seed = 0; seed < 2000; ++seed) {
        std::mt19937 dice(seed);
        const Table observed = any_table(dice), desired = any_table(dice);
        auto table = observed;
        const auto working = [](const Table& t, const ServiceKey& key) {
            std::size_t n = 0;
            for (const auto& [backend, value] : t.at(key).backends) n += value.weight > 0;
            return n;
        };
        for (const auto& change : diff(observed, desired)) {
            table = after(table, {change});
            for (const auto& [key, entry] : desired)
                if (observed.contains(key)) {
                    ASSERT_GE(working(table, key), std::min(working(observed, key), working(desired, key)))
                        << "seed " << seed << " after: " << text(change);
                }
        }
    }
}

TEST(Diff, BackendsArriveInOneOrderWhateverTheTableWas) {
    const Table desired{{web, {{.scheduler = "mh"}, {{nine, {}}, {seven, {}}, {eight, {}}}}}};
    EXPECT_EQ(told(diff({}, desired)),
              "add service 192.0.2.10:80/tcp (mh)\n"
              "add backend 10.0.0.7:8080 to 192.0.2.10:80/tcp (nat, weight 1)\n"
              "add backend 10.0.0.8:8080 to 192.0.2.10:80/tcp (nat, weight 1)\n"
              "add backend 10.0.0.9:8080 to 192.0.2.10:80/tcp (nat, weight 1)\n");
}

TEST(Diff, ADrainedBackendOfMhArrivesWithItsNominalWeight) {
    Table desired{
        {web, {{.scheduler = "mh"}, {{seven, {.weight = 0, .nominal_weight = 5}}, {eight, {.weight = 0}}}}}};
    EXPECT_EQ(told(diff({}, desired)),
              "add service 192.0.2.10:80/tcp (mh)\n"
              "add backend 10.0.0.7:8080 to 192.0.2.10:80/tcp (nat, weight 5)\n"
              "edit backend 10.0.0.7:8080 of 192.0.2.10:80/tcp (nat, weight 0)\n"
              "add backend 10.0.0.8:8080 to 192.0.2.10:80/tcp (nat, weight 1)\n"
              "edit backend 10.0.0.8:8080 of 192.0.2.10:80/tcp (nat, weight 0)\n");
    desired.at(web).service.scheduler = "wrr";
    EXPECT_EQ(diff({}, desired).size(), 3u);
    EXPECT_EQ(after({}, diff({}, desired)), desired);
}

TEST(Diff, AServiceTakesItsBackendsWithIt) {
    const Table observed{{web, {{}, {{seven, {}}, {eight, {}}}}}};
    EXPECT_EQ(told(diff(observed, {})), "remove service 192.0.2.10:80/tcp\n");
}

TEST(Diff, OnlyOursIsCompared) {
    const Table observed{{dns, {}}, {web, {}}};
    const Table ours = only(observed, {web, mail});
    EXPECT_EQ(ours, (Table{{web, {}}}));
    EXPECT_EQ(told(diff(ours, {})), "remove service 192.0.2.10:80/tcp\n");
}

TEST(DiffDeathTest, AChangeForAServiceWeDoNotHaveIsABrokenPromise) {
    EXPECT_DEATH(after({}, {AddBackend{web, seven, {}}}), "broken promise");
}

}  // namespace koi::ipvs
