#include "ipvs/table.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "tests/unit/ipvs/any_table.h"

namespace koi::ipvs {

TEST(Table, KeysAreSaidAsPeopleWriteThem) {
    EXPECT_EQ(text(ServiceKey(tcp("192.0.2.10", 80))), "192.0.2.10:80/tcp");
    EXPECT_EQ(text(ServiceKey(udp("2001:db8::10", 80))), "[2001:db8::10]:80/udp");
    EXPECT_EQ(text(ServiceKey(Place{Protocol::sctp, ip("192.0.2.10"), 0})), "192.0.2.10:0/sctp");
    EXPECT_EQ(text(ServiceKey(Place{static_cast<Protocol>(50), ip("192.0.2.10"), 0})), "192.0.2.10:0/protocol-50");
    EXPECT_EQ(text(ServiceKey(Fwmark{7, Family::ipv4})), "fwmark 7 ipv4");
    EXPECT_EQ(text(at("10.0.0.7", 8080)), "10.0.0.7:8080");
    EXPECT_EQ(text(at("fd00::7", 8080)), "[fd00::7]:8080");
}

TEST(Table, AKeyHasAFamily) {
    EXPECT_EQ(family(tcp("192.0.2.10", 80)), Family::ipv4);
    EXPECT_EQ(family(tcp("2001:db8::10", 80)), Family::ipv6);
    EXPECT_EQ(family(Fwmark{7, Family::ipv6}), Family::ipv6);
}

TEST(Table, SchedulerFlagsAreWords) {
    EXPECT_EQ(scheduler_flag("mh", "mh-fallback"), 0x8u);
    EXPECT_EQ(scheduler_flag("mh", "mh-port"), 0x10u);
    EXPECT_EQ(scheduler_flag("sh", "sh-fallback"), 0x8u);
    EXPECT_EQ(scheduler_flag("sh", "sh-port"), 0x10u);
    EXPECT_EQ(scheduler_flag("rr", "flag-1"), 0x8u);
    EXPECT_EQ(scheduler_flag("mh", "flag-2"), 0x10u);
    EXPECT_EQ(scheduler_flag("mh", "flag-3"), 0x20u);
    EXPECT_EQ(scheduler_flag("mh", "sh-port"), std::nullopt);
    EXPECT_EQ(scheduler_flag("rr", "mh-port"), std::nullopt);
    EXPECT_EQ(scheduler_flag("rr", "flag-4"), std::nullopt);
}

TEST(Table, EveryFlagThatIsPrintedReadsBack) {
    for (const auto scheduler : schedulers) {
        for (std::uint32_t flags = 0; flags < 8; ++flags) {
            std::uint32_t back = 0;
            std::string words = scheduler_flags_text(scheduler, flags * 0x8) + ",";
            for (std::size_t comma; words.size() > 1; words.erase(0, comma + 1)) {
                comma = words.find(',');
                back |= scheduler_flag(scheduler, words.substr(0, comma)).value_or(0x1000);
            }
            EXPECT_EQ(back, flags * 0x8) << scheduler;
        }
    }
    EXPECT_EQ(scheduler_flags_text("mh", 0x18), "mh-port,mh-fallback");
}

TEST(Table, WhatTheKernelDoesNotLookAtMakesNoDifference) {
    const Backend nat{.forward = Forward::nat};
    EXPECT_EQ(nat, (Backend{.forward = Forward::nat, .tunnel = Tunnel::gue, .tunnel_port = 6080, .tunnel_flags = 1}));
    EXPECT_EQ(nat, (Backend{.forward = Forward::nat, .nominal_weight = 9}));
    const Backend gre{.forward = Forward::tun, .tunnel = Tunnel::gre};
    EXPECT_EQ(gre, (Backend{.forward = Forward::tun, .tunnel = Tunnel::gre, .tunnel_port = 6080}));
    EXPECT_NE(gre, (Backend{.forward = Forward::tun, .tunnel = Tunnel::gre, .tunnel_flags = 1}));
    EXPECT_NE(gre, (Backend{.forward = Forward::tun}));
    EXPECT_NE(nat, (Backend{.forward = Forward::nat, .upper_threshold = 1}));
    EXPECT_EQ(Service{}, Service{.granularity = 24});
    EXPECT_NE(Service{.persistence = 9}, (Service{.persistence = 9, .granularity = 24}));
}

// One table with everything in it, against a file that people have read.
TEST(Table, PrintsAsTheGoldenFileSays) {
    const Table table{
        {tcp("192.0.2.10", 80),
         {{.scheduler = "mh", .scheduler_flags = 0x18},
          {{at("10.0.0.7", 8080), {.weight = 3}},
           {at("10.0.0.8", 8080), {.weight = 0, .upper_threshold = 100, .lower_threshold = 50}}}}},
        {tcp("192.0.2.10", 443),
         {{.scheduler = "wlc", .persistence = 300, .granularity = 24},
          {{at("10.0.0.7", 443), {.forward = Forward::dr}}}}},
        {udp("192.0.2.10", 5060), {{.persistence = 60, .persistence_engine = "sip"}, {}}},
        {udp("2001:db8::10", 53),
         {{.scheduler = "rr", .one_packet = true},
          {{at("10.0.0.9", 53), {.forward = Forward::tun}},
           {at("2001:db8:1::1", 53),
            {.forward = Forward::tun, .tunnel = Tunnel::gue, .tunnel_port = 6080, .tunnel_flags = 3}},
           {at("2001:db8:1::2", 53), {.forward = Forward::tun, .tunnel = Tunnel::gre}}}}},
        {Place{Protocol::sctp, ip("192.0.2.10"), 9}, {{.scheduler = "sh", .scheduler_flags = 0x30}, {}}},
        {Fwmark{7, Family::ipv6}, {{}, {{at("2001:db8:1::1", 0), {.forward = Forward::local}}}}},
    };
    std::ifstream file(KOI_SOURCE_DIR "/tests/golden/ipvs/table.txt");
    EXPECT_EQ(print(table), std::string(std::istreambuf_iterator<char>(file), {}));
}

}  // namespace koi::ipvs
