#include "discovery/parse.h"

#include <gtest/gtest.h>

#include "discovery/backend_list.h"

namespace koi::discovery {
namespace {

// What parse() made of it: members as they are written in lines, or complaints, a line each.
std::string told(std::string_view content, FileFormat format) {
    const auto parsed = parse(content, format);
    std::string out;
    if (const auto* complaints = std::get_if<std::vector<ParseComplaint>>(&parsed)) {
        for (const auto& complaint : *complaints) out += complaint.text() + "\n";
        return out;
    }
    for (const auto& member : std::get<std::vector<Member>>(parsed)) {
        out += member.port ? Endpoint{member.address, *member.port}.text() : member.address.text();
        if (member.weight) out += " " + std::to_string(member.weight->value());
        out += "\n";
    }
    return out;
}
std::string lines(std::string_view content) { return told(content, FileFormat::lines); }
std::string json(std::string_view content) { return told(content, FileFormat::json); }
std::string yaml(std::string_view content) { return told(content, FileFormat::yaml); }

TEST(ParseLines, ReadsEveryWayToWriteABackend) {
    EXPECT_EQ(lines("# the web\n"
                    "10.0.0.7:8080 5      # a comment\n"
                    "\n"
                    "  10.0.0.8\t0\r\n"
                    "[2001:db8::7]:8080\n"
                    "[2001:db8::8] 3\n"
                    "2001:db8::9"),
              "10.0.0.7:8080 5\n10.0.0.8 0\n[2001:db8::7]:8080\n2001:db8::8 3\n2001:db8::9\n");
}

TEST(ParseLines, AFileWithoutBackendsMustSaySo) {
    EXPECT_EQ(lines("# none\n"), "");
    const std::string empty =
        "empty, which is what a half-written file looks like; for a pool without backends write \"# none\"\n";
    EXPECT_EQ(lines(""), empty);
    EXPECT_EQ(lines(" \n\n"), empty);
}

TEST(ParseLines, SaysAllThatIsWrongWithItsPlace) {
    EXPECT_EQ(lines("10.0.0.1:80\n"
                    "10.0.0.300:80\n"
                    "10.0.0.1:80 heavy\n"
                    "10.0.0.1:80 65536\n"
                    "10.0.0.1:80 1 2\n"
                    "  web1:80\n"
                    "10.0.0.1:0\n"
                    "10.0.0.1:65536\n"
                    "[10.0.0.1]\n"
                    "10.0.0.1:80 -1\n"),
              "2:1: \"10.0.0.300:80\" is not an address\n"
              "3:13: \"heavy\" is not a weight: a whole number from 0 to 65535\n"
              "4:13: \"65536\" is not a weight: a whole number from 0 to 65535\n"
              "5:15: nothing may follow the weight; a comment begins with #\n"
              "6:3: \"web1:80\" is not an address\n"
              "7:1: \"10.0.0.1:0\" is not an address\n"
              "8:1: \"10.0.0.1:65536\" is not an address\n"
              "9:1: \"[10.0.0.1]\" is not an address\n"
              "10:13: \"-1\" is not a weight: a whole number from 0 to 65535\n");
}

TEST(ParseLines, RefusesAddressesWhereNoBackendCanBe) {
    EXPECT_EQ(lines("0.0.0.0:80\n224.0.0.1:80\n255.255.255.255:80\n[fe80::1]:80\n[ff02::1]:80\n[::]:80\n[::ffff:10.0."
                    "0.1]:80\n"),
              "1:1: 0.0.0.0 is no address of a backend\n"
              "2:1: 224.0.0.1 is a multicast address; a backend needs its own\n"
              "3:1: 255.255.255.255 is the broadcast address; a backend needs its own\n"
              "4:1: fe80::1 is link-local, which ip_vs cannot reach; use a global or unique local address\n"
              "5:1: ff02::1 is a multicast address; a backend needs its own\n"
              "6:1: :: is no address of a backend\n"
              "7:1: ::ffff:10.0.0.1 is an IPv4 address in IPv6 clothes; write it as IPv4\n");
}

TEST(ParseLines, StopsComplainingAfterTwenty) {
    std::string content;
    for (int i = 0; i < 50; ++i) content += "x\n";
    const auto parsed = parse(content, FileFormat::lines);
    const auto& complaints = std::get<std::vector<ParseComplaint>>(parsed);
    ASSERT_EQ(complaints.size(), 21u);
    EXPECT_EQ(complaints.back().text(), "and 30 more");
}

TEST(ParseLines, NobodyCanPaintOnTheTerminal) {
    EXPECT_EQ(lines("\x1b[31mred\x1b[0m\n"), "1:1: \"\\x1b[31mred\\x1b[0m\" is not an address\n");
    EXPECT_EQ(lines("10.0.0.1:80\n\xff\xfe\n"), "2:1: not UTF-8 text from here on\n");
    EXPECT_EQ(lines(std::string(1000, 'x') + "\n"), "1:1: \"" + std::string(80, 'x') + "...\" is not an address\n");
}

TEST(ParseJson, ReadsStringsAndMapsMixed) {
    const std::string members = "10.0.0.7:8080 5\n10.0.0.8:80 2\n2001:db8::1\n10.0.0.9:81\n";
    const std::string list = R"(["10.0.0.7:8080 5", {"address": "10.0.0.8", "port": 80, "weight": 2},
        {"address": "2001:db8::1"}, {"weight": null_, "address": "10.0.0.9", "port": "81"}])";
    std::string good = list;
    good.replace(good.find("\"weight\": null_, "), 17, "");
    EXPECT_EQ(json(good), members);
    EXPECT_EQ(json("{\"backends\": " + good + "}"), members);
    EXPECT_EQ(json("\xEF\xBB\xBF" + good), members) << "with a byte order mark";
    EXPECT_EQ(json("[]"), "");
    EXPECT_EQ(json("{\"backends\": []}"), "");
}

