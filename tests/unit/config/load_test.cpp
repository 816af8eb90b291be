// The real files behind read().
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/config/golden.h"

namespace koi::config {
namespace {

namespace fs = std::filesystem;

struct Load : testing::Test {
    Load() {
        std::string name = (fs::temp_directory_path() / "koi-test-XXXXXX").string();
        dir = ::mkdtemp(name.data());
        file("carp.key", "sesame\n", 0600);
        file("koi.yaml", "carp: { interface: eth0, key_file: " + dir + "/carp.key }\n" +
                             "vips: [ { vhid: 51, addresses: [192.0.2.10/24] } ]\n"
                             "services: !include services.d/*.yaml\n"
                             "pools: { web: { source: { static: [10.0.0.1:80] } } }\n");
        fs::create_directory(dir + "/services.d");
        file("services.d/web.yaml", "- { name: web, at: 192.0.2.10:80/tcp, pool: web }\n");
    }
    ~Load() override { fs::remove_all(dir); }

    void file(const std::string& name, const std::string& content, mode_t mode = 0644) {
        std::ofstream(dir + "/" + name) << content;
        ::chmod((dir + "/" + name).c_str(), mode);
    }
    Reading loaded() const { return load(dir + "/koi.yaml"); }

    std::string dir;
};

TEST_F(Load, ReadsTheFileItsIncludesAndTheKey) {
    const auto reading = loaded();
    EXPECT_EQ(all_told(reading), "");
    ASSERT_TRUE(reading.config);
    EXPECT_EQ(reading.config->vips[0].carp.password, "sesame") << "without the line end";
    EXPECT_EQ(reading.config->services.size(), 1u);
    EXPECT_FALSE(reading.config->node.empty());
}

TEST_F(Load, RefusesAKeyFileThatOthersCanRead) {
    file("carp.key", "sesame\n", 0644);
    EXPECT_EQ(all_told(loaded()), dir + "/koi.yaml:1:36  carp.key_file: " + dir +
                                      "/carp.key can be read by others than its owner; run: chmod 0400 " + dir +
                                      "/carp.key\n");
}

TEST_F(Load, RefusesAKeyFileThatIsMissingEmptyOrTooLong) {
    fs::remove(dir + "/carp.key");
    EXPECT_NE(all_told(loaded()).find(
                  "there is no " + dir +
                  "/carp.key; copy it from another node, or make it with: koi keygen --directory " + dir),
              std::string::npos);
    for (const std::string content : {"", "\n", "12345678901234567890", "123456789012345678901234567890\n"}) {
        file("carp.key", content, 0600);
        EXPECT_FALSE(loaded().config) << content;
    }
    file("carp.key", "1234567890123456789\n", 0600);
    EXPECT_TRUE(loaded().config) << "19 bytes are allowed";
}

TEST_F(Load, SaysWhenThereIsNoFileOrADirectoryInstead) {
    EXPECT_EQ(all_told(load(dir + "/none.yaml")),
              dir + "/none.yaml: opening " + dir + "/none.yaml: No such file or directory\n");
    EXPECT_EQ(all_told(load(dir)), dir + ": reading " + dir + ": it is a directory\n");
}

TEST_F(Load, WhatIsPrintedCanBeLoaded) {
    const auto reading = loaded();
    ASSERT_TRUE(reading.config);
    file("again.yaml", print(*reading.config));
    const auto again = load(dir + "/again.yaml");
    EXPECT_EQ(all_told(again), "");
    EXPECT_EQ(again.config, reading.config);
}

}  // namespace
}  // namespace koi::config
