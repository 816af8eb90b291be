#include "ipvs/host_needs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "tests/unit/ipvs/any_table.h"

namespace koi::ipvs {

namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// A host where everything is as it should be; each test spoils something.
struct AnyHost {
    std::map<std::string, std::string> sysctls{{"net.ipv4.ip_forward", "1"},
                                               {"net.ipv6.conf.all.forwarding", "1"},
                                               {"net.ipv4.conf.all.rp_filter", "0"},
                                               {"net.ipv4.conf.eth0.rp_filter", "2"},
                                               {"net.ipv4.conf.all.send_redirects", "0"},
                                               {"net.ipv4.conf.eth0.send_redirects", "0"},
                                               {"net.ipv4.vs.expire_nodest_conn", "1"},
                                               {"net.ipv4.vs.expire_quiescent_template", "1"},
                                               {"net.ipv4.vs.sloppy_tcp", "1"}};
    std::map<std::string, std::optional<bool>> modules;  // what is not named is there
    std::optional<Host::Route> route = Host::Route{.interface = "eth1"};

    Host host() const {
        return {.sysctl =
                    [this](const std::string& name) {
                        const auto found = sysctls.find(name);
                        return found == sysctls.end() ? std::nullopt : std::optional(found->second);
                    },
                .route = [this](const IpAddress&) { return route; },
                .module_available =
                    [this](const std::string& name) {
                        const auto found = modules.find(name);
                        return found == modules.end() ? std::optional(true) : found->second;
                    }};
    }
};

Table serving(Forward forward, const char* address = "10.0.0.7", Service service = {}) {
    const bool v4 = ip(address).is_v4();
    return {{tcp(v4 ? "192.0.2.10" : "2001:db8::10", 80), {service, {{at(address, 80), {.forward = forward}}}}}};
}

std::vector<std::string> advised(const Table& table, const AnyHost& on) {
    std::vector<std::string> words;
    for (const auto& advice : needs(table, "eth0", on.host())) words.push_back(advice.what);
    return words;
}

}  // namespace

TEST(HostNeeds, AHostThatIsRightGetsNoAdvice) {
    for (const auto forward : {Forward::nat, Forward::dr, Forward::tun})
        EXPECT_THAT(advised(serving(forward), {}), IsEmpty());
}

TEST(HostNeeds, WithoutServicesNothingIsNeeded) {
    EXPECT_THAT(advised({}, {.sysctls = {}, .modules = {{"ip_vs", false}}, .route = std::nullopt}), IsEmpty());
}

TEST(HostNeeds, NatNeedsForwarding) {
    AnyHost host;
    host.sysctls["net.ipv4.ip_forward"] = "0";
    const auto advice = needs(serving(Forward::nat), "eth0", host.host());
    ASSERT_EQ(advice.size(), 1u);
    EXPECT_EQ(
        advice[0],
        (Advice{Advice::Weight::broken, "ip_forward",
                "nat needs IPv4 forwarding, and it is off; run: koi-host-setup, which sets net.ipv4.ip_forward=1"}));
    EXPECT_THAT(advised(serving(Forward::dr), host), IsEmpty());
    EXPECT_THAT(advised(serving(Forward::tun), host), IsEmpty());
    EXPECT_THAT(advised(serving(Forward::nat, "fd00::7"), host), IsEmpty());
}

TEST(HostNeeds, NatOfIpv6NeedsItsOwnForwarding) {
    AnyHost host;
    host.sysctls["net.ipv6.conf.all.forwarding"] = "0";
    EXPECT_THAT(advised(serving(Forward::nat, "fd00::7"), host), ElementsAre("ipv6_forwarding"));
    EXPECT_THAT(advised(serving(Forward::nat), host), IsEmpty());
}

TEST(HostNeeds, NatToThisHostItselfNeedsNoForwarding) {
    AnyHost host;
    host.sysctls["net.ipv4.ip_forward"] = "0";
    host.route = Host::Route{.local = true, .interface = "lo"};
    EXPECT_THAT(advised(serving(Forward::nat), host), IsEmpty());
}

TEST(HostNeeds, RedirectsWouldLeadClientsAround) {
    AnyHost host;
    host.sysctls["net.ipv4.conf.eth0.send_redirects"] = "1";
    const auto advice = needs(serving(Forward::nat), "eth0", host.host());
    ASSERT_EQ(advice.size(), 1u);
    EXPECT_EQ(advice[0].weight, Advice::Weight::warning);
    EXPECT_THAT(advice[0].sentence, HasSubstr("sets net.ipv4.conf.eth0.send_redirects=0"));
    EXPECT_THAT(advised(serving(Forward::dr), host), IsEmpty());
}

TEST(HostNeeds, DrNeedsTheBackendOnItsWire) {
    AnyHost host;
    host.route = Host::Route{.via_gateway = true, .interface = "eth1"};
    const auto advice = needs(serving(Forward::dr), "eth0", host.host());
    ASSERT_EQ(advice.size(), 1u);
    EXPECT_EQ(advice[0].what, "dr_on_link");
    EXPECT_EQ(advice[0].weight, Advice::Weight::broken);
    EXPECT_THAT(advice[0].sentence, HasSubstr("10.0.0.7 is behind a gateway"));
    EXPECT_THAT(advised(serving(Forward::tun), host), IsEmpty());
    EXPECT_THAT(advised(serving(Forward::nat), host), IsEmpty());
}

