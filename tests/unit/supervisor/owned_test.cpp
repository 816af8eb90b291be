#include "supervisor/owned.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace koi {
namespace {

struct Folder {
    std::string path = [] {
        char name[] = "/tmp/koi-owned-XXXXXX";
        return std::string(::mkdtemp(name));
    }();
    ~Folder() { std::filesystem::remove_all(path); }
    void write(const std::string& text) const { std::ofstream(path + "/owned.json") << text; }
};

TEST(Owned, WhatIsWrittenIsRead) {
    const Folder folder;
    const std::set<ipvs::ServiceKey> owned = {
        ipvs::Place{Protocol::udp, *IpAddress::parse("2001:db8::10"), 53},
        ipvs::Place{Protocol::sctp, *IpAddress::parse("192.0.2.10"), 0},
        ipvs::Fwmark{7, Family::ipv6},
    };
    ASSERT_TRUE(write_owned(folder.path, owned));
    const auto read = read_owned(folder.path);
    ASSERT_TRUE(read) << read.error().story;
    EXPECT_EQ(*read, owned);
}

TEST(Owned, NoRecordIsAnEmptyOne) {
    const Folder folder;
    const auto read = read_owned(folder.path);
    ASSERT_TRUE(read);
    EXPECT_TRUE(read->empty());
}

TEST(Owned, ARecordThatMakesNoSenseIsSetAsideAndNamed) {
    for (const char* text :
         {"", "{", "[]", "{\"services\": 3}", "{\"services\": [3]}", "{\"services\": [{\"fwmark\": \"x\"}]}",
          "{\"services\": [{\"protocol\": \"tcp\", \"address\": \"x\", \"port\": 80}]}",
          "{\"services\": [{\"protocol\": \"tcp\", \"address\": \"192.0.2.1\", \"port\": 70000}]}"}) {
        const Folder folder;
        folder.write(text);
        const auto read = read_owned(folder.path);
        ASSERT_FALSE(read) << text;
        EXPECT_NE(read.error().story.find("owned.json.bad"), std::string::npos);
        EXPECT_TRUE(std::filesystem::exists(folder.path + "/owned.json.bad"));
        EXPECT_TRUE(read_owned(folder.path)) << "the next start is a clean one";
    }
}

}  // namespace
}  // namespace koi