TEST(ParseJson, SaysAllThatIsWrongWithItsPlace) {
    EXPECT_EQ(json("[\"10.0.0.1:80\",\n"
                   "  \"10.0.0.300:80\",\n"
                   "  {\"address\": \"10.0.0.1\", \"prot\": 80},\n"
                   "  {\"port\": 80},\n"
                   "  {\"address\": \"10.0.0.1:80\"},\n"
                   "  {\"address\": \"10.0.0.1\", \"port\": 80.5, \"weight\": -1},\n"
                   "  {\"address\": \"10.0.0.1\", \"address\": \"10.0.0.2\"},\n"
                   "  [\"10.0.0.1:80\"], true, 17,\n"
                   "  {\"address\": [1, {\"a\": 2}]}]"),
              "2:3: \"10.0.0.300:80\" is not an address\n"
              "3:27: unknown key \"prot\"; a backend has \"address\", \"port\" and \"weight\"\n"
              "4:3: a backend without \"address\"\n"
              "5:15: \"10.0.0.1:80\" is not an IP address; its port belongs under \"port\"\n"
              "6:35: \"80.5\" is not a port: a whole number from 1 to 65535\n"
              "6:51: \"-1\" is not a weight: a whole number from 0 to 65535\n"
              "7:27: \"address\" is there twice\n"
              "8:3: a backend must be \"ip:port\" or a map, not a list; in YAML an address in brackets needs quotes\n"
              "8:20: \"true\" is not an address\n"
              "8:26: \"17\" is not an address\n"
              "9:15: \"address\" must be one value, not a list\n");
}

TEST(ParseJson, RefusesOtherShapes) {
    const std::string unknown = "; the list belongs under \"backends\"\n";
    EXPECT_EQ(json("{\"servers\": [\"10.0.0.1:80\"]}"),
              "1:2: unknown key \"servers\"" + unknown +
                  "1:1: a map without \"backends\"; an empty list is written backends: []\n");
    EXPECT_EQ(json("{}"), "1:1: a map without \"backends\"; an empty list is written backends: []\n");
    EXPECT_EQ(json("{\"backends\": [], \"backends\": []}"), "1:18: \"backends\" is there twice\n");
    EXPECT_EQ(json("{\"backends\": null}"), "1:14: \"backends\" must be a list; an empty list is written []\n");
    EXPECT_EQ(json("{\"backends\": {}}"),
              "1:14: \"backends\" must be a list, not a map\n"
              "1:1: a map without \"backends\"; an empty list is written backends: []\n");
    EXPECT_EQ(json("null"), "1:1: must be a list of backends, not \"null\"\n");
    EXPECT_EQ(json("17"), "1:1: must be a list of backends, not \"17\"\n");
    EXPECT_EQ(json(""), "empty, which is what a half-written file looks like; an empty list is written []\n");
}

TEST(ParseJson, HalfAFileIsNoList) {
    const std::string whole = R"({"backends": [{"address": "10.0.0.1", "port": 80}, "10.0.0.2:80"]})";
    ASSERT_EQ(json(whole), "10.0.0.1:80\n10.0.0.2:80\n");
    for (std::size_t cut = 0; cut < whole.size(); ++cut)
        EXPECT_TRUE(
            std::holds_alternative<std::vector<ParseComplaint>>(parse(whole.substr(0, cut), FileFormat::json)))
            << cut;
    EXPECT_EQ(json("[\"10.0.0.1:80\",\n \"10.0.0.2:80\""), "2:15: not JSON: unexpected end of input; expected ']'\n");
    EXPECT_EQ(json("[\"10.0.0.1:80\" \"10.0.0.2:80\"]"), "1:16: not JSON: unexpected string literal; expected ']'\n");
}

