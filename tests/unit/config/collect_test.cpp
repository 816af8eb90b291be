#include "supervisor/config/collect.h"

#include <gtest/gtest.h>

#include "tests/unit/config/golden.h"

namespace koi::config {
namespace {

const Files pair{
    {{"/home/ada/koi.yaml",
      "carp: { interface: eth0, key_file: /etc/koi/carp.key }\n"
      "vips: [ { vhid: 51, addresses: [192.0.2.10/24, \"2001:db8::10/64\"] } ]\n"
      "services: !include services.d/*.yaml\n"
      "pools: !include pools.yaml\n"},
     {"/home/ada/services.d/a.yaml", "- { name: a, at: 192.0.2.10:80/tcp, pool: web }\n"},
     {"/home/ada/services.d/b.yaml", "- { name: b, at: \"[2001:db8::10]:80/tcp\", pool: six }\n"},
     {"/home/ada/services.d/README", "not asked for"},
     {"/home/ada/pools.yaml",
      "web: { source: { static: [10.0.0.7:80] } }\nsix: { source: { static: [\"[2001:db8::7]:80\"] } }\n"}}};

Collected collected(const Files& files, std::string* told = nullptr) {
    std::vector<Complaint> complaints;
    auto all = collect("/home/ada/koi.yaml", files.loader(), complaints);
    for (const auto& complaint : complaints)
        if (told) *told += complaint.text() + "\n";
    EXPECT_EQ(complaints.empty(), told == nullptr || told->empty());
    return all;
}

// A host that has none of the files, and the secrets.
Loader elsewhere() { return Files{}.loader(); }

TEST(Collect, TakesWhatIsIncludedAndNothingElse) {
    const auto all = collected(pair);
    std::vector<std::string> names;
    for (const auto& [path, content] : all.files) names.push_back(path);
    EXPECT_EQ(names, (std::vector<std::string>{"/home/ada/koi.yaml", "/home/ada/pools.yaml",
                                               "/home/ada/services.d/a.yaml", "/home/ada/services.d/b.yaml"}));
    for (const auto& [path, content] : all.files) EXPECT_EQ(content.find("sesame"), std::string::npos) << "no secret";
}

TEST(Collect, WhatWasCollectedReadsElsewhereAsItReadsHere) {
    const auto there = read("/home/ada/koi.yaml", replay(collected(pair), elsewhere()));
    EXPECT_EQ(all_told(there), "");
    ASSERT_TRUE(there.config);
    EXPECT_EQ(*there.config, *read("/home/ada/koi.yaml", pair.loader()).config);
    EXPECT_EQ(there.config->services.size(), 2u);
}

TEST(Collect, MistakesAreNamedWhereTheOperatorMadeThem) {
    auto wrong = pair;
    wrong.files["/home/ada/services.d/b.yaml"] = "- { name: b, at: \"[2001:db8::10]:80/tcp\",\n    pool: sxi }\n";
    const auto told = all_told(read("/home/ada/koi.yaml", replay(collected(wrong), elsewhere())));
    EXPECT_EQ(
        told.find("/home/ada/services.d/b.yaml:2:11  services[1].pool: there is no pool called \"sxi\"; did you "
                  "mean \"six\"?\n"),
        0u)
        << told;
}

TEST(Collect, WhatCannotBeReadOrIsNoYamlIsToldAtOnceAsReadTellsIt) {
    const auto same = [](Files files) {
        std::string told;
        (void)collected(files, &told);
        EXPECT_EQ(told, all_told(read("/home/ada/koi.yaml", files.loader())));
        return told;
    };
    EXPECT_EQ(same({}), "/home/ada/koi.yaml: opening /home/ada/koi.yaml: No such file or directory\n");
    auto missing = pair;
    missing.files.erase("/home/ada/pools.yaml");
    EXPECT_EQ(same(missing),
              "/home/ada/koi.yaml:4:8  pools: opening /home/ada/pools.yaml: No such file or directory\n");
    auto broken = pair;
    broken.files["/home/ada/pools.yaml"] = "web: [\n";
    EXPECT_EQ(same(broken).find("/home/ada/pools.yaml:1:6  "), 0u);
    auto bytes = pair;
    bytes.files["/home/ada/pools.yaml"] = "web: \xff\n";
    EXPECT_EQ(same(bytes).find("/home/ada/pools.yaml:1:6  "), 0u) << "before JSON could hide it";
    auto circle = pair;
    circle.files["/home/ada/pools.yaml"] = "!include koi.yaml\n";
    EXPECT_NE(same(circle).find("includes itself"), std::string::npos);
}

TEST(Collect, APatternThatMatchesNothingStaysOne) {
    auto none = pair;
    none.files.erase("/home/ada/services.d/a.yaml");
    none.files.erase("/home/ada/services.d/b.yaml");
    const auto there = read("/home/ada/koi.yaml", replay(collected(none), elsewhere()));
    ASSERT_TRUE(there.config) << all_told(there);
    EXPECT_TRUE(there.config->services.empty());
}

TEST(Collect, AFileThatDidNotComeIsNotLookedFor) {
    auto all = collected(pair);
    all.files.erase("/home/ada/pools.yaml");
    const auto there = read("/home/ada/koi.yaml", replay(all, pair.loader()));
    EXPECT_EQ(all_told(there),
              "/home/ada/koi.yaml:4:8  pools: the content of /home/ada/pools.yaml did not come with the question\n");
}

}  // namespace
}  // namespace koi::config
