#include <gtest/gtest.h>

#include <sstream>

#include "supervisor/status/layout.h"
#include "supervisor/status/words.h"
#include "tests/unit/status/samples.h"

namespace koi::status {
namespace {

constexpr Part parts[] = {Part::all,   Part::roles,   Part::vips,     Part::services,
                          Part::pools, Part::sources, Part::troubles, Part::peers};

std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> lines;
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) lines.push_back(line);
    return lines;
}

void expect_narrow(const std::string& text, std::size_t columns, const std::string& what) {
    for (const auto& line : lines_of(text)) EXPECT_LE(width(line), columns) << what << ": " << line;
}

std::string without_colours(std::string text) {
    for (std::size_t at = 0; (at = text.find("\033[", at)) != std::string::npos;)
        text.erase(at, text.find('m', at) + 1 - at);
    return text;
}

TEST(Text, NoLineIsWiderThanTheScreen) {
    for (const auto& sample : samples::all())
        for (const Part part : parts)
            for (const unsigned columns : {80u, 100u, 250u})
                for (const bool colour : {false, true})
                    expect_narrow(as_text(sample.status, part, {.colour = colour, .columns = columns}),
                                  std::min(columns, 100u), sample.name);
}

TEST(Text, ColoursAreTheOnlyDifferenceTheyMake) {
    for (const auto& sample : samples::all())
        for (const Part part : parts) {
            const std::string plain = as_text(sample.status, part, {.colour = false});
            EXPECT_EQ(without_colours(as_text(sample.status, part, {.colour = true})), plain);
            EXPECT_EQ(plain.find('\033'), std::string::npos);
        }
}

TEST(Text, TheFirstLineSaysWhoAndWhetherAllIsWell) {
    const auto first = [](const Status& s) { return lines_of(as_text(s, Part::all, {})).front(); };
    EXPECT_EQ(first(samples::well()), "lb1  koi 0.1.0  up 3 d  all well");
    EXPECT_EQ(first(samples::troubled()), "lb1  koi 0.1.0  up 3 d  3 troubles, 1 warning");
    EXPECT_EQ(first(samples::newborn()), "lb1  koi 0.1.0  up 0 s  starting");
}

// What says that a master is not alone.
TEST(Text, TheRoleOfAMasterEndsWithThoseWhoStandBy) {
    Status s = samples::well();
    const auto role = [&] { return as_text(s, Part::roles, {.columns = 250}); };
    s.speaker.vhids[0].because = "told to";
    EXPECT_NE(role().find("told to; 10.0.0.2 stands by\n"), std::string::npos) << role();
    auto another = s.speaker.peers[0];
    another.address = samples::ip("10.0.0.3");
    s.speaker.peers.push_back(another);
    EXPECT_NE(role().find("told to; 10.0.0.2, 10.0.0.3 stand by\n"), std::string::npos) << role();
    s.speaker.peers[0].standby = false;
    s.speaker.peers[1].vhid = *Vhid::of(52);
    EXPECT_NE(role().find("told to\n"), std::string::npos) << role();
}

TEST(Text, APeerThatStoppedStandingByIsShownAsOne) {
    Status s = samples::well();
    const auto peers = [&] { return as_text(s, Part::peers, {}); };
    EXPECT_NE(peers().find("stands by"), std::string::npos) << peers();
    s.speaker.peers[0].standby = false;
    EXPECT_NE(peers().find("stood by"), std::string::npos) << peers();
    s.speaker.peers[0].presence = false;
    EXPECT_EQ(peers().find("by"), std::string::npos) << peers();
}

TEST(Text, AWellNodeWithAFewServicesFitsOneScreen) {
    EXPECT_LE(lines_of(as_text(samples::well(), Part::all, {})).size(), 24u);
}

TEST(Text, WhatHasNotBegunLastsNoTime) {
    Status s = samples::backup();
    s.speaker.vhids[0].vips[0].since = Instant{};
    const std::string vips = as_text(s, Part::vips, {});
    EXPECT_NE(vips.find("192.0.2.10/24    not here      -  eth0"), std::string::npos) << vips;
}

TEST(Text, OfManyBackendsTheUnusualOnesAreShown) {
    const std::string some = as_text(samples::many(), Part::all, {});
    EXPECT_NE(some.find("10.0.1.118:8080"), std::string::npos);
    EXPECT_NE(some.find("10.0.2.1:8080"), std::string::npos);
    EXPECT_NE(some.find("and 280 more"), std::string::npos);
    EXPECT_LE(lines_of(some).size(), 50u);
    const std::string every_one = as_text(samples::many(), Part::services, {});
    EXPECT_NE(every_one.find("10.0.2.50:8080"), std::string::npos);
    EXPECT_GE(lines_of(every_one).size(), 300u);
}

TEST(Text, WordsOfStrangersDoNotSteerTheTerminal) {
    Status s = samples::source_failing();
    s.pools[0].failure = "line 1: \"\033]0;owned\007\" is not an address\nROLES all yours";
    s.troubles[0].sentence = *s.pools[0].failure;
    for (const Part part : parts) {
        const std::string text = as_text(s, part, {});
        EXPECT_EQ(text.find('\033'), std::string::npos);
        EXPECT_EQ(text.find('\007'), std::string::npos);
        for (const auto& line : lines_of(text)) EXPECT_FALSE(line.starts_with("ROLES all")) << text;
    }
}

TEST(Text, AnEventIsALineThatHangsUnderItsSentence) {
    Event e{.number = 7, .at = samples::now, .level = 4, .event = "source", .sentence = "", .fields = {}};
    e.sentence =
        "the source of pool web cannot say who is there: opening /etc/koi/web.backends: No such file or directory";
    EXPECT_EQ(event_text(e, samples::well().wall, {}),
              "2024-05-04T03:32:01.123Z  source      the source of pool web cannot say who is there: opening\n"
              "                                      /etc/koi/web.backends: No such file or directory\n");
    e.event = std::string(90, 'e');
    expect_narrow(event_text(e, samples::well().wall, {}), 100, "event");
}

TEST(Table, AColumnOfFiguresIsAlignedAtTheRight) {
    Page page(100, false);
    Table table({"", "figure>", "word", ""});
    table.row({"a", "5", "x", ""});
    table.row({"long", "12345678", "yy", "note"});
    table.put(page, "HEAD");
    EXPECT_EQ(page.text(),
              "HEAD      figure  word\n"
              "  a            5  x\n"
              "  long  12345678  yy    note\n");
}

TEST(Line, SaysTheRolesTheBackendsAndTheWorst) {
    EXPECT_EQ(as_line(samples::well()), "master of 51; 2 services, 5 of 5 backends");
    EXPECT_EQ(as_line(samples::backup()), "backup of 51 and 52; 2 services, 5 backends known");
    EXPECT_EQ(as_line(samples::newborn()), "roles not known yet");
    Status s = samples::well();
    s.speaker.vhids.push_back(samples::vhid(52, carp::Role::backup, ""));
    s.services[0].backends[0].observed_weight = 0;
    s.troubles = {{"source", "web", "cannot\nbe read", false, samples::now}};
    EXPECT_EQ(as_line(s), "master of 51, backup of 52; 2 services, 4 of 5 backends; 1 trouble: cannot be read");
    s.troubles[0].sentence = std::string(500, 'x');
    EXPECT_LE(width(as_line(s)), 202u);
}

}  // namespace
}  // namespace koi::status
