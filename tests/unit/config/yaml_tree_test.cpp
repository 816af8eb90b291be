#include "supervisor/config/yaml_tree.h"

#include <gtest/gtest.h>

namespace koi::config {
namespace {

const std::string file = "koi.yaml";

Node tree(const std::string& text) {
    auto parsed = parse_yaml(text, file);
    if (const auto* complaint = std::get_if<Complaint>(&parsed)) ADD_FAILURE() << complaint->text();
    return std::holds_alternative<Node>(parsed) ? std::get<Node>(std::move(parsed)) : Node{};
}

std::string complaint_about(const std::string& text) {
    const auto parsed = parse_yaml(text, file);
    const auto* complaint = std::get_if<Complaint>(&parsed);
    return complaint ? complaint->text() : "nothing";
}

TEST(YamlTree, KnowsThePlaceOfEverything) {
    const Node top = tree("node: lb1\nvips:\n  - vhid: 51\n    addresses: [ 192.0.2.10/24 ]\n");
    ASSERT_EQ(top.kind, Node::Kind::map);
    EXPECT_EQ(top.keys[1].place.text(), "koi.yaml:2:1");
    const Node& vip = top.items[1].items[0];
    EXPECT_EQ(vip.place.text(), "koi.yaml:3:5");
    EXPECT_EQ(vip.keys[1].place.text(), "koi.yaml:4:5");
    EXPECT_EQ(vip.items[1].items[0].place.text(), "koi.yaml:4:18");
    EXPECT_EQ(vip.items[1].items[0].text, "192.0.2.10/24");
}

TEST(YamlTree, KeepsOrderAndDuplicates) {
    const Node top = tree("b: 1\na: 2\nb: 3\n");
    ASSERT_EQ(top.keys.size(), 3u);
    EXPECT_EQ(top.keys[0].text + top.keys[1].text + top.keys[2].text, "bab");
    EXPECT_EQ(top.items[2].text, "3");
}

TEST(YamlTree, TellsNothingFromAnEmptyText) {
    const Node top = tree("a:\nb: ''\nc: ~\nd: \"null\"\n");
    EXPECT_EQ(top.items[0].kind, Node::Kind::nothing);
    EXPECT_EQ(top.items[0].place.text(), "koi.yaml:1:1") << "the key's: there is no other";
    EXPECT_EQ(top.items[1].kind, Node::Kind::scalar);
    EXPECT_EQ(top.items[2].kind, Node::Kind::nothing);
    EXPECT_EQ(top.items[3].text, "null");
    EXPECT_EQ(tree("").kind, Node::Kind::nothing);
    EXPECT_EQ(tree("# nothing\n").kind, Node::Kind::nothing);
}

TEST(YamlTree, ResolvesAliasesAndLeavesIncludes) {
    const Node top = tree("a: &x [1, 2]\nb: *x\nc: !include conf.d/*.yaml\n");
    ASSERT_EQ(top.items[1].items.size(), 2u);
    EXPECT_EQ(top.items[1].items[1].place.text(), "koi.yaml:1:11") << "where it is written";
    EXPECT_EQ(top.items[2].kind, Node::Kind::include);
    EXPECT_EQ(top.items[2].text, "conf.d/*.yaml");
}

TEST(YamlTree, ABillionLaughsAreNotFunny) {
    std::string text = "a: &a [x, x, x, x, x, x, x, x, x, x]\n";
    for (char c = 'b'; c < 'k'; ++c) {
        const std::string before(1, static_cast<char>(c - 1));
        text += std::string(1, c) + ": &" + c + " [";
        for (int i = 0; i < 10; ++i) text += (i ? ", *" : "*") + before;
        text += "]\n";
    }
    EXPECT_NE(complaint_about(text).find("anchors and aliases make this file too large"), std::string::npos);
    // The same without a single letter.
    text = "a: &a [[], [], [], [], [], [], [], [], [], []]\n";
    for (char c = 'b'; c < 'h'; ++c) {
        text += std::string(1, c) + ": &" + c + " [";
        for (int i = 0; i < 10; ++i) text += std::string(i ? ", *" : "*") + static_cast<char>(c - 1);
        text += "]\n";
    }
    EXPECT_NE(complaint_about(text).find("anchors and aliases make this file too large"), std::string::npos);
    // The same with one long text instead of many nodes.
    text = "a: &a " + std::string(100'000, 'x') + "\nb: [";
    for (int i = 0; i < 100; ++i) text += i ? ", *a" : "*a";
    EXPECT_NE(complaint_about(text + "]\n").find("anchors and aliases make this file too large"), std::string::npos);
    EXPECT_NE(complaint_about("a: &a [*a]\n").find("this alias means a thing that contains it"), std::string::npos);
}

TEST(YamlTree, DepthIsBounded) {
    EXPECT_NE(complaint_about(std::string(100, '[') + std::string(100, ']')).find("nested too deeply"),
              std::string::npos);
    std::string text = "a: &a [x]\n";
    for (char c = 'b'; c <= 'z'; ++c)
        text += std::string(1, c) + ": &" + c + " [[*" + static_cast<char>(c - 1) + "]]\n";
    EXPECT_NE(complaint_about(text).find("nested too deeply"), std::string::npos) << "nor by way of aliases";
}

TEST(YamlTree, SaysWhereABracketOpensThatIsNeverClosed) {
    const std::string never = " that opens here is never closed; a ";
    EXPECT_EQ(complaint_about("a: [1, 2\nb: 3\n"), "koi.yaml:1:4  a: the \"[\"" + never + "\"]\" is missing");
    EXPECT_EQ(complaint_about("a: { b: [ 1, 2 }\n"),
              "koi.yaml:1:9  a.b: the \"[\"" + never + "\"]\" is missing before the \"}\" at line 1, column 16");
    EXPECT_EQ(complaint_about("a: { b: [ '}', \"]\" ] # }\n"),
              "koi.yaml:1:4  a: the \"{\"" + never + "\"}\" is missing");
    EXPECT_EQ(complaint_about("a:\n  - { b: 1, c: 2\n"),
              "koi.yaml:2:5  a[0]: the \"{\"" + never + "\"}\" is missing");
}

TEST(YamlTree, SaysWhereQuotesOpenThatAreNeverClosed) {
    EXPECT_EQ(complaint_about("a: don't\nb: \"x\n"), "koi.yaml:2:4  the quotes that open here are never closed");
    EXPECT_EQ(complaint_about("a: 'it''s\n"), "koi.yaml:1:4  the quotes that open here are never closed");
    EXPECT_EQ(complaint_about("a: &x \"x\n"), "koi.yaml:1:4  the quotes that open here are never closed");
    EXPECT_EQ(complaint_about("a: \"x"), "koi.yaml:1:4  a: the quotes that open here are never closed");
}

TEST(YamlTree, SaysWhatElseIsWrong) {
    EXPECT_EQ(complaint_about("a:\n\tb: c\n"), "koi.yaml:2:1  a tab in the indentation; YAML wants spaces");
    EXPECT_EQ(complaint_about("a: @x\n"), "koi.yaml:1:4  a: text cannot begin with \"@\"; put it in quotes");
    EXPECT_EQ(
        complaint_about("at: [2001:db8::10]:80/tcp\n"),
        "koi.yaml:1:19  a \":\" behind a list; an IPv6 address in brackets needs quotes: \"[2001:db8::10]:80\"");
    EXPECT_EQ(complaint_about("a: {b: [::1]:80}\nc: [y\n").substr(0, 41),
              "koi.yaml:1:13  a: a \":\" behind a list; an")
        << "brackets further on are another matter";
    EXPECT_EQ(complaint_about("a: *.yaml\n").substr(0, 40), "koi.yaml:1:4  a: an alias (*name) withou");
    EXPECT_EQ(complaint_about("a: 1\n b: 2\n").substr(0, 42), "koi.yaml:2:3  a \":\" where none can be: a m");
    EXPECT_EQ(complaint_about("a: 1\n---\nb: 2\n"),
              "koi.yaml:2:1  a second YAML document begins here; a file holds one");
    EXPECT_EQ(complaint_about("a: !!int 3\n"),
              "koi.yaml:1:4  a: the tag \"tag:yaml.org,2002:int\" is not read here; the only one is !include");
    EXPECT_EQ(complaint_about("<<: {}\n"),
              "koi.yaml:1:1  merge keys (<<) are not read; write the keys out, or put them under \"carp\"");
    EXPECT_EQ(complaint_about("? [a]\n: b\n").substr(0, 45), "koi.yaml:1:3  a key must be a word, not a lis");
}

TEST(YamlTree, RefusesWhatIsNoText) {
    EXPECT_EQ(complaint_about("a: \xff\n"), "koi.yaml:1:4  the file is not UTF-8 from here on; save it as UTF-8");
    EXPECT_EQ(complaint_about("\xff\xfe"
                              "a"),
              "koi.yaml:1:1  the file is UTF-16; save it as UTF-8");
    EXPECT_EQ(complaint_about(std::string("a: b\nc: \0", 9)),
              "koi.yaml:2:4  a control character (\"\\x00\"); is this a text file?");
    EXPECT_EQ(complaint_about("\xEF\xBB\xBF"
                              "a: b\r\n"),
              "nothing")
        << "a byte order mark and DOS line ends are fine";
}

}  // namespace
}  // namespace koi::config
