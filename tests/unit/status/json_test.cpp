#include <gtest/gtest.h>
#include <yaml-cpp/yaml.h>

#include <nlohmann/json.hpp>
#include <set>

#include "tests/unit/status/samples.h"

namespace koi::status {
namespace {

using Json = nlohmann::json;

constexpr Part parts[] = {Part::all,   Part::roles,   Part::vips,     Part::services,
                          Part::pools, Part::sources, Part::troubles, Part::peers};

// Every path of keys in a tree, with the keys that are found there: "services[].traffic" → {connections, ...}.
void collect(const Json& tree, const std::string& path,
             std::map<std::string, std::set<std::set<std::string>>>& found) {
    if (tree.is_array())
        for (const auto& each : tree) collect(each, path + "[]", found);
    if (!tree.is_object()) return;
    std::set<std::string> keys;
    for (const auto& [key, value] : tree.items()) {
        keys.insert(key);
        collect(value, path + "." + key, found);
    }
    found[path].insert(keys);
}

TEST(Json, TheSameKeysAreThereWhateverTheStatus) {
    for (const Part part : parts) {
        std::map<std::string, std::set<std::set<std::string>>> found;
        for (const auto& sample : samples::all()) collect(Json::parse(as_json(sample.status, part)), "", found);
        for (const auto& [path, key_sets] : found) EXPECT_EQ(key_sets.size(), 1u) << path;
    }
}

TEST(Json, APartIsTheSameInTheWhole) {
    const auto whole = Json::parse(as_json(samples::troubled()));
    for (const auto& [part, key] :
         {std::pair(Part::roles, "roles"), std::pair(Part::vips, "vips"), std::pair(Part::services, "services"),
          std::pair(Part::pools, "pools"), std::pair(Part::troubles, "troubles"), std::pair(Part::peers, "peers")}) {
        const auto tree = Json::parse(as_json(samples::troubled(), part));
        EXPECT_EQ(tree.at(key), whole.at(key)) << key;
        EXPECT_EQ(tree.at("node"), "lb1");
    }
}

TEST(Json, NamesTellTheirUnits) {
    const auto tree = Json::parse(as_json(samples::backup()));
    EXPECT_EQ(tree["uptime_seconds"], 266400.0);
    EXPECT_EQ(tree["roles"][0]["master_beat_seconds"], 1.0);
    EXPECT_EQ(tree["roles"][0]["last_heard"], "2024-05-04T03:32:00.723Z");
    EXPECT_TRUE(tree["services"][0]["backends"][0]["observed_weight"].is_null());
}

TEST(Json, BytesThatAreNoTextDoNotBreakIt) {
    Status s = samples::well();
    s.node = "lb\xff\"1";
    s.pools[0].failure = "\xc3\x28 \033";
    EXPECT_EQ(Json::parse(as_json(s))["node"], "lb?\"1");
    EXPECT_EQ(Json::parse(as_json(s))["pools"][0]["failure"], "?( ?");
}

TEST(Json, AnEventIsOneLine) {
    const Event e{.number = 12,
                  .at = samples::now,
                  .level = 5,
                  .event = "role",
                  .sentence = "vhid 51 is\nmaster now",
                  .fields = {{"vhid", "51"}, {"because", "peer \"silent\""}}};
    const std::string line = event_json(e, samples::well());
    EXPECT_EQ(line.find('\n'), std::string::npos);
    const auto tree = Json::parse(line);
    EXPECT_EQ(tree["number"], 12);
    EXPECT_EQ(tree["time"], "2024-05-04T03:32:01.123Z");
    EXPECT_EQ(tree["sentence"], "vhid 51 is master now");
    EXPECT_EQ(tree["fields"]["because"], "peer \"silent\"");
}

// YAML and JSON say the same: what yaml-cpp reads is the tree that JSON gives.
void expect_same(const YAML::Node& yaml, const Json& json, const std::string& path) {
    if (json.is_object()) {
        ASSERT_TRUE(yaml.IsMap() || json.empty()) << path;
        ASSERT_EQ(yaml.size(), json.size()) << path;
        for (const auto& [key, value] : json.items()) expect_same(yaml[key], value, path + "." + key);
    } else if (json.is_array()) {
        ASSERT_EQ(yaml.size(), json.size()) << path;
        for (std::size_t i = 0; i < json.size(); ++i) expect_same(yaml[i], json[i], path + "[]");
    } else if (json.is_string()) {
        ASSERT_EQ(yaml.Scalar(), json.get<std::string>()) << path;
        ASSERT_FALSE(yaml.IsNull()) << path;
    } else if (json.is_null()) {
        ASSERT_TRUE(yaml.IsNull()) << path;
    } else if (json.is_boolean()) {
        ASSERT_EQ(yaml.as<bool>(), json.get<bool>()) << path;
    } else {
        ASSERT_EQ(yaml.as<double>(), json.get<double>()) << path;
    }
}

TEST(Yaml, SaysWhatJsonSays) {
    for (auto& sample : samples::all())
        for (const Part part : parts)
            expect_same(YAML::Load(as_yaml(sample.status, part)), Json::parse(as_json(sample.status, part)),
                        sample.name);
}

TEST(Yaml, WordsThatMeanSomethingAreQuoted) {
    for (const char* word : {"yes", "Off", "null", "~", "0x10", "1e3", "- a", "a: b", "a #b", "", " a", "a ", "\"q\"",
                             "{", "2024-05-04"}) {
        Status s = samples::well();
        s.node = word;
        EXPECT_EQ(YAML::Load(as_yaml(s))["node"].Scalar(), word);
        if (std::string(word).empty()) continue;
        EXPECT_NE(as_yaml(s).find("node: \""), std::string::npos) << word;
    }
}

}  // namespace
}  // namespace koi::status