TEST(HostNeeds, ABackendWithoutARouteIsNamed) {
    AnyHost host;
    host.route = std::nullopt;
    EXPECT_THAT(advised(serving(Forward::nat), host), ElementsAre("no_route"));
    EXPECT_THAT(advised(serving(Forward::dr), host), ElementsAre("no_route"));
}

TEST(HostNeeds, OnlyStrictFilteringIsInTheWay) {
    const auto advised_for = [](const char* all, const char* own) {
        AnyHost host;
        host.sysctls["net.ipv4.conf.all.rp_filter"] = all;
        host.sysctls["net.ipv4.conf.eth0.rp_filter"] = own;
        return advised(serving(Forward::dr), host);
    };
    EXPECT_THAT(advised_for("0", "1"), ElementsAre("rp_filter"));
    EXPECT_THAT(advised_for("1", "0"), ElementsAre("rp_filter"));
    EXPECT_THAT(advised_for("1", "2"), IsEmpty());
    EXPECT_THAT(advised_for("2", "1"), IsEmpty());
    EXPECT_THAT(advised_for("0", "0"), IsEmpty());
}

TEST(HostNeeds, AnInterfaceWithADotIsWrittenAsSysctlWantsIt) {
    AnyHost host;
    host.sysctls["net.ipv4.conf.eth0/100.rp_filter"] = "1";
    const auto advice = needs(serving(Forward::dr), "eth0.100", host.host());
    ASSERT_EQ(advice.size(), 1u);
    EXPECT_THAT(advice[0].sentence, HasSubstr("sets net.ipv4.conf.eth0/100.rp_filter=2"));
}

TEST(HostNeeds, AKernelWithoutIpvsIsSaidOnce) {
    AnyHost host;
    host.modules["ip_vs"] = false;
    host.modules["ip_vs_wrr"] = false;
    const auto advice = needs(serving(Forward::dr), "eth0", host.host());
    ASSERT_EQ(advice.size(), 1u);
    EXPECT_EQ(advice[0].what, "ip_vs_module");
    EXPECT_THAT(advice[0].sentence, HasSubstr("modprobe ip_vs"));
}

TEST(HostNeeds, ASchedulerNeedsItsModule) {
    AnyHost host;
    host.modules["ip_vs_twos"] = false;
    EXPECT_THAT(advised(serving(Forward::dr, "10.0.0.7", {.scheduler = "twos"}), host),
                ElementsAre("scheduler_module"));
    host.modules["ip_vs_twos"] = std::nullopt;  // the host does not say
    EXPECT_THAT(advised(serving(Forward::dr, "10.0.0.7", {.scheduler = "twos"}), host), IsEmpty());
}

TEST(HostNeeds, ConnectionsOfTheGoneAreThoughtOf) {
    AnyHost host;
    for (const char* name : {"expire_nodest_conn", "expire_quiescent_template", "sloppy_tcp"})
        host.sysctls[std::string("net.ipv4.vs.") + name] = "0";
    EXPECT_THAT(advised(serving(Forward::dr), host), ElementsAre("expire_nodest_conn"));
    EXPECT_THAT(advised(serving(Forward::dr, "10.0.0.7", {.persistence = 9}), host),
                ElementsAre("expire_nodest_conn", "expire_quiescent_template"));
    EXPECT_THAT(advised(serving(Forward::dr, "10.0.0.7", {.scheduler = "mh"}), host),
                ElementsAre("expire_nodest_conn", "sloppy_tcp"));
    EXPECT_THAT(advised(serving(Forward::nat, "10.0.0.7", {.scheduler = "mh"}), host),
                ElementsAre("expire_nodest_conn"));
    host.sysctls.clear();  // ip_vs not loaded yet: its sysctls do not exist
    EXPECT_THAT(advised(serving(Forward::dr, "10.0.0.7", {.scheduler = "mh", .persistence = 9}), host), IsEmpty());
}

TEST(HostNeeds, TheHostWeRunOnAnswers) {
    const auto host = this_host();
    const auto forward = host.sysctl("net.ipv4.ip_forward");
    if (!forward) GTEST_SKIP() << "/proc/sys is not there";
    EXPECT_TRUE(*forward == "0" || *forward == "1");
    EXPECT_EQ(host.sysctl("net.ipv4.no_such_thing"), std::nullopt);
    EXPECT_NE(host.module_available("ip_vs_no_such_scheduler"), std::optional(true));
    const auto route = host.route(ip("127.0.0.1"));
    if (!route) GTEST_SKIP() << "lo is down";
    EXPECT_TRUE(route->local);
    EXPECT_FALSE(route->via_gateway);
    EXPECT_EQ(route->interface, "lo");
}

}  // namespace koi::ipvs
