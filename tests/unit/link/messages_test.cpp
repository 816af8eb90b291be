#include "supervisor/link/messages.h"

#include <gtest/gtest.h>

#include <random>

namespace koi::link {
namespace {

class Dice {
public:
    explicit Dice(unsigned seed) : engine_(seed) {}
    std::uint64_t any() { return engine_(); }
    std::int64_t between(std::int64_t low, std::int64_t high) {
        return std::uniform_int_distribution<std::int64_t>(low, high)(engine_);
    }
    bool coin() { return between(0, 1) == 1; }
    std::uint8_t byte() { return static_cast<std::uint8_t>(between(0, 255)); }
    std::string text(std::int64_t shortest = 0, std::int64_t longest = 40) {
        std::string s(static_cast<std::size_t>(between(shortest, longest)), ' ');
        for (char& c : s) c = static_cast<char>(byte());  // NUL and bytes above 127 as well
        return s;
    }
    Instant instant() { return Instant(duration()); }
    Duration duration() { return Duration(static_cast<std::int64_t>(any())); }
    Vhid vhid() { return *Vhid::of(between(1, 255)); }
    Demotion demotion() { return *Demotion::of(between(0, 240)); }
    IpAddress address() {
        std::array<std::uint8_t, 16> bytes{};
        for (auto& b : bytes) b = byte();
        return coin() ? IpAddress::v6(bytes) : IpAddress::v4({bytes[0], bytes[1], bytes[2], bytes[3]});
    }
    Prefix prefix() {
        Prefix p{address(), 0};
        p.length = static_cast<std::uint8_t>(between(0, p.address.full_length()));
        return p;
    }
    template <class Make>
    auto some(Make make) {
        std::vector<decltype(make())> all;
        for (auto n = between(0, 4); n > 0; --n) all.push_back(make());
        return all;
    }
    template <class Make>
    auto perhaps(Make make) {
        return coin() ? std::optional(make()) : std::nullopt;
    }

private:
    std::mt19937_64 engine_;
};

carp::Settings any_carp(Dice& dice) {
    return {.vhid = dice.vhid(),
            .interface = dice.text(0, 15),
            .addresses = dice.some([&] { return dice.address(); }),
            .password = dice.text(1, 19),
            .advbase = *carp::Advbase::of(dice.between(0, 254)),
            .advskew = *carp::Advskew::of(dice.between(0, 254)),
            .preempt = dice.coin(),
            .preempt_delay = Duration(dice.between(0, 1'000'000'000)),
            .peers = dice.some([&] { return dice.address(); }),
            .link_local = dice.coin() ? carp::LinkLocal::include : carp::LinkLocal::exclude,
            .v6_checksum = dice.coin() ? carp::V6Checksum::pseudo : carp::V6Checksum::plain,
            .lease = {static_cast<carp::Lease::Kind>(dice.between(0, 2)), Duration(dice.between(0, 1'000'000'000))},
            .auth = {static_cast<carp::Auth::Mode>(dice.between(0, 2)),
                     {{1, dice.text(32, 64)}, {static_cast<std::uint8_t>(dice.between(2, 255)), dice.text(32, 32)}},
                     dice.some([&] { return dice.address(); })},
            .interval = Duration(dice.between(0, 60'000'000))};
}

carp::Condition any_condition(Dice& dice) {
    return {dice.any(), static_cast<std::uint16_t>(dice.between(0, 65535)), 7};
}

carp::Refusal any_refusal(Dice& dice) { return static_cast<carp::Refusal>(dice.between(0, carp::refusals - 1)); }

VhidReport any_vhid_report(Dice& dice) {
    VhidReport v{.vhid = dice.vhid(),
                 .interface = dice.text(0, 15),
                 .link_works = dice.coin(),
                 .role = static_cast<carp::Role>(dice.between(0, 2)),
                 .since = dice.instant(),
                 .because = dice.text(),
                 .demotion = dice.demotion(),
                 .stepped_down = dice.coin(),
                 .own_address = dice.perhaps([&] { return dice.address(); }),
                 .master = dice.perhaps([&] { return dice.address(); }),
                 .master_demotion = dice.byte(),
                 .master_beat = dice.duration(),
                 .last_heard = dice.instant(),
                 .leased_until = dice.instant(),
                 .counters = {.sent = dice.any(),
                              .bow_outs_sent = dice.any(),
                              .accepted = dice.any(),
                              .refused = {},
                              .became_master = dice.any()},
                 .unplanned_takeovers = dice.any(),
                 .last_silence = dice.duration(),
                 .vips = dice.some([&] {
                     return VipReport{.held = {.interface = dice.text(0, 15), .prefix = dice.prefix()},
                                      .desired = dice.coin(),
                                      .present = dice.coin(),
                                      .since = dice.instant()};
                 }),
                 .refusals = dice.some([&] {
                     return RefusalReport{any_refusal(dice), dice.address(), dice.instant(), dice.text()};
                 })};
    for (auto& count : v.counters.refused) count = dice.any();
    return v;
}

Report any_report(Dice& dice) {
    return {.vhids = dice.some([&] { return any_vhid_report(dice); }),
            .strangers = dice.some([&] {
                return StrangerReport{.vip = dice.address(),
                                      .mac = {dice.byte(), dice.byte(), dice.byte(), dice.byte(), 4, 5},
                                      .last_seen = dice.instant()};
            }),
            .peers = dice.some([&] {
                return PeerReport{.vhid = dice.vhid(),
                                  .address = dice.address(),
                                  .demotion = dice.byte(),
                                  .beat = dice.duration(),
                                  .last_heard = dice.instant(),
                                  .condition = dice.perhaps([&] { return any_condition(dice); }),
                                  .other_vips = dice.coin(),
                                  .doubt = dice.perhaps([&] { return any_refusal(dice); }),
                                  .standby = dice.coin(),
                                  .presence = dice.coin()};
            }),
            .worker_restarts = dice.any(),
            .worst_slip = dice.duration(),
            .leases = dice.coin(),
            .lease_missing = dice.text(),
            .memory_missing = dice.text(),
            .version = dice.text(),
            .upgrade = {dice.any(), dice.coin(), dice.text(), dice.text(), dice.text()}};
}

// One message of every kind, in the order of the variant.
std::vector<Message> one_of_each(unsigned seed) {
    Dice dice(seed);
    return {
        Settings{.node = dice.text(0, 255),
                 .vhids = dice.some([&] {
                     return VhidSettings{any_carp(dice), dice.some([&] { return dice.prefix(); })};
                 }),
                 .demote_link = dice.demotion()},
        TableReady{dice.vhid(), dice.coin(), dice.coin(), dice.instant(), dice.coin()},
        Condition{any_condition(dice)},
        Demote{dice.demotion()},
        StepDown{dice.vhid(), dice.text()},
        StepUp{dice.vhid()},
        Alive{},
        Say{dice.coin(), dice.text()},
        Reloading{dice.coin()},
        Left{},
        RoleTold{dice.vhid(), static_cast<carp::Role>(dice.between(0, 2)), dice.instant(), dice.text(), dice.coin()},
        any_report(dice),
        Happened{static_cast<int>(dice.between(0, 7)), dice.text(), dice.text(),
                 dice.some([&] { return std::pair(dice.text(), dice.text()); })},
        Reload{},
        Leave{},
        Hello{{static_cast<std::uint8_t>(dice.between(1, 9)), static_cast<std::uint8_t>(dice.between(9, 99))},
              dice.text(0, 63),
              dice.coin()},
        Begin{},
        Upgrade{},
    };
}

TEST(Messages, ThereIsOneOfEachKindInTheseTests) {
    const auto all = one_of_each(0);
    ASSERT_EQ(all.size(), std::variant_size_v<Message>);
    for (std::size_t i = 0; i < all.size(); ++i) EXPECT_EQ(all[i].index(), i);
}

TEST(Messages, WhatIsWrittenIsRead) {
    for (unsigned seed = 0; seed < 500; ++seed)
        for (const Message& message : one_of_each(seed)) {
            const auto read = decode(encode(message));
            ASSERT_TRUE(read) << "kind " << message.index() << ", seed " << seed;
            ASSERT_EQ(*read, message) << "kind " << message.index() << ", seed " << seed;
        }
}

TEST(Messages, AMessageCutShortIsNoMessage) {
    for (unsigned seed = 0; seed < 20; ++seed)
        for (const Message& message : one_of_each(seed)) {
            const auto bytes = encode(message);
            for (std::size_t n = 0; n < bytes.size(); ++n)
                ASSERT_FALSE(decode(std::span(bytes).first(n))) << "kind " << message.index() << " cut to " << n;
        }
}

TEST(Messages, AMessageWithSomethingBehindItIsNoMessage) {
    for (const Message& message : one_of_each(1)) {
        auto bytes = encode(message);
        bytes.push_back(0);
        EXPECT_FALSE(decode(bytes)) << "kind " << message.index();
    }
}

TEST(Messages, AnotherFormatOrAnUnknownKindIsRefused) {
    auto bytes = encode(Alive{});
    ++bytes[0];
    EXPECT_FALSE(decode(bytes));
    bytes = encode(Alive{});
    bytes[1] = static_cast<std::uint8_t>(std::variant_size_v<Message>);
    EXPECT_FALSE(decode(bytes));
}

// A process of the release before reads its own format, which ends earlier, and knows none of the new kinds.
TEST(Messages, TheFormatBeforeIsSpoken) {
    for (unsigned seed = 0; seed < 50; ++seed)
        for (const Message& message : one_of_each(seed)) {
            if (!is_spoken(message, formats.lowest)) continue;
            const auto bytes = encode(message, formats.lowest);
            ASSERT_EQ(format_of(bytes), formats.lowest);
            auto expected = message;
            if (auto* report = std::get_if<Report>(&expected)) report->version = {}, report->upgrade = {};
            ASSERT_EQ(decode(bytes), expected) << "kind " << message.index() << ", seed " << seed;
            if (std::holds_alternative<Report>(message)) {
                ASSERT_LT(bytes.size(), encode(message).size()) << "what is new is not in it";
            }
        }
    EXPECT_FALSE(is_spoken(Hello{}, 4));
    EXPECT_FALSE(is_spoken(Upgrade{}, 4));
    auto hello = encode(Hello{formats, "1.2.3"});
    hello[0] = 4;
    EXPECT_FALSE(decode(hello)) << "nobody says that in format 4";
}

// What 0.1.0 wrote, byte for byte: StepUp of vhid 7 and Demote by 240.
TEST(Messages, FormatFourIsAsItWas) {
    EXPECT_EQ(encode(StepUp{*Vhid::of(7)}, 4), (std::vector<std::uint8_t>{4, 5, 0, 0, 0, 0, 0, 0, 0, 7}));
    EXPECT_EQ(decode(std::vector<std::uint8_t>{4, 3, 0, 0, 0, 0, 0, 0, 0, 240}), Message(Demote{*Demotion::of(240)}));
    EXPECT_EQ(encode(Leave{}, 4), (std::vector<std::uint8_t>{4, 14}));
}

// Any byte may be anything: there is no crash, and what is accepted is inside its bounds, so it can be written again.
TEST(Messages, DamagedBytesGiveNothingOrSomethingWithinBounds) {
    Dice dice(7);
    for (unsigned seed = 0; seed < 200; ++seed)
        for (const Message& message : one_of_each(seed)) {
            auto bytes = encode(message);
            for (auto n = dice.between(1, 3); n > 0; --n)
                bytes[static_cast<std::size_t>(dice.between(0, std::ssize(bytes) - 1))] = dice.byte();
            if (const auto read = decode(bytes)) {
                ASSERT_EQ(decode(encode(*read)), read) << "seed " << seed;
            }
        }
}

// A message with one value replaced behind the encoder's back, as the bytes of that value.
std::optional<Message> with(std::vector<std::uint8_t> bytes, std::size_t at, std::int64_t value) {
    for (std::size_t i = 0; i < 8; ++i) bytes.at(at + i) = static_cast<std::uint8_t>(value >> (56 - 8 * i));
    return decode(bytes);
}

TEST(Messages, NumbersOutOfBoundsAreRefused) {
    constexpr std::size_t behind_kind = 2;
    const auto up = encode(StepUp{*Vhid::of(7)});
    EXPECT_EQ(with(up, behind_kind, 255), Message(StepUp{*Vhid::of(255)}));
    for (const std::int64_t vhid : {0, 256, -1, 65543}) EXPECT_FALSE(with(up, behind_kind, vhid)) << vhid;

    const auto demote = encode(Demote{*Demotion::of(1)});
    EXPECT_TRUE(with(demote, behind_kind, 240));
    for (const std::int64_t demotion : {241, 255, -1}) EXPECT_FALSE(with(demote, behind_kind, demotion)) << demotion;

    const auto happened = encode(Happened{.level = 3, .event = "", .sentence = "", .fields = {}});
    EXPECT_TRUE(with(happened, behind_kind, 7));
    for (const std::int64_t level : {8L, -1L, 1L << 32}) EXPECT_FALSE(with(happened, behind_kind, level)) << level;
}

TEST(Messages, ARoleThatCannotBeIsRefused) {
    constexpr std::size_t behind_vhid = 10;
    auto bytes = encode(RoleTold{*Vhid::of(1), carp::Role::master, Instant{}, ""});
    ASSERT_EQ(bytes[behind_vhid], 2);
    bytes[behind_vhid] = 3;
    EXPECT_FALSE(decode(bytes));
}

TEST(Messages, ASettingThatNoConfigurationGivesIsRefused) {
    Dice dice(3);
    const auto with_carp = [&](auto change) {
        carp::Settings carp = any_carp(dice);
        change(carp);
        return decode(encode(Settings{.node = "a", .vhids = {{carp, {}}}, .demote_link = *Demotion::of(1)}));
    };
    EXPECT_TRUE(with_carp([](auto&) {}));
    EXPECT_FALSE(with_carp([](auto& c) { c.password.clear(); }));
    EXPECT_FALSE(with_carp([](auto& c) { c.password = std::string(20, 'x'); }));
    EXPECT_FALSE(with_carp([](auto& c) { c.interface = "sixteen-letters-"; }));
    EXPECT_FALSE(with_carp([](auto& c) { c.preempt_delay = -1us; }));
}

// A count that lies costs no memory: the bytes end before the things do.
TEST(Messages, ACountThatLiesIsRefused) {
    auto bytes = encode(Report{});
    bytes[2] = 0xff;  // the number of vhids
    EXPECT_FALSE(decode(bytes));
    bytes = encode(Report{});
    bytes[5] = static_cast<std::uint8_t>(bytes.size() - 6);
    EXPECT_FALSE(decode(bytes));
}

}  // namespace
}  // namespace koi::link
