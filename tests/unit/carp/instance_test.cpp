#include "carp/instance.h"

#include <gtest/gtest.h>

#include <deque>

#include "tests/conformance/pcap.h"

namespace koi::carp {
namespace {

IpAddress ip(const char* text) { return *IpAddress::parse(text); }

Settings settings(int advskew = 0) {
    Settings s;
    s.vhid = *Vhid::of(51);
    s.addresses = {ip("192.0.2.10"), ip("2001:db8::10")};
    s.password = "secret";
    s.advskew = *Advskew::of(advskew);
    return s;
}

// One that says `first` first.
Counter& counter(std::uint64_t first = 1000) {
    static std::deque<Counter> all;
    return all.emplace_back(Counter::Kept{7, 0, first - 1});
}

Instance started(const Settings& s, const char* own, Instant now) {
    Instance i(s, counter());
    i.own_address(ip(own));
    i.start(now);
    return i;
}

Instance leading(const Settings& s, const char* own, Instant& now) {
    auto i = started(s, own, now);
    now = i.deadline();
    i.take(DeadlinePassed{}, now);
    return i;
}

// What leaves, read back from its bytes.
std::vector<Advert> adverts(Instance& i, const std::vector<Deed>& deeds) {
    const Envelope way{ip("10.0.0.1"), ip("224.0.0.18"), 255};
    std::vector<Advert> out;
    for (const auto& d : deeds)
        if (const auto* s = std::get_if<Send>(&d))
            out.push_back(std::get<Advert>(decode(i.bytes(*s, way, {}, {}), way)));
    return out;
}

std::vector<Deed> hear(Instance& i, const Advert& advert, const IpAddress& from, Instant now,
                       std::optional<Refusal>& why) {
    const auto bytes = encode(advert);
    const Packet packet{{from, ip("224.0.0.18"), 255}, {bytes.begin(), bytes.end()}};
    auto heard = i.hear(advert, packet, now, {});
    why = heard.refused;
    return std::move(heard.deeds);
}

TEST(Instance, ANewMasterSpeaksFirstAndThenTellsItsRole) {
    Instant now{10s};
    auto i = started(settings(), "10.0.0.1", now);
    now = i.deadline();
    const auto deeds = i.take(DeadlinePassed{}, now);
    ASSERT_EQ(deeds.size(), 2u);
    EXPECT_TRUE(std::holds_alternative<Send>(deeds[0]));
    EXPECT_EQ(std::get<RoleChanged>(deeds[1]).to, Role::master);
    EXPECT_EQ(i.counters().became_master, 1u);
    EXPECT_EQ(i.counters().sent, 1u);
}

TEST(Instance, ALeavingMasterTellsItsRoleAndThenBowsOutTwice) {
    Instant now{10s};
    auto i = leading(settings(), "10.0.0.1", now);
    const auto deeds = i.take(Stopped{}, now);
    ASSERT_EQ(deeds.size(), 2u);
    EXPECT_EQ(std::get<RoleChanged>(deeds[0]).to, Role::init);
    EXPECT_TRUE(std::get<Send>(deeds[1]).advert.is_bow_out());
    EXPECT_EQ(std::get<Send>(deeds[1]).copies, 2);
    EXPECT_EQ(i.counters().bow_outs_sent, 1u);
}

TEST(Instance, WhatItSaysIsSealedAndItsCounterGrows) {
    Instant now{10s};
    const auto s = settings(7);
    const Seal seal(s.vhid, s.addresses, s.password, s.link_local);
    auto i = leading(s, "10.0.0.1", now);
    std::uint64_t expected = 1000;
    for (int n = 0; n < 5; ++n) {
        now = i.deadline();
        const auto said = adverts(i, i.take(DeadlinePassed{}, now));
        ASSERT_EQ(said.size(), 1u);
        EXPECT_TRUE(seal.accepts(said[0]));
        EXPECT_EQ(said[0].advskew, 7);
        EXPECT_EQ(said[0].counter, expected++);
        i.advert_left(now);
    }
}

// Rule 12, with what the lease of an advbase of 1 s is: 3 s less a twentieth.
TEST(Instance, AMasterThatSaidNothingForLongerThanItsLeaseIsNone) {
    Instant now{10s};
    auto i = leading(settings(0), "10.0.0.1", now);
    i.advert_left(now);
    EXPECT_EQ(i.leased_until(), now + 2850ms);
    EXPECT_FALSE(i.overslept(now + 2850ms));
    EXPECT_TRUE(i.wake(now + 2850ms).empty());
    EXPECT_TRUE(i.overslept(now + 2851ms));

    const auto late = now + 5s;
    const auto deeds = i.take(DeadlinePassed{}, late);
    ASSERT_EQ(deeds.size(), 1u) << "it lets go, and says nothing";
    const auto& change = std::get<RoleChanged>(deeds[0]);
    EXPECT_EQ(change.to, Role::backup);
    EXPECT_EQ(change.because, "said nothing for 5.00 s, longer than its lease; others may lead by now");
    EXPECT_EQ(i.deadline(), late + patience(*Advbase::of(1), *Advskew::of(0)));
}

TEST(Instance, WhatIsHeardAfterASleepIsHeardAsBackup) {
    Instant now{10s};
    auto sleeper = leading(settings(0), "10.0.0.1", now);
    auto other = leading(settings(100), "10.0.0.2", now);
    const auto advert = adverts(other, other.take(DeadlinePassed{}, other.deadline())).at(0);
    std::optional<Refusal> why;
    const auto deeds = hear(sleeper, advert, ip("10.0.0.2"), now + 1h, why);
    EXPECT_FALSE(why);
    ASSERT_FALSE(deeds.empty());
    EXPECT_EQ(std::get<RoleChanged>(deeds[0]).to, Role::backup) << "first of all";
}

TEST(Instance, AReloadAfterASleepLetsGoFirst) {
    Instant now{10s};
    auto i = leading(settings(0), "10.0.0.1", now);
    auto faster = settings(7);
    const auto deeds = i.change(faster, now + 1h);
    ASSERT_EQ(deeds.size(), 1u);
    EXPECT_EQ(std::get<RoleChanged>(deeds[0]).to, Role::backup);
}

// A demotion makes the beats of an advbase of 0 longer; its peers wait for three of those it says.
TEST(Instance, TheLeaseOfADemotedMasterOutlastsItsBeat) {
    Instant now{10s};
    auto s = settings(10);
    s.advbase = *Advbase::of(0);
    auto i = leading(s, "10.0.0.1", now);
    i.take(Demoted{*Demotion::of(230)}, now);
    i.advert_left(now);
    EXPECT_GT(i.leased_until(), i.deadline());
    EXPECT_LT(i.leased_until() - now, 3 * beat(s.advbase, *Advskew::of(240)));
}

TEST(Lease, IsShorterThanPeersWaitAndLongerThanABeat) {
    for (int base = 0; base <= 254; ++base)
        for (int skew = 0; skew <= 254; ++skew) {
            Settings s;
            s.advbase = *Advbase::of(base);
            const auto sent = *Advskew::of(skew);
            EXPECT_LT(lease_length(s, sent), least_patience(s, sent));
            EXPECT_GT(lease_length(s, sent), beat(s.advbase, sent));
            s.lease = {Lease::Kind::fixed, 1h};
            EXPECT_LT(lease_length(s, sent), least_patience(s, sent));
            s.lease.length = 1ms;
            EXPECT_GT(lease_length(s, sent), beat(s.advbase, sent));
        }
}

TEST(Instance, APeersAdvertIsHeard) {
    Instant now{10s};
    auto left = leading(settings(0), "10.0.0.1", now);
    auto right = started(settings(100), "10.0.0.2", now);
    std::optional<Refusal> why;
    const auto advert = adverts(left, left.take(DeadlinePassed{}, left.deadline())).at(0);
    EXPECT_TRUE(hear(right, advert, ip("10.0.0.1"), now, why).empty());
    EXPECT_FALSE(why);
    EXPECT_EQ(right.state().master, ip("10.0.0.1"));
    EXPECT_EQ(right.counters().accepted, 1u);
}

// What a stranger says moves nothing: not the role, not the timer, not what we know of the master.
TEST(Instance, ARefusedAdvertMovesNothingAndIsCountedByReason) {
    Instant now{10s};
    auto s = settings(100);
    s.peers = {ip("10.0.0.1"), ip("10.0.0.3")};
    auto i = leading(s, "10.0.0.2", now);
    auto peer = leading(settings(0), "10.0.0.1", now);
    auto good = adverts(peer, peer.take(DeadlinePassed{}, peer.deadline())).at(0);
    const auto before = i.deadline();

    const auto refused = [&](const Advert& a, const char* from) {
        std::optional<Refusal> why;
        EXPECT_TRUE(hear(i, a, ip(from), now, why).empty());
        EXPECT_EQ(i.state().role, Role::master);
        EXPECT_EQ(i.deadline(), before);
        EXPECT_FALSE(i.state().master);
        return why ? std::string(to_string(*why)) : "heard";
    };
    EXPECT_EQ(refused(good, "10.0.0.9"), "not_a_peer");
    EXPECT_EQ(refused(good, "10.0.0.2"), "own_echo");
    auto forged = good;
    forged.counter ^= 1;
    EXPECT_EQ(refused(forged, "10.0.0.1"), "wrong_digest");
    auto elsewhere = good;
    elsewhere.vhid = *Vhid::of(52);
    EXPECT_EQ(refused(elsewhere, "10.0.0.1"), "unknown_vhid");
    for (auto r : {Refusal::not_a_peer, Refusal::own_echo, Refusal::wrong_digest, Refusal::unknown_vhid})
        EXPECT_EQ(i.counters().refused[static_cast<std::size_t>(r)], 1u);
    EXPECT_EQ(i.counters().accepted, 0u);

    std::optional<Refusal> why;
    hear(i, good, ip("10.0.0.1"), now, why);
    EXPECT_EQ(i.state().role, Role::backup) << "the same advert from a peer is heard";
}

TEST(Instance, APresenceIsNoClaim) {
    Settings s = settings(100);
    s.auth = {Auth::Mode::require, {{1, std::string(32, 'k')}}, {}};
    Instant now{10s};
    auto follows = started(s, "10.0.0.1", now), leads = leading(s, "10.0.0.2", now);
    const Hmac key(Hash::sha256, s.auth.keys.at(1));
    Advert presence;
    presence.vhid = s.vhid;
    presence.presence = true;
    presence.counter = 5;
    presence.digest = Seal(s.vhid, s.addresses, s.password, s.link_local).sign(5);
    Trailer t;
    t.sender = 8;
    const Envelope way{ip("10.0.0.3"), ip("224.0.0.18"), 255};
    const auto head = encode(presence);
    for (auto* node : {&follows, &leads}) {
        const auto before = node->state();
        const auto heard = node->hear(presence, {way, with_trailer(head, t, key, way)}, now, {});
        EXPECT_FALSE(heard.refused);
        EXPECT_TRUE(heard.trailer);
        EXPECT_TRUE(heard.deeds.empty());
        EXPECT_EQ(node->state().role, before.role);
        EXPECT_EQ(node->state().deadline, before.deadline);
        EXPECT_FALSE(node->state().master);
    }
}

TEST(Instance, AnotherPasswordOrAnotherListOfVipsIsAWrongDigest) {
    Instant now{10s};
    auto other_password = settings(), other_vips = settings();
    other_password.password = "Secret";
    other_vips.addresses.pop_back();
    auto i = started(settings(100), "10.0.0.2", now);
    for (const auto& s : {other_password, other_vips}) {
        auto stranger = leading(s, "10.0.0.1", now);
        std::optional<Refusal> why;
        hear(i, adverts(stranger, stranger.take(DeadlinePassed{}, stranger.deadline())).at(0), ip("10.0.0.1"), now,
             why);
        EXPECT_EQ(why, Refusal::wrong_digest);
    }
}

TEST(Instance, EqualSettingsChangeNothing) {
    Instant now{10s};
    auto i = leading(settings(), "10.0.0.1", now);
    const auto before = i.deadline();
    EXPECT_TRUE(i.change(settings(), now + 500ms).empty());
    EXPECT_EQ(i.deadline(), before);
    EXPECT_EQ(i.state().role, Role::master);
}

// A new vip is rolled out: the backup is reloaded first, the master a little later, and the role stays where it was.
TEST(Instance, AReloadThatGoesFromBackupToMasterMovesNoRole) {
    Instant now{10s};
    auto master = leading(settings(0), "10.0.0.1", now);
    auto backup = started(settings(100), "10.0.0.2", now);
    auto more_0 = settings(0), more_100 = settings(100);
    more_0.addresses.push_back(ip("192.0.2.11"));
    more_100.addresses.push_back(ip("192.0.2.11"));
    std::optional<Refusal> why;

    EXPECT_TRUE(backup.change(more_100, now).empty());
    for (int beats = 0; beats < 20; ++beats) {
        now = master.deadline();
        hear(backup, adverts(master, master.take(DeadlinePassed{}, now)).at(0), ip("10.0.0.1"), now, why);
        master.advert_left(now);
        ASSERT_FALSE(why);
        ASSERT_EQ(backup.state().role, Role::backup);
    }
    master.change(more_0, now);
    now = master.deadline();
    hear(backup, adverts(master, master.take(DeadlinePassed{}, now)).at(0), ip("10.0.0.1"), now, why);
    EXPECT_FALSE(why);

    auto late = leading(settings(0), "10.0.0.3", now);
    const auto old = adverts(late, late.take(DeadlinePassed{}, late.deadline())).at(0);
    hear(backup, old, ip("10.0.0.3"), Instant{10s} + Instance::grace + 10s, why);
    EXPECT_EQ(why, Refusal::wrong_digest) << "the grace ends";
}

TEST(Instance, ANewBeatIsSaidAtOnceWithTheNewSeal) {
    Instant now{10s};
    auto i = leading(settings(0), "10.0.0.1", now);
    auto other = settings(50);
    other.password = "another";
    const auto said = adverts(i, i.change(other, now + 100ms));
    ASSERT_EQ(said.size(), 1u);
    EXPECT_EQ(said[0].advskew, 50);
    EXPECT_TRUE(Seal(other.vhid, other.addresses, other.password, other.link_local).accepts(said[0]));
}

TEST(Instance, ResumeLeadsAtOnce) {
    Instance i(settings(), counter(1));
    i.own_address(ip("10.0.0.1"));
    const auto deeds = i.resume(Instant{5s});
    ASSERT_EQ(deeds.size(), 2u);
    EXPECT_TRUE(std::holds_alternative<Send>(deeds[0]));
    EXPECT_EQ(i.state().role, Role::master);
}

TEST(Instance, AForgottenAddressIsNoEchoAnyMore) {
    Instant now{10s};
    auto i = started(settings(), "10.0.0.1", now);
    auto peer = leading(settings(0), "10.0.0.1", now);
    const auto advert = adverts(peer, peer.take(DeadlinePassed{}, peer.deadline())).at(0);
    std::optional<Refusal> why;
    hear(i, advert, ip("10.0.0.1"), now, why);
    EXPECT_EQ(why, Refusal::own_echo);
    i.forget_own_address(Family::ipv4);
    hear(i, advert, ip("10.0.0.1"), now, why);
    EXPECT_FALSE(why);
}

// Koi, as a third node beside the two UCARPs of a recording, follows what they did: it hears every advert in time,
// and at the end it knows the same master.
struct Beside {
    const char* file;
    const char* password;
    int vhid;
    const char* address;
    const char* last_master;
};

TEST(Instance, ItFollowsTheRecordedElections) {
    const Beside recordings[] = {
        {"v4-preempt", "preempt-secret", 7, "10.77.0.107", "10.77.0.1"},
        {"v5-shutdown-z", "graceful", 5, "10.77.0.105", "10.77.0.2"},
        {"v6-tie-merge", "tie", 6, "10.77.0.106", "10.77.0.1"},
        {"v9-tie-byteorder", "tie16", 10, "10.77.0.110", "10.77.1.1"},
    };
    for (const auto& r : recordings) {
        const auto frames =
            conformance::read_pcap(std::string(KOI_SOURCE_DIR) + "/tests/conformance/carp/" + r.file + ".pcap");
        ASSERT_FALSE(frames.empty()) << r.file;
        Settings s;
        s.vhid = *Vhid::of(r.vhid);
        s.addresses = {ip(r.address)};
        s.password = r.password;
        s.advskew = *Advskew::of(254);  // patience 3.99 s: UCARP itself needs up to 4.0 s (carp.md 3.1)
        s.advbase = *Advbase::of(2);
        s.preempt = false;
        auto i = started(s, "10.77.0.3", frames.front().at);
        for (const auto& f : frames) {
            ASSERT_LE(f.at, i.deadline()) << r.file;
            std::optional<Refusal> why;
            hear(i, std::get<Advert>(decode(f.payload, f.envelope)), f.envelope.source, f.at, why);
            ASSERT_FALSE(why) << r.file;
            ASSERT_EQ(i.state().role, Role::backup) << r.file;
        }
        EXPECT_EQ(i.state().master, ip(r.last_master)) << r.file;
    }
}

// The loser of a recorded tie, played by Koi, yields where UCARP yielded; the winner, played by Koi, stays.
TEST(Instance, ItDecidesARecordedTieAsUcarpDid) {
    const auto frames =
        conformance::read_pcap(std::string(KOI_SOURCE_DIR) + "/tests/conformance/carp/v9-tie-byteorder.pcap");
    ASSERT_FALSE(frames.empty());
    const auto play = [&](const char* own, const char* other) {
        Settings s;
        s.vhid = *Vhid::of(10);
        s.addresses = {ip("10.77.0.110")};
        s.password = "tie16";
        s.advskew = *Advskew::of(10);
        Instance i(s, counter(1));
        i.own_address(ip(own));
        i.resume(frames.front().at - 1s);
        for (const auto& f : frames) {
            std::optional<Refusal> why;
            if (i.state().role == Role::master) i.advert_left(f.at);  // its own are not replayed
            if (f.envelope.source == ip(other))
                hear(i, std::get<Advert>(decode(f.payload, f.envelope)), f.envelope.source, f.at, why);
            EXPECT_FALSE(why);
        }
        return i.state().role;
    };
    EXPECT_EQ(play("10.77.0.2", "10.77.1.1"), Role::backup);
    EXPECT_EQ(play("10.77.1.1", "10.77.0.2"), Role::master);
}

}  // namespace
}  // namespace koi::carp
