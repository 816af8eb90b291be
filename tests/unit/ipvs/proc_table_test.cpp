#include "ipvs/kernel/proc_table.h"

#include <gtest/gtest.h>

#include "tests/unit/ipvs/any_table.h"

namespace koi::ipvs {

namespace {

// As a 6.1 kernel with 100 ticks a second printed it.
const std::string heading =
    "IP Virtual Server version 1.2.1 (size=4096)\n"
    "Prot LocalAddress:Port Scheduler Flags\n"
    "  -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n";
const std::string printed =
    heading +
    "TCP  C0000201:0050 mh  persistent 30000 FFFFFF00\n"
    "  -> [fd00:0000:0000:0000:0000:0000:0000:0009]:0050      Tunnel  5      0          0         \n"
    "  -> 0A000007:1F90      Masq    5      0          0         \n"
    "SCTP  C0000201:0009 rr  \n"
    "UDP  C0000201:0035 rr ops  \n"
    "UDP  [2001:0db8:0000:0000:0000:0000:0000:0001]:0036 sh persistent 5000 40000000\n"
    "FWM  00000007 rr \n"
    "  -> [fd00:0000:0000:0000:0000:0000:0000:0001]:0000      Route   1      0          0         \n";

const ServiceKey web = tcp("192.0.2.1", 80), six = udp("2001:db8::1", 54);
const Table table{
    {web,
     {{.scheduler = "mh", .persistence = 300, .granularity = 24},
      {{at("fd00::9", 80), {.forward = Forward::tun, .weight = 5}}, {at("10.0.0.7", 8080), {.weight = 5}}}}},
    {Place{Protocol::sctp, ip("192.0.2.1"), 9}, {{.scheduler = "rr"}}},
    {udp("192.0.2.1", 53), {{.scheduler = "rr", .one_packet = true}}},
    {six, {{.scheduler = "sh", .persistence = 50, .granularity = 64}}},
    {Fwmark{7, Family::ipv6}, {{.scheduler = "rr"}, {{at("fd00::1", 0), {.forward = Forward::dr}}}}}};

bool shows(const Table& t) { return ProcTable().shows(printed, t); }

}  // namespace

TEST(ProcTable, ShowsTheTableItWasPrintedFrom) {
    EXPECT_TRUE(shows(table));
    EXPECT_TRUE(ProcTable().shows(heading, {}));
}

TEST(ProcTable, AnyVisibleDifferenceIsSeen) {
    const auto differs = [](auto change) {
        Table other = table;
        change(other);
        EXPECT_NE(other, table);
        EXPECT_FALSE(shows(other)) << print(other);
    };
    differs([](Table& t) { t.erase(web); });
    differs([](Table& t) { t[tcp("192.0.2.1", 81)]; });
    differs([](Table& t) { t.at(web).backends.erase(at("10.0.0.7", 8080)); });
    differs([](Table& t) { t.at(six).backends[at("fd00::1", 54)]; });
    differs([](Table& t) { t.at(web).backends.at(at("10.0.0.7", 8080)).weight = 6; });
    differs([](Table& t) { t.at(web).backends.at(at("10.0.0.7", 8080)).forward = Forward::dr; });
    differs([](Table& t) { t.at(web).service.scheduler = "sh"; });
    differs([](Table& t) { t.at(web).service.persistence = 301; });
    differs([](Table& t) { t.at(web).service.persistence = 0; });
    differs([](Table& t) { t.at(web).service.granularity = 25; });
    differs([](Table& t) { t.at(six).service.granularity = 0; });
    differs([](Table& t) { t.at(udp("192.0.2.1", 53)).service.one_packet = false; });
}

TEST(ProcTable, AMarkOfBothFamiliesIsDoubtful) {
    Table other = table;
    other[Fwmark{7, Family::ipv4}].service.scheduler = "rr";
    EXPECT_FALSE(ProcTable().shows(printed + "FWM  00000007 rr \n", other));
    EXPECT_FALSE(ProcTable().shows(printed + "FWM  00000007 rr \n", table));
}

// 300 s at 100 ticks a second look like 120 s at 250.
TEST(ProcTable, TheTicksOfASecondAreLearnedOnce) {
    ProcTable proc;
    EXPECT_TRUE(proc.shows(printed, table));
    Table other{{web, {{.scheduler = "rr", .persistence = 120}}}};
    const auto line = heading + "TCP  C0000201:0050 rr persistent 30000 FFFFFFFF\n";
    EXPECT_FALSE(proc.shows(line, other));
    other.at(web).service.persistence = 300;
    EXPECT_TRUE(proc.shows(line, other));
}

TEST(ProcTable, NonsenseIsDoubtful) {
    for (const char* line : {"TCP\n", "TCP  C0000201 rr\n", "TCP  C0000201:10000 rr\n", "XYZ  C0000201:0050 rr\n",
                             "\n", "  -> 0A000007:1F90      Masq    5\n", "IP_300  C0000201:0050 rr\n"})
        EXPECT_FALSE(ProcTable().shows(heading + line, {{web, {{.scheduler = "rr"}}}})) << line;
    EXPECT_FALSE(ProcTable().shows("", table));
}

}  // namespace koi::ipvs
