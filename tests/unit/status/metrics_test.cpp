#include <gtest/gtest.h>

#include <map>
#include <regex>
#include <set>
#include <sstream>

#include "tests/unit/status/samples.h"

namespace koi::status {
namespace {

TEST(Metrics, EveryLineIsInPrometheusTextFormat) {
    const std::regex sample(
        R"re((koi_[a-z_]+)(\{([a-z]+="([^"\\\n]|\\[\\"n])*"(,|(?=\})))+\})? (-?[0-9]+(\.[0-9]+)?))re");
    for (const auto& each : samples::all()) {
        if (each.name == "many_backends") continue;  // std::regex takes its time
        std::set<std::string> families, series;
        std::string family;
        std::istringstream in(as_metrics(each.status));
        for (std::string line; std::getline(in, line);) {
            if (line.starts_with("# HELP ")) {
                family = line.substr(7, line.find(' ', 7) - 7);
                EXPECT_TRUE(families.insert(family).second) << family << " twice";
                continue;
            }
            if (line.starts_with("# TYPE ")) {
                const bool total = family.ends_with("_total");
                EXPECT_EQ(line, "# TYPE " + family + (total ? " counter" : " gauge"));
                continue;
            }
            std::smatch parts;
            ASSERT_TRUE(std::regex_match(line, parts, sample)) << each.name << ": " << line;
            EXPECT_EQ(parts[1], family) << line;
            EXPECT_TRUE(series.insert(parts[1].str() + parts[2].str()).second) << "twice: " << line;
        }
    }
}

TEST(Metrics, ExactlyOneRoleIsOneForEachVhid) {
    for (const auto& sample : samples::all()) {
        std::map<std::string, int> ones;
        const std::string text = as_metrics(sample.status);
        const std::regex role(R"re(koi_role\{vhid="([0-9]+)",role="[a-z]+"\} ([01])\n)re");
        for (std::sregex_iterator i(text.begin(), text.end(), role), end; i != end; ++i)
            ones[(*i)[1]] += (*i)[2] == "1";
        EXPECT_EQ(ones.size(), sample.status.speaker.vhids.size());
        for (const auto& [vhid, n] : ones) EXPECT_EQ(n, 1) << vhid;
    }
}

TEST(Metrics, LabelValuesAreEscaped) {
    Status s = samples::well();
    s.node = "a\"b\\c\nd\xff";
    EXPECT_NE(as_metrics(s).find(R"(node="a\"b\\c d?"})"), std::string::npos);
}

TEST(Metrics, TheSameTroubleTwiceIsOneSeries) {
    Status s = samples::well();
    s.troubles = {{"host", "x", "first", false, samples::ago(9s)}, {"host", "x", "second", false, samples::ago(1s)}};
    const std::string text = as_metrics(s);
    const auto first = text.find("koi_trouble_since_seconds{");
    ASSERT_NE(first, std::string::npos);
    EXPECT_EQ(text.find("koi_trouble_since_seconds{", first + 1), std::string::npos);
    EXPECT_NE(text.find("koi_troubles{severity=\"trouble\"} 2"), std::string::npos);
}

}  // namespace
}  // namespace koi::status
