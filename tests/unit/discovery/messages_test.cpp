#include "discovery/messages.h"

#include <gtest/gtest.h>

#include <random>

namespace koi::discovery {
namespace {

PoolSettings file_pool() {
    return {.name = "web",
            .source = FileSource{.path = "/etc/koi/web.json", .format = FileFormat::json},
            .weight = *Weight::of(7),
            .port = Port::of(8080),
            .hold_empty = 0s,
            .drain = 90s};
}

PoolSettings static_pool() {
    return {.name = "sorry",
            .source = StaticSource{{{*IpAddress::parse("10.0.0.1"), Port::of(80), {}},
                                    {*IpAddress::parse("2001:db8::1"), {}, Weight::of(0)}}},
            .port = {}};
}

template <class Kind>
Kind there_and_back(const Kind& message) {
    const auto decoded = decode(encode(message));
    EXPECT_TRUE(decoded);
    return decoded && std::holds_alternative<Kind>(*decoded) ? std::get<Kind>(*decoded) : Kind{};
}

Snapshot some_members(std::mt19937& dice, std::size_t count) {
    Snapshot members;
    while (members.size() < count) {
        std::array<std::uint8_t, 4> v4;
        std::array<std::uint8_t, 16> v6;
        for (auto& byte : v4) byte = static_cast<std::uint8_t>(dice());
        for (auto& byte : v6) byte = static_cast<std::uint8_t>(dice());
        const auto address = dice() % 2 ? IpAddress::v4(v4) : IpAddress::v6(v6);
        members.emplace(Endpoint{address, *Port::of(1 + dice() % 65535)}, *Weight::of(dice() % 65536));
    }
    return members;
}

TEST(ScoutMessages, WhatIsWrittenIsRead) {
    EXPECT_EQ(there_and_back(WatchPools{{file_pool(), static_pool()}}).pools,
              (std::vector{file_pool(), static_pool()}));
    EXPECT_EQ(there_and_back(WatchPools{}).pools, std::vector<PoolSettings>{});
    const auto failed = there_and_back(SourceFailed{"web", "there is no /etc/koi/web.json"});
    EXPECT_EQ(failed.pool, "web");
    EXPECT_EQ(failed.story, "there is no /etc/koi/web.json");
    there_and_back(ScoutAlive{});
    for (unsigned seed = 0; seed < 100; ++seed) {
        std::mt19937 dice(seed);
        const PoolSnapshot snapshot{"web", some_members(dice, seed)};
        EXPECT_EQ(there_and_back(snapshot).members, snapshot.members) << "seed " << seed;
    }
}

TEST(ScoutMessages, HalfAMessageIsNone) {
    std::mt19937 dice(1);
    for (const Message& message :
         {Message(WatchPools{{file_pool(), static_pool()}}), Message(PoolSnapshot{"web", some_members(dice, 5)}),
          Message(SourceFailed{"web", "no"}), Message(ScoutAlive{})}) {
        auto bytes = encode(message);
        for (std::size_t cut = 0; cut < bytes.size(); ++cut) EXPECT_FALSE(decode(std::span(bytes).first(cut))) << cut;
        bytes.push_back(0);
        EXPECT_FALSE(decode(bytes)) << "and one byte too many is none either";
    }
}

TEST(ScoutMessages, WhatNobodyWritesIsNotRead) {
    EXPECT_FALSE(decode(std::vector<std::uint8_t>{}));
    EXPECT_FALSE(decode(std::vector<std::uint8_t>{'?'}));
    // Two members in the wrong order: the same place twice would be one member less than was counted.
    const PoolSnapshot one{"w", {{*Endpoint::parse("10.0.0.1:80"), *Weight::of(1)}}};
    auto bytes = encode(one);
    const std::vector<std::uint8_t> member(bytes.end() - 9, bytes.end());
    bytes.insert(bytes.end(), member.begin(), member.end());
    bytes[10] = 2;  // the count
    EXPECT_FALSE(decode(bytes));
}

// A worker of before reads no first byte, and is written none; nor is the scout's version said to it.
TEST(ScoutMessages, TheFormatBeforeIsSpoken) {
    const auto old = encode(WatchPools{{file_pool()}}, formats.lowest), now = encode(WatchPools{{file_pool()}});
    EXPECT_EQ(format_of(old), formats.lowest);
    EXPECT_EQ(format_of(now), formats.highest);
    EXPECT_EQ(old[0], 'W');
    EXPECT_EQ(std::get<WatchPools>(*decode(old)).pools, std::vector{file_pool()});
    EXPECT_EQ(encode(ScoutAlive{"1.2.3"}, 1), std::vector<std::uint8_t>{'A'});
    EXPECT_EQ(std::get<ScoutAlive>(*decode(encode(ScoutAlive{"1.2.3"}))).version, "1.2.3");
}

TEST(ScoutMessages, AFormatTooFarAwayIsNoMessageButIsTold) {
    auto bytes = encode(ScoutAlive{});
    bytes[0] = formats.highest + 1;
    EXPECT_FALSE(decode(bytes));
    EXPECT_EQ(format_of(bytes), formats.highest + 1);
}

TEST(ScoutMessages, ALongStoryIsCutRatherThanLost) {
    const auto failed = there_and_back(SourceFailed{"web", std::string(100'000, 'x')});
    EXPECT_EQ(failed.story.size(), 4096u);
}

}  // namespace
}  // namespace koi::discovery
