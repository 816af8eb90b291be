#include "carp/guard.h"

#include <gtest/gtest.h>

namespace koi::carp {
namespace {

IpAddress ip(const char* text) { return *IpAddress::parse(text); }

constexpr std::uint64_t year_2026 = 1'767'225'600'000'000;
const WallTime wall{year_2026, true};
const Instant now{100s};

Auth auth(Auth::Mode mode, std::map<std::uint8_t, std::string> keys = {{1, std::string(32, 'a')}}) {
    return {mode, std::move(keys), {}};
}

// A node that signs, and whose packets can be kept for later.
struct Speaker {
    Guard guard;
    std::uint64_t sender;
    std::uint16_t session = 1;
    const char* from = "10.0.0.1";

    Speaker(const Auth& a, std::uint64_t id) : guard(a, id), sender(id) {}
    struct Said {
        Advert advert;
        Packet packet;
    };
    Said say(std::uint64_t k, bool clock = true, Instant at = now) const {
        Advert a;
        a.vhid = *Vhid::of(51);
        a.counter = k;
        Trailer t;
        t.clock = clock;
        t.session = session;
        t.sender = sender;
        const Envelope way{ip(from), ip("224.0.0.18"), 255};
        return {a, {way, guard.sign(encode(a), t, way, at)}};
    }
};

std::string heard(Guard& g, const Speaker::Said& s, Instant at = now, WallTime w = wall) {
    const auto v = g.check(s.packet.payload, s.advert, s.packet.envelope, at, w);
    if (v.refused) return std::string(to_string(*v.refused));
    if (v.doubt) return "plain, " + std::string(to_string(*v.doubt));
    if (!v.trailer) return "plain";
    return v.news == Replay::News::newcomer ? "new" : v.news == Replay::News::late ? "late" : "heard";
}

Speaker::Said without_trailer(Speaker::Said s) {
    s.packet.payload.resize(advert_size);
    return s;
}

constexpr auto require = Auth::Mode::require, prefer = Auth::Mode::prefer;

TEST(Guard, OnlyGrowthIsHeard) {
    Guard g(auth(require), 2);
    const Speaker s(auth(require), 1);
    const auto first = s.say(year_2026), second = s.say(year_2026 + 1'000'000);
    EXPECT_EQ(heard(g, first), "new");
    EXPECT_EQ(heard(g, first), "replayed");
    EXPECT_EQ(heard(g, second, now + 1s), "heard");
    EXPECT_EQ(heard(g, first, now + 1s), "replayed");
}

TEST(Guard, WhatWasHeardSurvivesARestart) {
    Guard before(auth(require), 2);
    const Speaker s(auth(require), 1);
    const auto said = s.say(year_2026);
    EXPECT_EQ(heard(before, said), "new");
    Guard after(auth(require), 2);
    after.replay().recall(before.replay().all(), Instant{});
    EXPECT_EQ(heard(after, said), "replayed");
    EXPECT_EQ(heard(after, s.say(year_2026 + 1)), "heard");
}

TEST(Guard, AnOldRecordingOfANodeWeNeverHeardIsStaleWhereClocksTell) {
    const Speaker s(auth(require), 1);
    const auto old = s.say(year_2026 - 3'600'000'000);
    Guard with(auth(require), 2), without(auth(require), 2);
    EXPECT_EQ(heard(with, old), "stale_clock");
    EXPECT_EQ(heard(without, old, now, {year_2026, false}), "new") << "nobody here knows the time";
    Guard blind(auth(require), 2);
    EXPECT_EQ(heard(blind, s.say(year_2026), now, {0, false}), "new")
        << "a clock that the kernel does not vouch for refuses no peer, wherever it stands";
    EXPECT_EQ(heard(with, s.say(year_2026 - 3'600'000'000, false)), "new") << "nor there";
}

TEST(Guard, WhatWasHeldBackIsHeardAndSaid) {
    Guard g(auth(require), 2);
    const Speaker s(auth(require), 1);
    EXPECT_EQ(heard(g, s.say(year_2026)), "new");
    EXPECT_EQ(heard(g, s.say(year_2026 + 1'000'000), now + 30s), "late");
}

TEST(Guard, KeysOverlapWhileTheyAreRotated) {
    const std::string a(32, 'a'), b(32, 'b');
    Guard both(auth(require, {{1, a}, {2, b}}), 3);
    const Speaker old(auth(require, {{1, a}}), 1), fresh(auth(require, {{1, a}, {2, b}}), 2);
    EXPECT_EQ(heard(both, old.say(year_2026)), "new");
    EXPECT_EQ(heard(both, fresh.say(year_2026)), "new") << "the highest id signs";
    Guard not_yet(auth(require, {{1, a}}), 4);
    EXPECT_EQ(heard(not_yet, fresh.say(year_2026)), "unknown_key");
    Guard other(auth(require, {{1, b}}), 5);
    EXPECT_EQ(heard(other, old.say(year_2026)), "wrong_tag");
}

TEST(Guard, ARotationKeepsWhatWasHeard) {
    Guard g(auth(require), 3);
    const Speaker s(auth(require), 1);
    const auto said = s.say(year_2026);
    EXPECT_EQ(heard(g, said), "new");
    g.change(auth(require, {{1, std::string(32, 'a')}, {2, std::string(32, 'b')}}), now);
    EXPECT_EQ(heard(g, said), "replayed");
}

TEST(Guard, AKeyThatAReloadBroughtSignsAfterAMinute) {
    const auto old = auth(require), both = auth(require, {{1, std::string(32, 'a')}, {2, std::string(32, 'b')}});
    Speaker s(old, 1);
    s.guard.change(both, now);
    Guard not_reloaded(old, 2), reloaded(both, 2);
    EXPECT_EQ(heard(not_reloaded, s.say(year_2026, true, now + 59s)), "new");
    EXPECT_EQ(heard(not_reloaded, s.say(year_2026 + 1, true, now + 60s)), "unknown_key");
    EXPECT_EQ(heard(reloaded, s.say(year_2026 + 2, true, now + 60s)), "new");
}

// Whoever reloads first, and whatever changes: as long as all do so within a minute, everybody is heard.
TEST(Guard, AChangeThatAllLearnWithinAMinuteSplitsNobody) {
    const std::string a(32, 'a'), b(32, 'b');
    const Auth one = auth(require), other_content = auth(require, {{1, b}}), other_id = auth(require, {{2, b}}),
               two = auth(require, {{1, a}, {2, b}}), none = auth(Auth::Mode::off, {}), lax = auth(prefer);
    const std::pair<Auth, Auth> changes[] = {{one, other_content}, {one, other_id}, {one, two},  {two, one},
                                             {two, other_id},      {one, none},     {none, lax}, {lax, none},
                                             {lax, one},           {one, lax}};
    for (const auto& [before, after] : changes) {
        const auto what = std::to_string(&before - &changes[0].first);
        for (const bool speaker_first : {true, false}) {
            Guard listener(before, 2);
            Speaker s(before, 1);
            std::uint64_t k = year_2026;
            const auto say = [&](Duration at) {
                Advert plain;
                plain.vhid = *Vhid::of(51);
                const Envelope way{ip(s.from), ip("224.0.0.18"), 255};
                const auto bytes = encode(plain);
                const auto said = s.guard.signs(now + at) ? s.say(++k, true, now + at)
                                                          : Speaker::Said{plain, {way, {bytes.begin(), bytes.end()}}};
                return !listener.check(said.packet.payload, said.advert, way, now + at, wall).refused;
            };
            EXPECT_TRUE(say(0s));
            speaker_first ? s.guard.change(after, now + 1s) : listener.change(after, now + 1s);
            EXPECT_TRUE(say(1s)) << what << ", one has learnt it";
            EXPECT_TRUE(say(59s)) << what;
            speaker_first ? listener.change(after, now + 60s) : s.guard.change(after, now + 60s);
            EXPECT_TRUE(say(60s)) << what << ", both have";
            for (Duration at = 61s; at < 180s; at += 1s) EXPECT_TRUE(say(at)) << what << " at " << at / 1s;
        }
    }
}

TEST(Guard, WhoRequiresDoesSoAtOnce) {
    for (const auto& before : {auth(Auth::Mode::off, {}), auth(prefer)}) {
        Guard g(before, 2);
        const auto plain = without_trailer(Speaker(auth(require), 1).say(year_2026));
        EXPECT_EQ(heard(g, plain), "plain");
        g.change(auth(require), now);
        EXPECT_EQ(heard(g, plain, now + 1s), "no_trailer");
    }
}

TEST(Guard, WhatWasBelievedBeforeAReloadIsForgottenAfterTwoMinutes) {
    Guard g(auth(require), 2);
    const Speaker old(auth(require), 1);
    g.change(auth(require, {{2, std::string(32, 'b')}}), now);
    EXPECT_EQ(heard(g, old.say(year_2026), now + 119s), "new");
    EXPECT_EQ(heard(g, old.say(year_2026), now + 119s), "replayed");
    EXPECT_EQ(heard(g, old.say(year_2026 + 1), now + 120s), "unknown_key");
}

TEST(Guard, AnotherHostWithOurIdentityIsACloneAndAForgeryOfItIsNot) {
    Guard g(auth(require), 1);
    EXPECT_EQ(heard(g, Speaker(auth(require), 1).say(year_2026)), "cloned");
    EXPECT_EQ(heard(g, Speaker(auth(require, {{1, std::string(32, 'b')}}), 1).say(year_2026)), "wrong_tag");
}

TEST(Guard, PreferHearsPlainAdvertsButNotOfAnAddressThatSigned) {
    Guard g(auth(prefer), 2);
    const Speaker s(auth(require), 1);
    EXPECT_EQ(heard(g, without_trailer(s.say(year_2026))), "plain");
    EXPECT_EQ(heard(g, s.say(year_2026)), "new");
    EXPECT_EQ(heard(g, without_trailer(s.say(year_2026 + 1)), now + 1s), "no_trailer");
    EXPECT_EQ(heard(g, s.say(year_2026), now + 1s), "replayed") << "what was ours is no plain advert";
    EXPECT_EQ(heard(g, without_trailer(s.say(year_2026 + 2)), now + 25h), "plain") << "a day later";
}

TEST(Guard, PreferNamesWhatItCannotRead) {
    Guard g(auth(prefer), 2);
    const Speaker s(auth(require, {{1, std::string(32, 'b')}}), 1);
    EXPECT_EQ(heard(g, s.say(year_2026)), "plain, wrong_tag");
}

TEST(Guard, LegacyPeersAloneMaySpeakWithout) {
    auto a = auth(prefer);
    a.legacy_peers = {ip("10.0.0.9")};
    Guard g(a, 2);
    Speaker s(auth(require), 1);
    EXPECT_EQ(heard(g, without_trailer(s.say(year_2026))), "no_trailer");
    s.from = "10.0.0.9";
    EXPECT_EQ(heard(g, without_trailer(s.say(year_2026))), "plain");
    EXPECT_EQ(heard(g, s.say(year_2026)), "new");
    EXPECT_EQ(heard(g, without_trailer(s.say(year_2026))), "plain") << "it is not pinned";
}

TEST(Guard, RequireAndOff) {
    Guard strict(auth(require), 2), lax(auth(Auth::Mode::off), 2);
    const Speaker s(auth(require), 1);
    EXPECT_EQ(heard(strict, without_trailer(s.say(year_2026))), "no_trailer");
    EXPECT_EQ(heard(lax, s.say(year_2026)), "plain");
    EXPECT_FALSE(lax.signs(now));
}

TEST(Guard, ManySendersFillTheTableAndAnIdleOneMakesRoom) {
    Guard g(auth(require), 999);
    for (std::uint64_t id = 1; id <= 2 * Replay::most_senders; ++id)
        EXPECT_EQ(heard(g, Speaker(auth(require), id).say(year_2026)), "new");
    const Speaker late(auth(require), 500);
    EXPECT_EQ(heard(g, late.say(year_2026)), "table_full");
    EXPECT_EQ(heard(g, Speaker(auth(require), 7).say(year_2026 + 1)), "heard");
    EXPECT_EQ(heard(g, late.say(year_2026, false), now + 61s), "table_full");
    EXPECT_EQ(heard(g, late.say(year_2026, true), now + 61s), "new") << "its clock shows that it is no recording";
    const Speaker later(auth(require), 501);
    EXPECT_EQ(heard(g, later.say(year_2026, false), now + 25h), "new");
    EXPECT_EQ(g.replay().all().size(), 2 * Replay::most_senders);
}

TEST(Guard, WhatWasSaidWhileWeWereDownIsNotOfNow) {
    constexpr std::uint64_t hour = 3'600'000'000;
    const Speaker s(auth(require), 1);
    Guard g(auth(require), 2);
    g.replay().recall({{1, Family::ipv4, year_2026 - 2 * hour}}, now);
    EXPECT_EQ(heard(g, s.say(year_2026 - hour)), "stale_clock");
    EXPECT_EQ(heard(g, s.say(year_2026)), "heard") << "it is no newcomer";
    EXPECT_EQ(heard(g, s.say(year_2026 + 1), now, {year_2026 + hour, true}), "heard")
        << "heard since: only growth counts";
    Guard without(auth(require), 2);
    without.replay().recall({{1, Family::ipv4, year_2026 - 2 * hour}}, now);
    EXPECT_EQ(heard(without, s.say(year_2026 - hour, false)), "heard") << "without clocks nobody can tell";
}

TEST(Guard, TheTwoFamiliesOfOneSenderAreOneMouth) {
    Guard g(auth(require), 2);
    const Speaker s(auth(require), 1);
    EXPECT_EQ(heard(g, s.say(year_2026)), "new");
    Trailer t;
    t.sender = 1;
    const auto over_v6 = [&](std::uint64_t k) { return g.replay().judge(t, k, Family::ipv6, now, wall); };
    EXPECT_EQ(over_v6(year_2026 - 5'000'001), Refusal::replayed);
    EXPECT_EQ(over_v6(year_2026 - 5'000'000), std::nullopt) << "the wire may change their order";
}

}  // namespace
}  // namespace koi::carp
