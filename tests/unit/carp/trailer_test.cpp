#include "carp/trailer.h"

#include <gtest/gtest.h>

#include "tests/conformance/pcap.h"

namespace koi::carp {
namespace {

IpAddress ip(const char* text) { return *IpAddress::parse(text); }

std::string key() {
    std::string k;
    for (char c = 0; c < 32; ++c) k += c;
    return k;
}

const Envelope way{ip("10.0.0.1"), ip("224.0.0.18"), 255};

Trailer example() {
    Trailer t;
    t.key = 9;
    t.leaving = t.asks = t.go = true;
    t.interval_ms = 250;
    t.session = 513;
    t.sender = 0xA1B2C3D4E5F60718;
    t.configuration = 0x1122334455667788;
    t.healthy = 3;
    t.backends = 4;
    t.to = 0xCAFEBABE;
    return t;
}

std::vector<std::uint8_t> packet(const Trailer& t, const Hmac& hmac, const Envelope& on = way) {
    Advert a;
    a.vhid = *Vhid::of(51);
    a.counter = 42;
    return with_trailer(encode(a), t, hmac, on);
}

// A recording of the packet that a real UCARP took for a normal advert (carp.md 5.5).
TEST(Trailer, TheRecordedPacketIsReadAndMadeAgain) {
    const auto frames =
        conformance::read_pcap(std::string(KOI_SOURCE_DIR) + "/tests/conformance/carp/t6-koi-trailer.pcap");
    ASSERT_FALSE(frames.empty());
    const Hmac hmac(Hash::sha256, key());
    bool found = false;
    for (const auto& f : frames) {
        if (f.payload.size() != 92) continue;
        found = true;
        const auto read = read_trailer(f.payload);
        ASSERT_TRUE(std::holds_alternative<Trailer>(read));
        auto t = std::get<Trailer>(read);
        EXPECT_EQ(t.version, 1);
        EXPECT_EQ(t.key, 1);
        EXPECT_TRUE(t.clock);
        EXPECT_EQ(t.interval_ms, 250);
        EXPECT_EQ(t.session, 1);
        EXPECT_EQ(t.sender, 0xA1B2C3D4E5F60718);
        EXPECT_TRUE(tag_fits(f.payload, hmac, f.envelope));
        EXPECT_EQ(with_trailer(std::span(f.payload).first(advert_size), t, hmac, f.envelope), f.payload);
    }
    EXPECT_TRUE(found);
}

TEST(Trailer, WhatIsWrittenIsRead) {
    const Hmac hmac(Hash::sha256, key());
    const auto bytes = packet(example(), hmac);
    EXPECT_EQ(bytes.size(), 36u + 72u);
    EXPECT_EQ(std::get<Trailer>(read_trailer(bytes)), example());
    EXPECT_TRUE(tag_fits(bytes, hmac, way));
    EXPECT_EQ(internet_sum(std::span(bytes).subspan(advert_size)), 0xFFFF) << "invisible to a sum over all";
}

// Nothing that a stranger changes goes through: not one bit of advert or trailer, not another way, not another key.
TEST(Trailer, ATagCoversEveryBitAndTheWay) {
    const Hmac hmac(Hash::sha256, key());
    for (const int version : {1, 2}) {
        auto t = example();
        t.version = version;
        const auto good = packet(t, hmac);
        for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
            auto bad = good;
            bad[bit / 8] = static_cast<std::uint8_t>(bad[bit / 8] ^ (1 << bit % 8));
            const auto read = read_trailer(bad);
            const bool looks_right = std::holds_alternative<Trailer>(read);
            if (bit / 8 >= advert_size) {
                EXPECT_FALSE(looks_right) << "the balance, bit " << bit;
            } else {
                EXPECT_TRUE(looks_right && !tag_fits(bad, hmac, way)) << "bit " << bit;
            }
        }
        EXPECT_FALSE(tag_fits(good, hmac, {ip("10.0.0.2"), way.destination, 255}));
        EXPECT_FALSE(tag_fits(good, hmac, {way.source, ip("10.0.0.2"), 255}));
        EXPECT_FALSE(tag_fits(good, Hmac(Hash::sha256, key() + "x"), way));
    }
}

TEST(Trailer, AddressesOfBothFamiliesAreToldApart) {
    const Hmac hmac(Hash::sha256, key());
    const Envelope v6{ip("fe80::1"), ip("ff02::12"), 255};
    const auto bytes = packet(example(), hmac, v6);
    EXPECT_TRUE(tag_fits(bytes, hmac, v6));
    EXPECT_FALSE(tag_fits(bytes, hmac, way));
}

TEST(Trailer, OthersTrailersAreNone) {
    const Hmac hmac(Hash::sha256, key());
    auto bytes = packet(example(), hmac);
    EXPECT_TRUE(std::holds_alternative<std::monostate>(read_trailer(std::span(bytes).first(36))));
    auto others = bytes;
    others[36] = 'X';
    EXPECT_TRUE(std::holds_alternative<std::monostate>(read_trailer(others)));
    auto newer = bytes;
    newer[40] = 3;
    EXPECT_TRUE(std::holds_alternative<std::monostate>(read_trailer(newer))) << "a Koi to come";
}

TEST(Trailer, OneThatIsCutIsBad) {
    const Hmac hmac(Hash::sha256, key());
    const auto bytes = packet(example(), hmac);
    for (std::size_t n = 41; n < bytes.size(); ++n)
        EXPECT_EQ(std::get<Refusal>(read_trailer(std::span(bytes).first(n))), Refusal::bad_trailer) << n;
}

}  // namespace
}  // namespace koi::carp
