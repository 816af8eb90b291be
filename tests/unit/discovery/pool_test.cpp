// The rules of discovery/pool.h, by their numbers.
#include "discovery/pool.h"

#include <gtest/gtest.h>

#include <random>

namespace koi::discovery {
namespace {

Endpoint at(const std::string& place) { return *Endpoint::parse(place); }

Snapshot list(const std::vector<std::string>& places) {
    Snapshot out;
    for (const auto& place : places) out.emplace(at(place), *Weight::of(1));
    return out;
}

const Endpoint a = at("10.0.0.1:80"), b = at("10.0.0.2:80");
const Snapshot none, only_a = list({"10.0.0.1:80"}), both = list({"10.0.0.1:80", "10.0.0.2:80"});
constexpr Instant start{1h};
const PoolSettings settings{.name = "web", .source = {}, .port = {}, .hold_empty = 30s, .drain = 10s};

Pool pool_of(const Snapshot& members) { return believe({}, members, settings, start); }

// A pool's life on one line, a letter a second. Told: "2" both members, "1" only a, "0" an empty list, "x" a failure,
// "." nothing. Seen: how many members, with "d" added while one drains.
std::string life(const std::string& told, const PoolSettings& with) {
    Pool pool;
    Instant now = start;
    std::string seen;
    for (const char word : told) {
        pool = pass_time(std::move(pool), with, now);
        if (word == '2') pool = believe(std::move(pool), both, with, now);
        if (word == '1') pool = believe(std::move(pool), only_a, with, now);
        if (word == '0') pool = believe(std::move(pool), none, with, now);
        if (word == 'x') pool = fail(std::move(pool), "no answer", now);
        seen += pool.members ? static_cast<char>('0' + pool.members->size()) : '-';
        seen += pool.draining.empty() ? ' ' : 'd';
        now += 1s;
    }
    return seen;
}

TEST(Pool, OfWhichNothingWasHeardHasNoMembersNotZero) {
    EXPECT_FALSE(Pool{}.members.has_value());
    EXPECT_FALSE(fail({}, "no answer", start).members.has_value());
    EXPECT_EQ(next_deadline({}, settings), Instant::max());
}

TEST(Pool, Rule1_AFailureChangesNoMemberAndSaysHowLongItLasts) {
    Pool pool = fail(pool_of(both), "no answer", start + 5s);
    pool = fail(std::move(pool), "still no answer", start + 9s);
    EXPECT_EQ(pool.members, both);
    EXPECT_EQ(pool.failing_since, start + 5s);
    EXPECT_EQ(pool.failure, "still no answer");
    EXPECT_EQ(pool.heard, start);
    pool = believe(std::move(pool), both, settings, start + 12s);
    EXPECT_FALSE(pool.failure);
    EXPECT_EQ(pool.heard, start + 12s);
    EXPECT_EQ(pool.changed, start) << "the same list is no change";
}

TEST(Pool, Rule2_AMemberThatIsGoneDrainsAndOneThatComesBackIsAMemberAgain) {
    PoolSettings quick = settings;
    quick.drain = 3s;
    EXPECT_EQ(life("2.1......", quick), "2 2 1d1d1d1 1 1 1 ");
    EXPECT_EQ(life("2.1.2....", quick), "2 2 1d1d2 2 2 2 2 ");
    quick.drain = 0s;
    EXPECT_EQ(life("2.1", quick), "2 2 1 ") << "drain 0: removed at once";
}

TEST(Pool, Rule2_AnIdleMemberNeedNotDrainAnyLonger) {
    Pool pool = believe(pool_of(both), only_a, settings, start + 1s);
    EXPECT_EQ(pool.draining, (std::map<Endpoint, Instant>{{b, start + 11s}}));
    EXPECT_EQ(next_deadline(pool, settings), start + 11s);
    pool = drained(std::move(pool), b);
    EXPECT_TRUE(pool.draining.empty());
    EXPECT_EQ(next_deadline(pool, settings), Instant::max());
}

TEST(Pool, Rule2_ADrainGoesOnFromTheFirstAbsence) {
    Pool pool = believe(pool_of(both), only_a, settings, start + 1s);
    pool = believe(std::move(pool), only_a, settings, start + 8s);
    EXPECT_EQ(pool.draining.at(b), start + 11s);
}

TEST(Pool, Rule3_AnEmptyListIsHeldAndThenBelieved) {
    PoolSettings held = settings;
    held.hold_empty = 3s;
    held.drain = 2s;
    EXPECT_EQ(life("2.0......", held), "2 2 2 2 2 0d0d0 0 ");
    EXPECT_EQ(life("2.0.0....", held), "2 2 2 2 2 0d0d0 0 ") << "hearing it again does not start the question anew";
    held.hold_empty = 0s;
    EXPECT_EQ(life("2.0.", held), "2 2 0d0d") << "hold_empty 0: believed at once";
}

TEST(Pool, Rule3_AListWithMembersEndsTheQuestion) {
    PoolSettings held = settings;
    held.hold_empty = 3s;
    EXPECT_EQ(life("2.0.2.....", held), "2 2 2 2 2 2 2 2 2 2 ");
    EXPECT_EQ(life("2.0.2.0..", held), "2 2 2 2 2 2 2 2 2 ") << "a new question, with its own patience";
}

TEST(Pool, Rule3_WhileTheSourceFailsAnEmptyListIsNotBelieved) {
    PoolSettings held = settings;
    held.hold_empty = 3s;
    held.drain = 0s;
    EXPECT_EQ(life("2.0x......", held), "2 2 2 2 2 2 2 2 2 2 ");
    EXPECT_EQ(life("2.0x...0..", held), "2 2 2 2 2 2 2 0 0 0 ") << "it is still empty: the time has passed";
    const Pool failing = fail(believe(pool_of(both), none, held, start), "no answer", start + 1s);
    EXPECT_EQ(next_deadline(failing, held), Instant::max());
}

TEST(Pool, Rule3_WhereThereWasNoMemberThereIsNothingToHold) { EXPECT_EQ(life("0.2", settings), "0 0 2 "); }

TEST(Pool, Rule4_WhoIsFoundAndIsNoMemberDrainsFromNow) {
    const Pool pool = adopt(pool_of(only_a), {a, b}, settings, start + 1s);
    EXPECT_EQ(pool.draining, (std::map<Endpoint, Instant>{{b, start + 11s}}));
    EXPECT_EQ(pool.members, only_a);
    EXPECT_EQ(pool.changed, start) << "nobody joined and nobody left";
    EXPECT_TRUE(pass_time(pool, settings, start + 11s).draining.empty());
    EXPECT_TRUE(believe(pool, both, settings, start + 2s).draining.empty()) << "it is back";
    PoolSettings at_once = settings;
    at_once.drain = 0s;
    EXPECT_TRUE(adopt(pool_of(only_a), {b}, at_once, start).draining.empty()) << "drain 0: removed at once";
}

TEST(Pool, Rule4_NothingIsAdoptedBeforeTheMembersAreKnownNorTwice) {
    Pool pool = adopt(fail({}, "no answer", start), {b}, settings, start);
    EXPECT_TRUE(pool.draining.empty());
    EXPECT_FALSE(may_adopt(pool));
    pool = believe(std::move(pool), only_a, settings, start + 1s);
    EXPECT_TRUE(may_adopt(pool)) << "it was not asked yet";
    pool = adopt(std::move(pool), {}, settings, start + 1s);
    EXPECT_FALSE(may_adopt(pool));
    EXPECT_TRUE(adopt(std::move(pool), {b}, settings, start + 2s).draining.empty())
        << "what appears later is not ours";
}

TEST(Pool, Rule4_WhoLeftInThisLifeKeepsItsTime) {
    const Pool pool = believe(pool_of(both), only_a, settings, start + 1s);
    EXPECT_EQ(adopt(pool, {b}, settings, start + 5s).draining.at(b), start + 11s);
}

TEST(Pool, AListFromDiskIsHeldLikeAnyOtherUntilTheSourceAnswers) {
    Pool pool;
    pool.members = both;
    pool.from_disk = true;
    const Pool held = believe(pool, none, settings, start);
    EXPECT_EQ(held.members, both);
    EXPECT_TRUE(held.from_disk);
    const Pool heard = believe(pool, only_a, settings, start);
    EXPECT_FALSE(heard.from_disk);
    EXPECT_TRUE(heard.draining.contains(b));
}

TEST(Pool, AChangeOfWeightIsAChange) {
    Snapshot heavier = both;
    heavier.at(a) = *Weight::of(7);
    const Pool pool = believe(pool_of(both), heavier, settings, start + 4s);
    EXPECT_EQ(pool.changed, start + 4s);
    EXPECT_TRUE(pool.draining.empty());
}

TEST(Pool, TheNextDeadlineIsTheNearest) {
    const PoolSettings held{.name = "web", .source = {}, .port = {}, .hold_empty = 5s, .drain = 10s};
    Pool pool = believe(pool_of(both), only_a, held, start);
    pool = believe(std::move(pool), none, held, start + 1s);
    EXPECT_EQ(next_deadline(pool, held), start + 6s) << "the question";
    pool = pass_time(std::move(pool), held, start + 6s);
    EXPECT_EQ(next_deadline(pool, held), start + 10s) << "the drain of b; a drains until 16";
}

// The law: whatever is told in whatever order, nobody is member and draining at once, pass_time() at the deadline
// makes progress, and in the end the pool is what the source said last.
TEST(Pool, NobodyIsAMemberAndDrainsAtOnceAndPatienceEnds) {
    for (unsigned seed = 0; seed < 500; ++seed) {
        std::mt19937 dice(seed);
        const auto roll = [&](unsigned sides) { return dice() % sides; };
        Pool pool;
        Instant now = start;
        std::optional<Snapshot> last;
        for (int step = 0; step < 40; ++step) {
            now += Duration(std::chrono::milliseconds(roll(8000)));
            pool = pass_time(std::move(pool), settings, now);
            if (roll(3) == 0) {
                pool = fail(std::move(pool), "no answer", now);
            } else {
                const Snapshot choices[] = {none, only_a, both};
                last = choices[roll(3)];
                pool = believe(std::move(pool), *last, settings, now);
            }
            if (roll(8) == 0) pool = adopt(std::move(pool), {a, b}, settings, now);
            for (const auto& [place, until] : pool.draining) {
                ASSERT_FALSE(pool.members && pool.members->contains(place)) << "seed " << seed;
                ASSERT_GT(until, now) << "seed " << seed;
            }
        }
        pool = believe(std::move(pool), last.value_or(none), settings, now);
        for (Instant due; (due = next_deadline(pool, settings)) != Instant::max();) {
            const Pool before = pool;
            pool = pass_time(std::move(pool), settings, due);
            ASSERT_TRUE(pool.draining != before.draining || pool.empty_since != before.empty_since)
                << "seed " << seed;
        }
        ASSERT_EQ(pool.members, last.value_or(none)) << "seed " << seed;
    }
}

Member member(const std::string& address, std::optional<int> port = {}, std::optional<int> weight = {}) {
    return {.address = *IpAddress::parse(address),
            .port = port ? Port::of(*port) : std::nullopt,
            .weight = weight ? Weight::of(*weight) : std::nullopt};
}

TEST(Resolve, FillsInWhatTheSourceDoesNotSay) {
    const PoolSettings pool{.name = "web", .source = {}, .weight = *Weight::of(9), .port = Port::of(8080)};
    const auto found = resolve({member("10.0.0.2"), member("10.0.0.1", 80, 0), member("2001:db8::1")}, pool);
    const Snapshot expected{{at("10.0.0.1:80"), *Weight::of(0)},
                            {at("10.0.0.2:8080"), *Weight::of(9)},
                            {at("[2001:db8::1]:8080"), *Weight::of(9)}};
    ASSERT_TRUE(std::holds_alternative<Snapshot>(found)) << std::get<std::string>(found);
    EXPECT_EQ(std::get<Snapshot>(found), expected);
}

TEST(Resolve, RefusesWhatCannotBeMeant) {
    const auto complaint = [](const std::vector<Member>& members) {
        return std::get<std::string>(resolve(members, settings));
    };
    EXPECT_EQ(complaint({member("10.0.0.1", 80), member("10.0.0.2")}),
              "10.0.0.2 has no port; write it as 10.0.0.2:80, or give the pool a \"port\"");
    EXPECT_EQ(complaint({member("10.0.0.1", 80, 5), member("10.0.0.1", 80, 6)}),
              "10.0.0.1:80 is there twice, with weight 5 and with weight 6");
    EXPECT_EQ(complaint({member("10.0.0.1", 80, 5), member("10.0.0.1", 80)}),
              "10.0.0.1:80 is there twice, with weight 1 and with weight 5");
}

TEST(Resolve, TheSameTwiceIsTheSame) {
    const auto found = resolve({member("10.0.0.1", 80, 1), member("10.0.0.1", 80)}, settings);
    EXPECT_EQ(std::get<Snapshot>(found), only_a);
}

TEST(SourceSettings, SayWhatTheyAre) {
    EXPECT_EQ(text(FileSource{.path = "/etc/koi/web.backends"}), "file /etc/koi/web.backends");
    EXPECT_EQ(text(StaticSource{{member("10.0.0.1")}}), "static, 1 member");
    EXPECT_EQ(text(StaticSource{}), "static, 0 members");
}

}  // namespace
}  // namespace koi::discovery
