// What the golden files do not show: single rules at their edges, and promises about all input.
#include "supervisor/config/read.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <ctime>

#include "tests/unit/config/golden.h"

namespace koi::config {
namespace {

const std::string pool = "  web: { source: { static: [10.0.1.1:80] } }\n";

Config config_of(const std::string& text) {
    const auto reading = read_text(text);
    EXPECT_EQ(all_told(reading), "");
    return reading.config.value_or(Config{});
}

// A configuration that was good until somebody edited it: everything is refused, with place and proposal. (Of the
// same three, keepalived ends at the first, loses a backend at the second and applies half of the third.)
TEST(BrokenReload, AMissingValueIsRefused) {
    const auto reading = read("reload_missing_value.yaml", golden_files().loader());
    EXPECT_FALSE(reading.config);
    EXPECT_EQ(all_told(reading),
              "reload_missing_value.yaml:8:5  services[0].scheduler: has no value; write one, or remove the key\n");
}

TEST(BrokenReload, AMisspeltWordIsRefusedWithTheWordThatWasMeant) {
    const auto reading = read("reload_misspelt_word.yaml", golden_files().loader());
    EXPECT_FALSE(reading.config);
    EXPECT_EQ(all_told(reading),
              "reload_misspelt_word.yaml:14:42  pools.web.source.static[1].wieght: unknown key; did you mean "
              "\"weight\"?\n");
}

TEST(BrokenReload, AMissingBracketIsRefusedWhereItOpens) {
    const auto reading = read("reload_missing_bracket.yaml", golden_files().loader());
    EXPECT_FALSE(reading.config);
    EXPECT_EQ(all_told(reading),
              "reload_missing_bracket.yaml:14:11  pools.web.source.static[1]: the \"{\" that opens here is never "
              "closed; a \"}\" is missing\n");
}

TEST(Read, AnUnusableTopIsOneGoodComplaint) {
    EXPECT_EQ(all_told(read_text("")), "koi.yaml: the file is empty; koi.yaml(5) shows what belongs into it\n");
    EXPECT_EQ(all_told(read_text("# nothing\n")),
              "koi.yaml: the file is empty; koi.yaml(5) shows what belongs into it\n");
    EXPECT_EQ(all_told(read_text("- a\n")),
              "koi.yaml:1:1  a configuration is a map of keys and values, not a list; for example node: lb1\n");
    EXPECT_EQ(all_told(read_text("word\n")),
              "koi.yaml:1:1  a configuration is a map of keys and values, not one value; for example node: lb1\n");
    EXPECT_EQ(all_told(read("none.yaml", Files{}.loader())),
              "none.yaml: opening none.yaml: No such file or directory\n");
}

TEST(Read, ADefaultUnderCarpCountsForEveryVipThatDoesNotRepeatIt) {
    const auto config = config_of(
        "carp: { interface: eth0, key_file: /k, advskew: 7, preempt: false, peers: [10.0.0.2] }\n"
        "vips:\n"
        "  - { vhid: 1, addresses: [192.0.2.1/24] }\n"
        "  - { vhid: 2, addresses: [192.0.2.2/24], interface: eth1, advskew: 9, peers: [] }\n");
    ASSERT_EQ(config.vips.size(), 2u);
    EXPECT_EQ(config.vips[0].carp.advskew.value(), 7);
    EXPECT_EQ(config.vips[0].carp.peers.size(), 1u);
    EXPECT_EQ(config.vips[1].carp.interface, "eth1");
    EXPECT_EQ(config.vips[1].carp.advskew.value(), 9);
    EXPECT_FALSE(config.vips[1].carp.preempt);
    EXPECT_TRUE(config.vips[1].carp.peers.empty());
    EXPECT_EQ(config.vips[1].carp.password, "sesame");
}

TEST(Read, TheDefaultsAreThoseOfTheManual) {
    const auto config = config_of(good("  - { name: web, at: 192.0.2.10:80/tcp, pool: web }\n", pool));
    const auto& vip = config.vips[0];
    EXPECT_EQ(config.node, "lb1");
    EXPECT_EQ(vip.addresses[0].text(), "192.0.2.10/24");
    EXPECT_EQ(vip.carp.addresses, std::vector{*IpAddress::parse("192.0.2.10")});
    EXPECT_EQ(vip.carp.advbase.value(), 1);
    EXPECT_EQ(vip.carp.advskew.value(), 0);
    EXPECT_TRUE(vip.carp.preempt);
    EXPECT_EQ(vip.carp.preempt_delay, 0s);
    EXPECT_TRUE(vip.carp.peers.empty());
    const auto& service = config.services[0];
    EXPECT_EQ(service.settings, ipvs::Service{});
    EXPECT_EQ(service.forward, ipvs::Forward::nat);
    EXPECT_EQ(service.vhid, Vhid::of(51));
    EXPECT_FALSE(service.sorry_server);
    EXPECT_EQ(config.pools[0].hold_empty, 30s);
    EXPECT_EQ(config.pools[0].drain, 30s);
    EXPECT_EQ(config.pools[0].weight, *Weight::of(1));
    EXPECT_EQ(config.demote_link.value(), 240);
    EXPECT_EQ(config.standby, Standby::automatic);
}

TEST(Read, AServiceKnowsWhoOwnsItsAddress) {
    const auto config = config_of(
        "carp: { interface: eth0, key_file: /k }\n"
        "vips: [ { vhid: 1, addresses: [192.0.2.1/24] }, { vhid: 9, addresses: [192.0.2.2/24] } ]\n"
        "services:\n"
        "  - { name: a, at: 192.0.2.2:80/tcp, pool: web }\n"
        "  - { name: b, fwmark: 3, family: ipv4, pool: web }\n"
        "pools:\n" +
        pool);
    EXPECT_EQ(config.services[0].vhid, Vhid::of(9));
    EXPECT_FALSE(config.services[1].vhid) << "a mark is nobody's";
}

TEST(Read, APasswordIsNeverShown) {
    // In the wrong place, under the wrong key, in a file that cannot be used.
    for (const std::string text : {"carp: { interface: eth0, key_file: hunter2 }\n", "carp: { password: hunter2 }\n",
                                   "carp: { key_file: [hunter2] }\n", "carp: { key_file: \"hunter2\\n\" }\n"})
        EXPECT_EQ(all_told(read_text(text)).find("hunter2"), std::string::npos) << all_told(read_text(text));
    const auto long_key =
        read_text("carp: { interface: eth0, key_file: /long.key }\nvips: [ { vhid: 1, addresses: [192.0.2.1] } ]\n");
    EXPECT_FALSE(long_key.config);
    EXPECT_EQ(all_told(long_key).find("xxx"), std::string::npos);
}

TEST(Read, AMissingKeyFileComesWithACommandThatMakesOne) {
    const auto told = [](const std::string& path) {
        return all_told(read_text("carp: { interface: eth0, key_file: " + path +
                                  " }\nvips: [ { vhid: 1, addresses: [192.0.2.1] } ]\n"));
    };
    EXPECT_EQ(
        told("/etc/koi/keys/missing.key"),
        "koi.yaml:1:36  carp.key_file: there is no /etc/koi/keys/missing.key; copy it from another node, or make "
        "it with: koi keygen, which writes /etc/koi/keys/carp.key, and name that here\n");
}

TEST(Read, AKeyThatIsWithheldIsNoMistakeOfTheFile) {
    const Files files{
        {{"koi.yaml",
          "carp: { interface: eth0, key_file: /other.key, auth: require, auth_keys: { 1: /other.key } }\n"
          "vips: [ { vhid: 1, addresses: [192.0.2.1/24] } ]\n"}}};
    auto loader = files.loader();
    loader.secret = [](const std::string& path) -> Result<std::string> { return Error{path + " is mine", withheld}; };
    const auto reading = read("koi.yaml", loader);
    EXPECT_EQ(all_told(reading), "");
    ASSERT_TRUE(reading.config);
    EXPECT_EQ(reading.config->vips[0].carp.password, "");
    EXPECT_EQ(reading.config->vips[0].carp.auth.keys.size(), 0u);
    EXPECT_EQ(reading.withheld, (std::map<std::string, std::string>{{"/other.key", "/other.key is mine"}}));
    EXPECT_EQ(reading.key_files, std::vector<std::string>{"/other.key"});
}

TEST(Read, TheKeyFilesAreNamedEvenIfTheRestIsWrong) {
    const auto reading = read_text(
        "carp: { interface: eth0, key_file: /b.key, auth_keys: { 1: /auth.key, 2: /auth2.key } }\n"
        "vips: [ { vhid: 1, adresses: [192.0.2.1/24] }, { vhid: 2, key_file: /a.key } ]\n");
    EXPECT_FALSE(reading.config);
    EXPECT_EQ(reading.key_files, (std::vector<std::string>{"/b.key", "/auth.key", "/auth2.key", "/a.key"}));
}

TEST(Read, ARemarkAboutAKeyIsAWarningWhereItIsNamed) {
    const Files files{{{"koi.yaml", good()}}};
    auto loader = files.loader();
    loader.about_secret = [](const std::string& path) { return std::optional(path + " is odd"); };
    const auto reading = read("koi.yaml", loader);
    EXPECT_TRUE(reading.config);
    EXPECT_EQ(all_told(reading), "warning: koi.yaml:1:36  carp.key_file: /etc/koi/carp.key is odd\n");
}

TEST(Read, AHostNameThatIsNoNameIsReplacedWithAWarning) {
    const Files files{{{"koi.yaml", good()}}};
    auto loader = files.loader();
    loader.host_name = "(none)";
    const auto reading = read("koi.yaml", loader);
    ASSERT_TRUE(reading.config);
    EXPECT_EQ(reading.config->node, "unnamed");
    EXPECT_EQ(reading.warnings.size(), 1u);
}

TEST(Read, ConnectionSyncMayBeSaidToBeOff) {
    config_of(good() + "connection_sync: { enabled: false }\n");
    EXPECT_FALSE(read_text(good() + "connection_sync: { interface: eth1 }\n").config);
    EXPECT_FALSE(read_text(good() + "connection_sync: {}\n").config);
}

TEST(Read, EveryPortOfAnAddressNeedsPersistence) {
    config_of(good("  - { name: web, at: 192.0.2.10:0/tcp, pool: web, persistence: 1s }\n", pool));
    EXPECT_EQ(
        all_told(read_text(good("  - { name: web, at: 192.0.2.10:0/tcp, pool: web, persistence: 0s }\n", pool))),
        "koi.yaml:4:64  services[0].persistence: port 0 means every port, which ip_vs does only with persistence; "
        "write for example 5m\n");
}

TEST(Read, WhatStandsTwiceInOneListIsComparedAsAnAddress) {
    EXPECT_EQ(all_told(read_text("carp: { interface: eth0, key_file: /k }\n"
                                 "vips: [ { vhid: 1, addresses: [\"2001:db8::1/64\", \"2001:0db8:0::1/64\"] } ]\n")),
              "koi.yaml:2:50  vips[0].addresses[1]: 2001:db8::1 is there twice; first at koi.yaml:2:32\n");
}

TEST(Read, ComplaintsComeInTheOrderOfTheFile) {
    const auto reading = read("bad_values.yaml", golden_files().loader());
    EXPECT_TRUE(std::ranges::is_sorted(reading.complaints, {},
                                       [](const Complaint& c) { return std::pair(c.line, c.column); }));
}

std::string many_backends(int count, const std::string& form) {
    std::string text =
        good("  - { name: web, at: 192.0.2.10:80/tcp, pool: web }\n", "  web:\n    source:\n      static:\n");
    for (int i = 0; i < count; ++i) {
        const auto address = "10." + std::to_string(i >> 16 & 255) + "." + std::to_string(i >> 8 & 255) + "." +
                             std::to_string(i & 255);
        text += "        - " +
                (form == "map" ? "{ address: " + address + ", port: 80, weight: 2 }" : address + ":80 2") + "\n";
    }
    return text;
}

// The bound is ten times what it takes, because this machine may have other things to do.
// A processor's time, not the wall's: a busy machine is no mistake. Ten times as many take ten times as long, or so.
TEST(Read, TimeGrowsWithTheNumberOfBackendsAndNotWithItsSquare) {
    const auto read = [](int backends, const std::string& form) {
        const auto text = many_backends(backends, form);
        const auto before = std::clock();
        const auto config = config_of(text);
        const auto took = std::clock() - before;
        EXPECT_EQ(std::get<discovery::StaticSource>(config.pools[0].source).members.size(), std::size_t(backends));
        return static_cast<double>(took) / CLOCKS_PER_SEC;
    };
    for (const std::string form : {"line", "map"}) {
        const double few = std::max(read(1'000, form), 0.005);
        EXPECT_LT(read(10'000, form), 40 * few) << form;
    }
}

TEST(Read, TenThousandMistakesAreAllReported) {
    std::string services;
    for (int i = 0; i < 10'000; ++i)
        services += "  - { name: s" + std::to_string(i) + ", at: 192.0.2.10:80/tcp, pool: nobody, colour: red }\n";
    const auto reading = read_text(good(services, pool));
    EXPECT_EQ(reading.complaints.size(), 29'999u);
}

TEST(Standby, AutoIsWarmAboveFiveHundredEntries) {
    const auto choice = [](int backends, const std::string& more = "") {
        return standby(config_of(many_backends(backends, "line") + more));
    };
    EXPECT_FALSE(choice(11).warm);
    EXPECT_EQ(choice(11).because, "because the table has 12 entries (warm above 500)");
    EXPECT_FALSE(choice(499).warm);
    EXPECT_TRUE(choice(500).warm);
    EXPECT_EQ(choice(500).because, "because the table has more than 500 entries");
    EXPECT_TRUE(choice(1, "standby: warm\n").warm);
    EXPECT_FALSE(choice(600, "standby: cold\n").warm);
    EXPECT_EQ(choice(600, "standby: cold\n").because, "because the configuration says so");
}

TEST(Standby, APoolCountsOncePerServiceAndAFileNotAtAll) {
    std::string services;
    for (int i = 1; i <= 250; ++i)
        services +=
            "  - { name: s" + std::to_string(i) + ", at: 192.0.2.10:" + std::to_string(i) + "/tcp, pool: web }\n";
    EXPECT_EQ(standby(config_of(good(services, pool))).because, "because the table has 500 entries (warm above 500)");
    EXPECT_EQ(standby(config_of(good(services, "  web: { source: { file: /x } }\n"))).because,
              "because the table has 250 entries (warm above 500)");
}

}  // namespace
}  // namespace koi::config