TEST(ParseYaml, ReadsTheSameShapes) {
    const std::string members = "10.0.0.7:8080 5\n10.0.0.8:80 2\n2001:db8::1\n[2001:db8::2]:80\n";
    EXPECT_EQ(yaml("- 10.0.0.7:8080 5\n"
                   "- {address: 10.0.0.8, port: 80, weight: 2}\n"
                   "- address: 2001:db8::1\n"
                   "- \"[2001:db8::2]:80\"\n"),
              members);
    EXPECT_EQ(yaml("backends:\n  - 10.0.0.7:8080 5\n  - address: 10.0.0.8\n    port: \"80\"\n    weight: 2\n"
                   "  - 2001:db8::1\n  - '[2001:db8::2]:80'\n"),
              members);
    EXPECT_EQ(yaml("[]\n"), "");
    EXPECT_EQ(yaml("backends: []\n"), "");
}

TEST(ParseYaml, SaysAllThatIsWrongWithItsPlace) {
    EXPECT_EQ(yaml("- 10.0.0.1:80\n"
                   "- 10.0.0.300:80\n"
                   "- address: 10.0.0.1\n"
                   "  prot: 80\n"
                   "-\n"
                   "- {address: 10.0.0.1, port: 0}\n"),
              "2:3: \"10.0.0.300:80\" is not an address\n"
              "4:3: unknown key \"prot\"; a backend has \"address\", \"port\" and \"weight\"\n"
              "6:1: \"null\" is not an address\n"
              "6:29: \"0\" is not a port: a whole number from 1 to 65535\n");
}

TEST(ParseYaml, RefusesWhatItDoesNotRead) {
    EXPECT_EQ(yaml("- &a 10.0.0.1:80\n- *a\n"), "2:3: aliases (*name) are not read in a list of backends\n");
    EXPECT_EQ(yaml("- 10.0.0.1:80\n---\n- 10.0.0.2:80\n"),
              "2:1: a second YAML document begins here; a file holds one\n");
    EXPECT_EQ(yaml(""), "empty, which is what a half-written file looks like; an empty list is written []\n");
    EXPECT_EQ(yaml("- [2001:db8::7]:80\n"),
              "1:3: a backend must be \"ip:port\" or a map, not a list; in YAML an address in brackets needs quotes\n"
              "1:16: not YAML: end of sequence not found\n");
    EXPECT_EQ(yaml("- 10.0.0.1:80\n- \"10.0.0.2:80"), "2:15: not YAML: illegal EOF in scalar\n");
}

TEST(Parse, EveryFormatBearsAHundredThousandBackendsAndNoMore) {
    std::string content;
    for (int i = 0; i < 100'000; ++i) {
        const auto octet = [&](int shift) { return std::to_string((i >> shift) & 255); };
        content += "10." + octet(16) + "." + octet(8) + "." + octet(0) + ":80\n";
    }
    EXPECT_EQ(std::get<std::vector<Member>>(parse(content, FileFormat::lines)).size(), 100'000u);
    EXPECT_EQ(lines(content + "10.9.0.0:80\n"), "100001:1: more than 100000 backends in one pool\n");
}

TEST(Parse, DeepNestingIsACheapComplaint) {
    const std::string deep(200'000, '[');
    EXPECT_NE(json(deep), "");
    EXPECT_NE(yaml(deep), "");
    EXPECT_NE(json(std::string(100'000, '{')), "");
}

TEST(FormatOf, GoesByTheEndingUnlessTold) {
    EXPECT_EQ(format_of({.path = "/a/b.json"}), FileFormat::json);
    EXPECT_EQ(format_of({.path = "/a/b.yaml"}), FileFormat::yaml);
    EXPECT_EQ(format_of({.path = "/a/b.yml"}), FileFormat::yaml);
    EXPECT_EQ(format_of({.path = "/a/b"}), FileFormat::lines);
    EXPECT_EQ(format_of({.path = "/a/b.json", .format = FileFormat::lines}), FileFormat::lines);
}

TEST(ParseMember, IsOneLineOfAFile) {
    std::string why;
    const auto member = parse_member("10.0.0.7:8080 5", why);
    ASSERT_TRUE(member);
    EXPECT_EQ(*member, (Member{*IpAddress::parse("10.0.0.7"), Port::of(8080), Weight::of(5)}));
    EXPECT_FALSE(parse_member("", why));
    EXPECT_EQ(why, "no address");
}

}  // namespace
}  // namespace koi::discovery
