// The rules of supervisor/plan.h, by their numbers.
#include "supervisor/plan.h"

#include <gtest/gtest.h>

namespace koi {
namespace {

const Vhid vhid = *Vhid::of(51);
const Instant now{Duration(1h)};

Endpoint endpoint(const char* text) { return *Endpoint::parse(text); }
Weight weight(int n) { return *Weight::of(n); }
ipvs::ServiceKey place(const char* at, Protocol protocol = Protocol::tcp) {
    const auto e = endpoint(at);
    return ipvs::Place{protocol, e.address, e.port.value()};
}
ipvs::BackendKey key(const char* at) {
    const auto e = endpoint(at);
    return {e.address, e.port.value()};
}

struct Scene {
    config::Config config;
    Facts facts;

    Scene() {
        config::VipGroup group;
        group.carp.vhid = vhid;
        group.addresses = {*Prefix::parse("192.0.2.10/24")};
        config.vips.push_back(group);
        discovery::PoolSettings pool;
        pool.name = "web";
        config.pools.push_back(pool);
        config::Service service;
        service.name = "web";
        service.at = place("192.0.2.10:80");
        service.pool = "web";
        service.vhid = vhid;
        config.services.push_back(service);
        facts.roles_known = facts.observed_known = true;
        role(carp::Role::master);
        members({{endpoint("10.0.0.1:8080"), weight(3)}, {endpoint("10.0.0.2:8080"), weight(1)}});
    }
    void role(carp::Role r) { facts.roles.insert_or_assign(vhid, link::RoleTold{vhid, r, {}, "because"}); }
    void members(discovery::Snapshot m) { facts.pools["web"].members = std::move(m); }
    config::Service& service() { return config.services.front(); }
    Desired plan() const { return koi::plan(config, facts, now); }
    const ipvs::ServiceEntry& planned() { return kept = plan().table.at(service().at); }
    ipvs::ServiceEntry kept;
};

TEST(Plan, AMasterServesItsVhidsServicesWithTheMembersWeights) {
    Scene scene;
    const auto& entry = scene.planned();
    ASSERT_EQ(entry.backends.size(), 2u);
    EXPECT_EQ(entry.backends.at(key("10.0.0.1:8080")).weight, 3u);
    EXPECT_EQ(entry.backends.at(key("10.0.0.2:8080")).weight, 1u);
}

TEST(Plan, Rule1AColdBackupServesNothingAndAWarmOneEverything) {
    Scene scene;
    scene.role(carp::Role::backup);
    scene.config.standby = config::Standby::cold;
    EXPECT_TRUE(scene.plan().table.empty());
    scene.config.standby = config::Standby::warm;
    EXPECT_EQ(scene.plan().table.size(), 1u);
}

TEST(Plan, Rule1AFwmarkServiceStandsWhileAnyVhidLeadsHere) {
    Scene scene;
    scene.service().at = ipvs::Fwmark{7, Family::ipv4};
    scene.service().vhid.reset();
    EXPECT_EQ(scene.plan().table.size(), 1u);
    scene.role(carp::Role::backup);
    EXPECT_TRUE(scene.plan().table.empty());
}

TEST(Plan, Rule2UntilTheRolesAreKnownWhatIsOursStaysAsItIs) {
    Scene scene;
    scene.facts.roles_known = false;
    scene.facts.roles.clear();
    ipvs::ServiceEntry left_by_the_worker_before;
    left_by_the_worker_before.backends[key("10.0.0.9:8080")].weight = 7;
    scene.facts.observed[scene.service().at] = left_by_the_worker_before;
    EXPECT_TRUE(scene.plan().table.empty()) << "not ours: not promised to stay";
    scene.facts.owned.insert(scene.service().at);
    EXPECT_EQ(scene.planned(), left_by_the_worker_before);
}

TEST(Plan, Rule2APoolNobodySpokeOfKeepsTheBackendsThatAreThere) {
    Scene scene;
    scene.facts.pools.clear();
    EXPECT_TRUE(scene.planned().backends.empty());
    scene.facts.observed[scene.service().at].backends[key("10.0.0.9:8080")].weight = 7;
    EXPECT_EQ(scene.planned().backends.at(key("10.0.0.9:8080")).weight, 7u);
}

TEST(Plan, Rule2AnEmptyPoolThatWasHeardOfIsEmpty) {
    Scene scene;
    scene.members({});
    scene.facts.observed[scene.service().at].backends[key("10.0.0.9:8080")].weight = 7;
    EXPECT_TRUE(scene.planned().backends.empty());
}

TEST(Plan, Rule3ADrainingBackendStaysAtWeightZeroWhereItIs) {
    Scene scene;
    scene.facts.pools["web"].draining[endpoint("10.0.0.3:8080")] = now + 30s;
    EXPECT_FALSE(scene.planned().backends.contains(key("10.0.0.3:8080")))
        << "it is not there, so nothing has to drain";
    scene.facts.observed[scene.service().at].backends[key("10.0.0.3:8080")].weight = 5;
    EXPECT_EQ(scene.planned().backends.at(key("10.0.0.3:8080")).weight, 0u);
}

TEST(Plan, Rule3OverUdpADrainingBackendGoesAtOnce) {
    Scene scene;
    scene.service().at = place("192.0.2.10:53", Protocol::udp);
    scene.facts.pools["web"].draining[endpoint("10.0.0.3:8080")] = now + 30s;
    scene.facts.observed[scene.service().at].backends[key("10.0.0.3:8080")].weight = 5;
    EXPECT_FALSE(scene.planned().backends.contains(key("10.0.0.3:8080")));
}

TEST(Plan, Rule4WithDirectRoutingABackendIsReachedOnTheServicesPort) {
    Scene scene;
    scene.service().forward = ipvs::Forward::dr;
    EXPECT_TRUE(scene.planned().backends.contains(key("10.0.0.1:80")));
    scene.service().at = ipvs::Fwmark{7, Family::ipv4};
    const auto table = scene.plan().table;
    EXPECT_EQ(table.at(scene.service().at).backends.begin()->first.port, 0) << "a mark has no port";
}

TEST(Plan, Rule5TheSorryServerServesWhileNoMemberHasWeight) {
    Scene scene;
    scene.service().sorry_server = endpoint("10.0.0.99:80");
    EXPECT_FALSE(scene.planned().backends.contains(key("10.0.0.99:80")));
    scene.members({{endpoint("10.0.0.1:8080"), weight(0)}});
    EXPECT_EQ(scene.planned().backends.at(key("10.0.0.99:80")).weight, 1u);
    scene.members({});
    EXPECT_EQ(scene.planned().backends.size(), 1u);
}

TEST(Plan, Rule6ATableThatCannotBeHadDemotes) {
    Scene scene;
    EXPECT_EQ(scene.plan().demotion.value(), 0);
    scene.facts.datapath_missing = "the kernel has no IPVS";
    EXPECT_EQ(scene.plan().demotion.value(), 240);
    scene.config.services.clear();
    EXPECT_EQ(scene.plan().demotion.value(), 0) << "a pair that only moves addresses needs no IPVS";
}

TEST(Plan, Rule6ARefusalIsRememberedForTenMinutes) {
    Scene scene;
    scene.facts.refused["add service"] = "scheduler twos is not available in this kernel";
    scene.facts.refused_at = now - 9min;
    EXPECT_EQ(scene.plan().demotion.value(), 240);
    scene.facts.refused_at = now - 11min;
    EXPECT_EQ(scene.plan().demotion.value(), 0);
}

TEST(Plan, Rule7ANewcomerThatHasNotHeardOfItsPoolsIsDemoted) {
    Scene scene;
    scene.facts.pools.clear();
    scene.role(carp::Role::backup);
    EXPECT_EQ(scene.plan().demotion.value(), 240);
    scene.role(carp::Role::master);
    EXPECT_EQ(scene.plan().demotion.value(), 0) << "a leader stays: nobody else may know more";
    scene.role(carp::Role::backup);
    scene.facts.pools["web"].failure = "there is no such file";
    EXPECT_EQ(scene.plan().demotion.value(), 0) << "that the source cannot say is a word, too";
    scene.facts.pools.clear();
    scene.facts.scout_missing = "the scout ended";
    EXPECT_EQ(scene.plan().demotion.value(), 0) << "there will be no word for a while";
}

// Who is taken for a backend that drained under the worker before.
std::set<Endpoint> left_behind(const Scene& scene) { return koi::left_behind(scene.config, scene.facts, "web"); }
using Places = std::set<Endpoint>;

TEST(LeftBehind, IsWhoStandsAndIsNeitherMemberNorSorryServer) {
    Scene scene;
    scene.service().sorry_server = endpoint("10.0.0.99:80");
    scene.members({{endpoint("10.0.0.1:8080"), weight(0)}, {endpoint("10.0.0.2:8080"), weight(1)}});
    EXPECT_EQ(left_behind(scene), Places{}) << "nothing stands here";
    auto& there = scene.facts.observed[scene.service().at].backends;
    there[key("10.0.0.1:8080")].weight = 0;  // the operator's own weight 0 is a member's
    there[key("10.0.0.3:8080")].weight = 0;
    there[key("10.0.0.4:8080")].weight = 7;  // the worker before ended between hearing that it left and saying so
    there[key("10.0.0.99:80")].weight = 1;
    scene.facts.observed[place("192.0.2.10:443")].backends[key("10.0.0.5:8080")].weight = 0;  // another service
    EXPECT_EQ(left_behind(scene), (Places{endpoint("10.0.0.3:8080"), endpoint("10.0.0.4:8080")}));
    scene.facts.pools.clear();
    EXPECT_EQ(left_behind(scene), Places{}) << "nobody spoke of the pool: nothing may be concluded";
}

TEST(LeftBehind, IsKeptByThePlanUntilItsTimeIsOver) {
    for (const char* at : {"192.0.2.10:80", "[2001:db8::10]:80"}) {
        Scene scene;
        scene.service().at = place(at);
        const bool v6 = *at == '[';
        const auto stays = endpoint(v6 ? "[2001:db8::3]:8080" : "10.0.0.3:8080");
        const ipvs::BackendKey its_key{stays.address, stays.port.value()};
        scene.facts.observed[scene.service().at].backends[its_key].weight = 0;
        auto& pool = scene.facts.pools["web"];
        EXPECT_FALSE(scene.planned().backends.contains(its_key)) << "this is what would cut its connections";
        const auto& settings = scene.config.pools.front();
        pool = discovery::adopt(std::move(pool), left_behind(scene), settings, now);
        EXPECT_EQ(scene.planned().backends.at(its_key).weight, 0u);
        pool = discovery::pass_time(std::move(pool), settings, now + settings.drain);
        EXPECT_FALSE(scene.planned().backends.contains(its_key));
    }
}

TEST(LeftBehind, OverUdpIsNobody) {
    Scene scene;
    scene.service().at = place("192.0.2.10:53", Protocol::udp);
    scene.facts.observed[scene.service().at].backends[key("10.0.0.3:8080")].weight = 0;
    EXPECT_EQ(left_behind(scene), Places{});
}

TEST(LeftBehind, WithoutNatIsSomebodyWhoIsReachedWhereTheEntryStands) {
    Scene scene;
    scene.service().forward = ipvs::Forward::dr;
    auto& there = scene.facts.observed[scene.service().at].backends;
    there[key("10.0.0.1:80")].weight = 1;  // a member, by its address
    there[key("10.0.0.3:80")].weight = 0;
    there[key("10.0.0.4:8080")].weight = 0;  // from when it was nat: nothing in the pool would ever stand there
    EXPECT_EQ(left_behind(scene), Places{endpoint("10.0.0.3:8080")}) << "with the port that the members have";
    scene.members({});
    EXPECT_EQ(left_behind(scene), (Places{endpoint("10.0.0.1:80"), endpoint("10.0.0.3:80")}));
}

TEST(LeftBehind, OfAFwmarkServiceHasAPortAsAMemberHas) {
    Scene scene;
    scene.service().forward = ipvs::Forward::tun;
    scene.service().at = ipvs::Fwmark{7, Family::ipv4};
    const ipvs::BackendKey gone{*IpAddress::parse("10.0.0.3"), 0};
    scene.facts.observed[scene.service().at].backends[gone].weight = 0;
    EXPECT_EQ(left_behind(scene), Places{endpoint("10.0.0.3:8080")});
    scene.members({});
    ASSERT_EQ(left_behind(scene).size(), 1u);
    EXPECT_EQ(backend_key(scene.service(), *left_behind(scene).begin()), gone);
}

// What stands, and what the speaker last said of the address.
void standing(Scene& scene, bool address_is_here) {
    scene.facts.observed = scene.plan().table;
    scene.facts.owned = {scene.service().at};
    link::VhidReport report;
    report.vhid = vhid;
    report.vips = {{{"eth0", *Prefix::parse("192.0.2.10/24")}, false, address_is_here, {}}};
    scene.facts.speaker = link::Report{};
    scene.facts.speaker->vhids = {report};
}

TEST(Plan, Rule8ATableGoesAfterItsAddress) {
    Scene scene;
    standing(scene, true);
    const auto before = scene.facts.observed;
    scene.role(carp::Role::backup);
    EXPECT_EQ(scene.plan().table, before);
    standing(scene, false);
    EXPECT_TRUE(scene.plan().table.empty());
}

TEST(Plan, Rule8ItStaysThoughAFileNamesNeitherAnyMore) {
    Scene scene;
    standing(scene, true);
    const auto before = scene.facts.observed;
    scene.config.services.clear();
    EXPECT_TRUE(scene.plan().table.empty()) << "the address stays: whoever asks is to be refused";
    scene.config.vips.clear();
    EXPECT_EQ(scene.plan().table, before);
    scene.facts.speaker->vhids.clear();
    EXPECT_TRUE(scene.plan().table.empty());
}

TEST(Plan, Rule8WhatIsNotOursIsLeftOut) {
    Scene scene;
    standing(scene, true);
    scene.role(carp::Role::backup);
    scene.facts.owned.clear();
    EXPECT_TRUE(scene.plan().table.empty());
}

TEST(Plan, IsAFunctionOfItsArguments) {
    Scene scene;
    EXPECT_EQ(scene.plan(), scene.plan());
}

}  // namespace
}  // namespace koi
