#include "supervisor/control/words.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace koi::control {
namespace {

TEST(Words, AMemberOfTheBody) {
    EXPECT_EQ(number_in(R"({"vhid": 51})", "vhid"), 51);
    EXPECT_EQ(number_in(R"({"vhid": -1, "x": [{"vhid": 7}]})", "vhid"), -1);
    EXPECT_EQ(text_in(R"({"configuration": "/a\u00e9"})", "configuration"), "/aé");
    EXPECT_EQ(number_in(R"({"vhid": 1, "vhid": 2})", "vhid"), 2) << "the last counts";
}

TEST(Words, WhatIsNoneGivesNone) {
    for (const auto* body :
         {"", "{", "51", "[51]", R"(["vhid", 51])", R"([{"vhid": 51}])", R"({"vhid": "51"})", R"({"vhid": [51]})",
          R"({"vhid": {"vhid": 51}})", R"({"vhid": 51.0})", R"({"vhid": null})", R"({"vhid": 18446744073709551615})",
          R"({"vhid": 51}})", R"({"VHID": 51})", R"({"vhid": 51, "vhid": []})", "{\"vhid\": 51, \"x\": \"\xff\"}"})
        EXPECT_FALSE(number_in(body, "vhid")) << body;
    EXPECT_FALSE(text_in(R"({"configuration": 5})", "configuration"));
}

TEST(Words, ABodyOfBracketsIsReadPast) {
    const std::string brackets(2'000'000, '['), ends(2'000'000, ']');
    EXPECT_FALSE(number_in(R"({"vhid": )" + brackets, "vhid"));
    EXPECT_FALSE(number_in(R"({"vhid": )" + brackets + ends + "}", "vhid"));
    EXPECT_EQ(number_in(R"({"x": )" + brackets + ends + R"(, "vhid": 3})", "vhid"), 3);
}

TEST(Words, OfTheQuery) {
    Request r;
    r.query = {{"part", "roles"}, {"columns", "80"}, {"most", "many"}, {"after", "99999999999999999999"}};
    EXPECT_EQ(word(r, "part", "all"), "roles");
    EXPECT_EQ(word(r, "format", "json"), "json");
    EXPECT_EQ(number(r, "columns", 100), 80u);
    EXPECT_EQ(number(r, "most", 2000), 2000u);
    EXPECT_EQ(number(r, "after", 0), 0u);
}

// A path and a query may hold any bytes, and sentences quote them.
TEST(Words, AnAnswerIsJsonWhateverItQuotes) {
    const auto answer = error(404, "there is nothing at GET /\xff\xc3");
    EXPECT_EQ(answer.status, 404);
    EXPECT_EQ(nlohmann::json::parse(answer.body)["error"], "there is nothing at GET /\ufffd\ufffd");
}

}  // namespace
}  // namespace koi::control
