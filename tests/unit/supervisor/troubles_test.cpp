#include "supervisor/troubles.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace koi {
namespace {

const Vhid vhid = *Vhid::of(51);
const Instant now{Duration(1h)};

config::Config one_service() {
    config::Config config;
    config::VipGroup group;
    group.carp.vhid = vhid;
    config.vips.push_back(group);
    discovery::PoolSettings pool;
    pool.name = "web";
    config.pools.push_back(pool);
    config::Service service;
    service.name = "web";
    service.at = ipvs::Place{Protocol::tcp, *IpAddress::parse("192.0.2.10"), 80};
    service.pool = "web";
    config.services.push_back(service);
    return config;
}

bool has(const std::vector<status::Trouble>& list, const std::string& what, const std::string& about = "") {
    return std::ranges::any_of(list, [&](const auto& t) { return t.what == what && t.about == about; });
}

TEST(Troubles, ANodeWithNothingWrongHasNone) { EXPECT_TRUE(troubles(one_service(), {}, {}, now).empty()); }

TEST(Troubles, AMissingDatapathIsATroubleOnlyWhereThereAreServices) {
    Facts facts;
    facts.datapath_missing = "the kernel has no IPVS; load it with: modprobe ip_vs";
    EXPECT_TRUE(has(troubles(one_service(), facts, {}, now), "ipvs"));
    EXPECT_TRUE(troubles(config::Config{}, facts, {}, now).empty());
}

TEST(Troubles, AFailingSourceIsAWarningWhileBackendsAreKnown) {
    Facts facts;
    facts.pools["web"].failure = "line 3: what is this";
    auto list = troubles(one_service(), facts, {}, now);
    ASSERT_TRUE(has(list, "source", "web"));
    EXPECT_FALSE(list.front().warning) << "nothing is known, so nothing is served";
    facts.pools["web"].members = discovery::Snapshot{{*Endpoint::parse("10.0.0.1:80"), *Weight::of(1)}};
    EXPECT_TRUE(troubles(one_service(), facts, {}, now).front().warning);
}

TEST(Troubles, AServiceWithoutWeightIsATrouble) {
    Facts facts;
    facts.pools["web"].members = discovery::Snapshot{};
    Desired desired;
    desired.table[one_service().services.front().at] = {};
    EXPECT_TRUE(has(troubles(one_service(), facts, desired, now), "service", "web"));
}

TEST(Troubles, AnAddressThatShouldBeHereAndIsNotIsATrouble) {
    Facts facts;
    link::VhidReport report;
    report.vhid = vhid;
    report.link_works = true;
    report.role = carp::Role::master;
    report.vips = {{{"eth0", *Prefix::parse("192.0.2.10/24")}, true, false, {}}};
    facts.speaker = link::Report{};
    facts.speaker->vhids = {report};
    EXPECT_TRUE(has(troubles(one_service(), facts, {}, now), "address", "192.0.2.10"));
    facts.speaker->vhids.front().vips.front().present = true;
    EXPECT_TRUE(troubles(one_service(), facts, {}, now).empty());
}

link::Report a_vhid(carp::Role role) {
    link::VhidReport one;
    one.vhid = vhid;
    one.link_works = true;
    one.interface = "eth0";
    one.role = role;
    const bool leads = role == carp::Role::master;
    one.vips = {{{"eth0", *Prefix::parse("192.0.2.10/24")}, leads, leads, {}}};
    link::Report all;
    all.vhids = {one};
    return all;
}

std::string sentence_of(const std::vector<status::Trouble>& list, const std::string& what, const std::string& about) {
    for (const auto& one : list)
        if (one.what == what && one.about == about) return one.sentence;
    return "";
}

TEST(Troubles, WhatFollowsFromAnotherOneNamesIt) {
    Facts facts;
    facts.speaker = a_vhid(carp::Role::master);
    facts.speaker->vhids.front().demotion = *Demotion::of(240);
    facts.speaker->vhids.front().vips.front().desired = false;
    facts.demoted_since[vhid] = now - 10s;
    const auto ends_with_it = [&](const std::string& what) {
        const auto list = troubles(one_service(), facts, {}, now);
        EXPECT_TRUE(has(list, what, "51")) << what;
        return sentence_of(list, what, "51").ends_with("the trouble ipvs");
    };
    EXPECT_FALSE(ends_with_it("demotion"));
    EXPECT_FALSE(ends_with_it("address"));
    facts.datapath_missing = "the kernel has no ip_vs";
    EXPECT_TRUE(ends_with_it("demotion"));
    EXPECT_TRUE(ends_with_it("address"));
}

link::RefusalReport refusal(carp::Refusal why, const std::string& source, Instant at) {
    return {why, *IpAddress::parse(source), at, source + " said it"};
}

TEST(Troubles, SomebodyWhoMayBeAPeerThatIsNotBelievedIsOneForAMinute) {
    Facts facts;
    facts.speaker = a_vhid(carp::Role::master);
    auto& refusals = facts.speaker->vhids.front().refusals;
    refusals = {refusal(carp::Refusal::wrong_tag, "10.0.0.2", now - 59s),
                refusal(carp::Refusal::wrong_digest, "10.0.0.3", now)};
    const auto list = troubles(one_service(), facts, {}, now);
    EXPECT_EQ(sentence_of(list, "trailer", "51 wrong_tag"),
              "10.0.0.2 said it; if that is a node of ours, there may be two masters");
    EXPECT_EQ(sentence_of(list, "peer_key", "51"),
              "10.0.0.3 said it; if that is a node of ours, there may be two masters");
    EXPECT_TRUE(std::ranges::none_of(list, &status::Trouble::warning));

    const auto later = troubles(one_service(), facts, {}, now + 1s);
    EXPECT_FALSE(has(later, "trailer", "51 wrong_tag"));
    EXPECT_TRUE(has(later, "peer_key", "51"));
}

// Somebody may make up any number of sources: the trouble is one and the same, and the journal is told once.
TEST(Troubles, AFloodOfForgedSourcesIsOneTroubleThatLasts) {
    Facts facts;
    facts.speaker = a_vhid(carp::Role::master);
    std::vector<status::Trouble> list;
    for (int n = 1; n < 100; ++n) {
        const Instant at = now + n * 1s;
        facts.speaker->vhids.front().refusals = {
            refusal(carp::Refusal::unknown_key, "10.0.0." + std::to_string(n), at)};
        list = keep_since(troubles(one_service(), facts, {}, at), list, at);
        ASSERT_EQ(list.size(), 1u);
        ASSERT_EQ(list.front().since, now + 1s);
    }
}

TEST(Troubles, AStrangerThatMayBeAPeerIsNotToBeRobbedOfItsAddress) {
    Facts facts;
    facts.speaker = a_vhid(carp::Role::master);
    facts.speaker->strangers = {{*IpAddress::parse("192.0.2.10"), {2, 0, 0, 0, 0, 1}, now}};
    const auto told = [&] { return sentence_of(troubles(one_service(), facts, {}, now), "stranger", "192.0.2.10"); };
    EXPECT_NE(told().find("take the address off it"), std::string::npos) << told();

    facts.speaker->vhids.front().refusals = {refusal(carp::Refusal::stale_clock, "10.0.0.2", now)};
    EXPECT_EQ(told().find("take the address off it"), std::string::npos) << told();
    EXPECT_NE(told().find("see the trouble trailer 51 stale_clock"), std::string::npos) << told();

    facts.speaker->vhids.front().vips.front().held.prefix = *Prefix::parse("192.0.2.11/24");
    EXPECT_NE(told().find("take the address off it"), std::string::npos) << "another vhid's: " << told();
}

TEST(Troubles, SteppedDownIsAWarningAndATroubleWhereNobodyLeads) {
    Facts facts;
    facts.speaker = a_vhid(carp::Role::backup);
    auto& one = facts.speaker->vhids.front();
    one.since = now - 3s;
    const auto severity = [&]() -> std::string {
        const auto list = troubles(one_service(), facts, {}, now);
        if (!has(list, "stepped_down", "51")) return "none";
        EXPECT_NE(list.front().sentence.find("koi step-up 51"), std::string::npos) << list.front().sentence;
        return list.front().warning ? "warning" : "trouble";
    };
    EXPECT_EQ(severity(), "none") << "it waits like any backup";
    one.stepped_down = true;
    EXPECT_EQ(severity(), "trouble");
    one.since = now - 2s;
    EXPECT_EQ(severity(), "warning") << "somebody may take over yet";
    one.since = now - 1h;
    one.master = *IpAddress::parse("10.0.0.2");
    EXPECT_EQ(severity(), "warning");
    one.role = carp::Role::master;
    EXPECT_EQ(severity(), "none") << "until it has handed over";
}

TEST(Troubles, AMasterWithoutAStandbyIsWarnedOfWhereNodesSign) {
    Facts facts;
    facts.speaker = a_vhid(carp::Role::master);
    facts.speaker->vhids.front().since = now - 11s;
    const auto warned = [&](carp::Auth::Mode mode) {
        auto config = one_service();
        config.vips.front().carp.auth.mode = mode;
        return has(troubles(config, facts, {}, now), "standby", "51");
    };
    using enum carp::Auth::Mode;
    EXPECT_TRUE(warned(require));
    EXPECT_FALSE(warned(off)) << "nobody would say it";
    EXPECT_FALSE(warned(prefer)) << "its peers may be of the kind that does not say it";
    facts.standby_heard[vhid] = now - 11s;
    EXPECT_TRUE(warned(prefer)) << "one of them did";
    EXPECT_TRUE(warned(require));
    facts.standby_heard[vhid] = now - 10s;
    EXPECT_FALSE(warned(prefer) || warned(require));

    facts.standby_heard.clear();
    facts.speaker->vhids.front().since = now - 10s;
    EXPECT_FALSE(warned(require)) << "it leads since a moment ago";
    facts.speaker = a_vhid(carp::Role::backup);
    EXPECT_FALSE(warned(require));
}

TEST(Troubles, WhatCannotBeRememberedIsAWarning) {
    Facts facts;
    facts.speaker = a_vhid(carp::Role::backup);
    EXPECT_TRUE(troubles(one_service(), facts, {}, now).empty());
    facts.speaker->memory_missing = "writing /var/lib/koi/heard: No space left on device";
    const auto list = troubles(one_service(), facts, {}, now);
    ASSERT_TRUE(has(list, "memory"));
    EXPECT_TRUE(list.front().warning);
    EXPECT_NE(list.front().sentence.find("No space left"), std::string::npos);
}

link::PeerReport a_peer() {
    link::PeerReport peer;
    peer.vhid = vhid;
    peer.address = *IpAddress::parse("10.0.0.2");
    peer.beat = carp::beat(*carp::Advbase::of(1), *carp::Advskew::of(0));
    peer.last_heard = now;
    return peer;
}

TEST(Troubles, APeerWithAnotherConfigurationOtherVipsOrAnInvalidTrailerIsNamed) {
    Facts facts;
    facts.configuration = 5;
    facts.speaker = link::Report{};
    facts.speaker->peers = {a_peer()};
    auto& peer = facts.speaker->peers.front();
    const auto told = [&](const char* what) {
        return has(troubles(one_service(), facts, {}, now), what, "10.0.0.2");
    };
    EXPECT_FALSE(told("configuration") || told("peer_key") || told("trailer"));
    peer.condition = carp::Condition{5, 1, 1};
    EXPECT_FALSE(told("configuration"));
    peer.condition->configuration = 6;
    EXPECT_TRUE(told("configuration"));
    peer.condition->configuration = 0;
    EXPECT_FALSE(told("configuration")) << "it did not say";
    peer.other_vips = true;
    EXPECT_TRUE(told("peer_key"));
    peer.doubt = carp::Refusal::unknown_key;
    EXPECT_TRUE(told("trailer"));
}

TEST(Troubles, APeerWithTheSameClaimIsNamed) {
    Facts facts;
    facts.speaker = link::Report{};
    facts.speaker->peers = {a_peer()};
    EXPECT_TRUE(has(troubles(one_service(), facts, {}, now), "tie", "51"));
    facts.speaker->peers.front().beat += 1s;
    EXPECT_FALSE(has(troubles(one_service(), facts, {}, now), "tie", "51"));
}

TEST(Troubles, WhatLastsKeepsItsBeginningAndErrorsComeFirst) {
    const std::vector<status::Trouble> before = {{"source", "web", "old words", true, now - 10min}};
    auto list = keep_since({{"source", "web", "new words", true, {}}, {"ipvs", "", "gone", false, {}}}, before, now);
    ASSERT_EQ(list.size(), 2u);
    EXPECT_EQ(list[0].what, "ipvs");
    EXPECT_EQ(list[0].since, now);
    EXPECT_EQ(list[1].since, now - 10min);
}

}  // namespace
}  // namespace koi
