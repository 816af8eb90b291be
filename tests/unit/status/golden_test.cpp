// Every sample in every rendering, as files a person has read. After a wanted change: KOI_WRITE_GOLDEN=1
// status_tests, and read what changed.
#include <gtest/gtest.h>

#include <cstdlib>

#include "supervisor/base/file.h"
#include "tests/unit/status/samples.h"

namespace koi::status {
namespace {

class Golden : public testing::TestWithParam<samples::Sample> {
protected:
    static void expect(const std::string& ending, const std::string& rendered) {
        const std::string path = KOI_SOURCE_DIR "/tests/golden/status/" + GetParam().name + ending;
        if (std::getenv("KOI_WRITE_GOLDEN")) {
            ASSERT_TRUE(write_whole(path, rendered));
        }
        const auto golden = read_whole(path);
        ASSERT_TRUE(golden) << golden.error().story;
        EXPECT_EQ(rendered, *golden) << path;
    }
    const Status& status() const { return GetParam().status; }
};

TEST_P(Golden, Text) { expect(".txt", as_text(status(), Part::all, {})); }
TEST_P(Golden, JsonAndMetrics) {
    if (status().services.size() > 0 && status().services[0].backends.size() > 100) return;  // nobody would read it
    expect(".json", as_json(status()));
    expect(".metrics", as_metrics(status()));
}
TEST_P(Golden, Yaml) {
    if (GetParam().name == "draining") expect(".yaml", as_yaml(status()));
}

INSTANTIATE_TEST_SUITE_P(Status, Golden, testing::ValuesIn(samples::all()),
                         [](const auto& sample) { return sample.param.name; });

// The parts of `koi show` and the small renderings, of the samples where they show most.
class GoldenPart : public testing::TestWithParam<std::pair<const char*, Status (*)()>> {};

TEST_P(GoldenPart, Text) {
    const auto [word, make] = GetParam();
    const std::string path = KOI_SOURCE_DIR "/tests/golden/status/show_" + std::string(word) + ".txt";
    const std::string rendered = as_text(make(), *part_of(word), {});
    if (std::getenv("KOI_WRITE_GOLDEN")) {
        ASSERT_TRUE(write_whole(path, rendered));
    }
    const auto golden = read_whole(path);
    ASSERT_TRUE(golden) << golden.error().story;
    EXPECT_EQ(rendered, *golden) << path;
}

INSTANTIATE_TEST_SUITE_P(Show, GoldenPart,
                         testing::Values(std::pair("roles", &samples::backup), std::pair("vips", &samples::troubled),
                                         std::pair("services", &samples::draining),
                                         std::pair("pools", &samples::draining),
                                         std::pair("sources", &samples::source_failing),
                                         std::pair("troubles", &samples::troubled),
                                         std::pair("peers", &samples::wide)),
                         [](const auto& part) { return part.param.first; });

}  // namespace
}  // namespace koi::status
