#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <set>
#include <sstream>

#include "tests/unit/status/samples.h"

namespace koi::status {
namespace {

struct Sample {
    std::string name, labels, value;
};

// A line as Prometheus' text format has it, read strictly: name{key="value",…} number. nullopt: it is none. (By hand,
// because std::regex is slow and GCC warns about its inside under the sanitizers.)
std::optional<Sample> parse(const std::string& line) {
    const auto while_in = [&](std::size_t from, std::string_view letters) {
        return std::min(line.find_first_not_of(letters, from), line.size());
    };
    constexpr std::string_view small = "abcdefghijklmnopqrstuvwxyz_", digits = "0123456789";
    std::size_t at = while_in(0, small);
    Sample s{.name = line.substr(0, at), .labels = "", .value = ""};
    if (at < line.size() && line[at] == '{') {
        do {
            const std::size_t key_end = while_in(++at, small);
            if (key_end == at || line.substr(key_end, 2) != "=\"") return std::nullopt;
            for (at = key_end + 2; at < line.size() && line[at] != '"'; ++at)
                if (line[at] == '\\' && (++at >= line.size() || !std::strchr("\\\"n", line[at]))) return std::nullopt;
        } while (++at < line.size() && line[at] == ',');
        if (at >= line.size() || line[at] != '}') return std::nullopt;
        ++at;
        s.labels = line.substr(s.name.size(), at - s.name.size());
    }
    if (!s.name.starts_with("koi_") || at >= line.size() || line[at] != ' ') return std::nullopt;
    s.value = line.substr(at + 1);
    std::size_t end = while_in(at + 1, digits);
    if (end == at + 1) return std::nullopt;
    if (end < line.size() && line[end] == '.') end = while_in(end + 1, digits);
    return end == line.size() ? std::optional(s) : std::nullopt;
}

TEST(Metrics, TheseTestsKnowASampleWhenTheySeeOne) {
    for (const char* good : {"koi_a 1", "koi_a{b=\"c\"} 1.5", R"(koi_a{b="c \" \\ \n",d=""} 0)"})
        EXPECT_TRUE(parse(good)) << good;
    for (const char* bad :
         {"", "koi_a", "koi_a x", "other 1", "koi_a{} 1", "koi_a{b=c} 1", R"(koi_a{b="c} 1)", R"(koi_a{b="c""} 1)",
          R"(koi_a{b="\x"} 1)", R"(koi_a{b="c"}1)", R"(koi_a{b="c",} 1)", "koi_a 1 "})
        EXPECT_FALSE(parse(bad)) << bad;
}

TEST(Metrics, EveryLineIsInPrometheusTextFormat) {
    for (const auto& each : samples::all()) {
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
            const auto sample = parse(line);
            ASSERT_TRUE(sample) << each.name << ": " << line;
            EXPECT_EQ(sample->name, family) << line;
            EXPECT_TRUE(series.insert(sample->name + sample->labels).second) << "twice: " << line;
        }
    }
}

TEST(Metrics, ExactlyOneRoleIsOneForEachVhid) {
    for (const auto& each : samples::all()) {
        std::map<std::string, int> ones;  // by the labels up to the role
        std::istringstream in(as_metrics(each.status));
        for (std::string line; std::getline(in, line);)
            if (const auto sample = parse(line); sample && sample->name == "koi_role")
                ones[sample->labels.substr(0, sample->labels.find(','))] += sample->value == "1";
        EXPECT_EQ(ones.size(), each.status.speaker.vhids.size());
        for (const auto& [vhid, n] : ones) EXPECT_EQ(n, 1) << vhid;
    }
}

TEST(Metrics, WhetherLeasesAreEnforcedIsToldOnlyWhereOneIsWanted) {
    Status s = samples::well();
    EXPECT_NE(as_metrics(s).find("\nkoi_lease_enforced 1\n"), std::string::npos);
    s.speaker.lease_missing = "no nf_tables";
    EXPECT_NE(as_metrics(s).find("\nkoi_lease_enforced 0\n"), std::string::npos);
    s.speaker.leases = false;
    EXPECT_EQ(as_metrics(s).find("\nkoi_lease_enforced "), std::string::npos);
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
