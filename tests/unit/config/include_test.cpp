#include "supervisor/config/include.h"

#include <gtest/gtest.h>

#include "tests/unit/config/golden.h"

namespace koi::config {
namespace {

// The tree on one line: {key: value, ...}, [item, ...].
std::string in_words(const Node& node) {
    std::string out;
    switch (node.kind) {
        case Node::Kind::nothing: return "nothing";
        case Node::Kind::scalar: return node.text;
        case Node::Kind::include: return "!include " + node.text;
        case Node::Kind::list:
            for (const auto& item : node.items) out += (out.empty() ? "" : ", ") + in_words(item);
            return "[" + out + "]";
        case Node::Kind::map:
            for (std::size_t i = 0; i < node.items.size(); ++i)
                out += (out.empty() ? "" : ", ") + node.keys[i].text + ": " + in_words(node.items[i]);
            return "{" + out + "}";
    }
    return "?";
}

std::string included(const Files& files) {
    Tree tree;
    Notes notes;
    read_tree("/etc/koi.yaml", files.loader(), tree, notes);
    notes.sort();
    std::string out;
    for (const auto& complaint : notes.complaints) out += complaint.text() + "\n";
    return out.empty() ? in_words(tree.root) : out;
}

TEST(Include, JoinsListsInTheOrderOfTheNames) {
    EXPECT_EQ(included({{{"/etc/koi.yaml", "a: !include d/*.yaml\n"},
                         {"/etc/d/2.yaml", "- 3\n"},
                         {"/etc/d/1.yaml", "[1, 2]\n"},
                         {"/etc/d/3.yaml", "# nothing\n"}}}),
              "{a: [1, 2, 3]}");
}

TEST(Include, JoinsMaps) {
    EXPECT_EQ(included({{{"/etc/koi.yaml", "a: !include d/*.yaml\n"},
                         {"/etc/d/1.yaml", "x: 1\n"},
                         {"/etc/d/2.yaml", "y: 2\n"}}}),
              "{a: {x: 1, y: 2}}");
}

TEST(Include, PutsItemsInTheMiddleOfAList) {
    EXPECT_EQ(
        included({{{"/etc/koi.yaml", "- 1\n- !include d/*\n- !include one\n- !include none/*\n- [!include one]\n"},
                   {"/etc/d/1.yaml", "- 2\n- 3\n"},
                   {"/etc/one", "a: b\n"}}}),
        "[1, 2, 3, {a: b}, [{a: b}]]");
}

TEST(Include, TakesOneFileForWhatItIs) {
    EXPECT_EQ(included({{{"/etc/koi.yaml", "!include /opt/x.yaml"},
                         {"/opt/x.yaml", "a: !include y.yaml"},
                         {"/opt/y.yaml", "word"}}}),
              "{a: word}")
        << "relative to the file that says it";
}

TEST(Include, APatternMayMatchNothingButANameMustBeThere) {
    EXPECT_EQ(included({{{"/etc/koi.yaml", "a: !include d/*.yaml\n"}}}), "{a: []}");
    EXPECT_EQ(included({{{"/etc/koi.yaml", "a:\n  - !include d/x.yaml\n"}}}),
              "/etc/koi.yaml:2:5  a[0]: opening /etc/d/x.yaml: No such file or directory\n");
}

TEST(Include, AFileCannotIncludeItselfNorThroughOthers) {
    EXPECT_EQ(included({{{"/etc/koi.yaml", "a: !include koi.yaml\n"}}}),
              "/etc/koi.yaml:1:4  a: \"/etc/koi.yaml\" includes itself\n");
    EXPECT_EQ(
        included({{{"/etc/koi.yaml", "a: !include b\n"}, {"/etc/b", "- !include c\n"}, {"/etc/c", "[!include b]"}}}),
        "/etc/c:1:2  [0]: \"/etc/b\" includes itself\n");
}

TEST(Include, BreadthAndDepthAreBounded) {
    Files deep;
    for (int i = 0; i < 100; ++i)
        deep.files["/etc/" + std::to_string(i)] = "- !include " + std::to_string(i + 1) + "\n";
    deep.files["/etc/koi.yaml"] = "- !include 0\n";
    EXPECT_NE(included(deep).find("nested too deeply"), std::string::npos);
    Files broad;  // each level includes the next ten times
    for (int i = 0; i < 6; ++i) {
        for (int j = 0; j < 10; ++j)
            broad.files["/etc/" + std::to_string(i) + "/" + std::to_string(j)] =
                "- !include /etc/" + std::to_string(i + 1) + "/*\n";
    }
    broad.files["/etc/koi.yaml"] = "- !include 0/*\n";
    EXPECT_NE(included(broad).find("too many included files"), std::string::npos);
}

TEST(Include, AllBrokenFilesAreNamed) {
    EXPECT_EQ(included({{{"/etc/koi.yaml", "a: !include d/*\n"}, {"/etc/d/1", "[1"}, {"/etc/d/2", "- x: @\n"}}}),
              "/etc/d/1:1:1  the \"[\" that opens here is never closed; a \"]\" is missing\n"
              "/etc/d/2:1:6  [0].x: text cannot begin with \"@\"; put it in quotes\n");
}

TEST(Include, ComplaintsNameTheIncludedFile) {
    const Files files{{{"koi.yaml", good() + "services: !include d/*\n"},
                       {"d/a", "- { name: web, at: 192.0.2.10:80/tcp, pool: wbe }\n"}}};
    EXPECT_EQ(all_told(read("koi.yaml", files.loader())),
              "d/a:1:45  services[0].pool: there is no pool called \"wbe\"\n");
}

}  // namespace
}  // namespace koi::config
