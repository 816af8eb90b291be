// tests/golden/config: NAME.yaml with its normal form (NAME.printed) and what is said about it (NAME.complaints, also
// warnings). Run with KOI_WRITE_GOLDEN=1 to write what is now, and read the difference before you keep it.
#include <gtest/gtest.h>

#include "tests/unit/config/golden.h"

namespace koi::config {
namespace {

void expect_golden(const Files& files, const std::string& name, const std::string& now) {
    const std::string path = KOI_SOURCE_DIR "/tests/golden/config/" + name;
    if (std::getenv("KOI_WRITE_GOLDEN")) {
        if (now.empty())
            std::filesystem::remove(path);
        else
            std::ofstream(path) << now;
        return;
    }
    const auto expected = files.files.find(name);
    EXPECT_EQ(now, expected == files.files.end() ? "" : expected->second) << name;
}

std::vector<std::string> golden_names(const Files& files) {
    std::vector<std::string> names;
    for (const auto& [path, content] : files.files)
        if (path.ends_with(".yaml") && path.find('/') == std::string::npos)
            names.push_back(path.substr(0, path.size() - 5));
    return names;
}

TEST(Golden, EveryConfigurationReadsAndPrintsAsItAlwaysDid) {
    const Files files = golden_files();
    const auto names = golden_names(files);
    ASSERT_GE(names.size(), 15u);
    for (const auto& name : names) {
        const auto reading = read(name + ".yaml", files.loader());
        expect_golden(files, name + ".complaints", all_told(reading));
        expect_golden(files, name + ".printed", reading.config ? print(*reading.config) : "");
        EXPECT_NE(reading.config.has_value(), !reading.complaints.empty()) << name;
    }
}

TEST(Golden, TheNormalFormIsAFixedPoint) {
    const Files files = golden_files();
    unsigned good = 0;
    for (const auto& name : golden_names(files)) {
        const auto reading = read(name + ".yaml", files.loader());
        if (!reading.config) continue;
        ++good;
        const auto printed = print(*reading.config);
        const auto again = read_text(printed);
        ASSERT_TRUE(again.config) << name << "\n" << all_told(again);
        EXPECT_EQ(print(*again.config), printed) << name;
        EXPECT_EQ(*again.config, *reading.config) << name;
    }
    EXPECT_GE(good, 5u);
}

TEST(Golden, TheShippedExampleReadsWithoutComplaint) {
    const auto reading = read_text(content_of(KOI_SOURCE_DIR "/packaging/koi.yaml"));
    EXPECT_EQ(all_told(reading), "");
    ASSERT_TRUE(reading.config);
    EXPECT_EQ(reading.config->services.size(), 1u);
}

// The commented lines of the example are examples as well.
TEST(Golden, TheShippedExampleReadsWithItsAlternativesToo) {
    std::string text = content_of(KOI_SOURCE_DIR "/packaging/koi.yaml");
    const auto exchange = [&](const std::string& from, const std::string& to) {
        const auto at = text.find(from);
        ASSERT_NE(at, std::string::npos) << from;
        text.replace(at, from.size(), to);
    };
    for (const std::string key : {"node: lb1", "preempt_delay:", "peers:", "persistence:", "sorry_server:"})
        exchange("# " + key, key);
    exchange("    addresses: [192.0.2.10/24]\n    # addresses:", "    addresses:");
    exchange("    source: { static:", "    # source: { static:");
    exchange("# source: { file:", "source: { file:");
    EXPECT_EQ(all_told(read_text(text)), "");
}

}  // namespace
}  // namespace koi::config
