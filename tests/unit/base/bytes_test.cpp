#include "supervisor/base/bytes.h"

#include <gtest/gtest.h>

#include <random>

namespace koi {
namespace {

TEST(Bytes, NumbersAreBigEndianAndStringsCarryTheirLength) {
    Writer out;
    out.u8(1).u16(0x0203).u32(0x04050607).boolean(true).string("hi");
    const std::vector<std::uint8_t> expected = {1, 2, 3, 4, 5, 6, 7, 1, 0, 0, 0, 2, 'h', 'i'};
    EXPECT_EQ(out.written(), expected);
}

TEST(Bytes, WhatWasWrittenIsRead) {
    const auto v6 = *Endpoint::parse("[2001:db8::7]:443");
    const auto net = *Prefix::parse("192.0.2.10/24");
    Writer out;
    out.u64(~0ull).i64(-5).boolean(false).string("").string("vhid 51").bytes(std::vector<std::uint8_t>{9, 8});
    out.address(*IpAddress::parse("10.0.0.1")).prefix(net).endpoint(v6).duration(-3s).instant(Instant(4s));
    const auto bytes = out.take();

    Reader in(bytes);
    EXPECT_EQ(in.u64(), ~0ull);
    EXPECT_EQ(in.i64(), -5);
    EXPECT_FALSE(in.boolean());
    EXPECT_EQ(in.string(), "");
    EXPECT_EQ(in.string(), "vhid 51");
    EXPECT_EQ(in.bytes(), (std::vector<std::uint8_t>{9, 8}));
    EXPECT_EQ(in.address().text(), "10.0.0.1");
    EXPECT_EQ(in.prefix(), net);
    EXPECT_EQ(in.endpoint(), v6);
    EXPECT_EQ(in.duration(), Duration(-3s));
    EXPECT_EQ(in.instant(), Instant(4s));
    EXPECT_TRUE(in.complete());
}

TEST(Bytes, AReaderThatFailedOnceGivesZeroFromThenOn) {
    const std::vector<std::uint8_t> bytes = {1, 2, 3};
    Reader in(bytes);
    EXPECT_EQ(in.u16(), 0x0102);
    EXPECT_EQ(in.u32(), 0u);
    EXPECT_TRUE(in.bad());
    EXPECT_EQ(in.u8(), 0) << "the byte that was left is not read either";
    EXPECT_EQ(in.string(), "");
    EXPECT_EQ(in.left(), 0u);
    EXPECT_FALSE(in.complete());
}

TEST(Bytes, BytesLeftOverAreNotComplete) {
    const std::vector<std::uint8_t> bytes = {1, 2};
    Reader in(bytes);
    in.u8();
    EXPECT_FALSE(in.bad());
    EXPECT_FALSE(in.complete());
}

TEST(Bytes, AStringLongerThanAllowedOrThanThereIsMakesTheReaderBad) {
    const auto bytes = Writer().string("seven b").take();
    Reader tight(bytes);
    EXPECT_EQ(tight.string(6), "");
    EXPECT_TRUE(tight.bad());
    Reader fits(bytes);
    EXPECT_EQ(fits.string(7), "seven b");
    EXPECT_TRUE(fits.complete());

    const std::vector<std::uint8_t> lie = {0xFF, 0xFF, 0xFF, 0xFF, 'x'};
    Reader liar(lie);
    EXPECT_EQ(liar.string(), "");
    EXPECT_TRUE(liar.bad());
    Reader counter(lie);
    EXPECT_EQ(counter.count(), 0u) << "a count is safe to reserve";
    EXPECT_TRUE(counter.bad());
}

TEST(Bytes, ValuesThatNoWriterWritesMakeTheReaderBad) {
    const auto refused = [](std::vector<std::uint8_t> bytes, auto read) {
        Reader in(bytes);
        read(in);
        return in.bad();
    };
    EXPECT_TRUE(refused({7}, [](Reader& in) { in.boolean(); }));
    EXPECT_TRUE(refused({5, 1, 2, 3, 4}, [](Reader& in) { in.address(); }));
    EXPECT_TRUE(refused({4, 1, 2, 3, 4, 33}, [](Reader& in) { EXPECT_EQ(in.prefix(), Prefix{}); }));
    EXPECT_TRUE(refused({4, 1, 2, 3, 4, 0, 0}, [](Reader& in) { EXPECT_EQ(in.endpoint(), Endpoint{}); }));
}

// Law: whatever the bytes are, reading ends, inside the bytes; and what is complete can be written again as it was.
TEST(Bytes, AnyBytesAreReadWithoutHarm) {
    for (unsigned seed = 0; seed < 2000; ++seed) {
        std::mt19937 dice(seed);
        std::vector<std::uint8_t> bytes(dice() % 64);
        for (auto& b : bytes) b = static_cast<std::uint8_t>(dice() % 3 == 0 ? dice() : dice() % 7);
        Reader in(bytes);
        Writer again;
        while (!in.bad() && in.left() > 0) {
            switch (dice() % 6) {
                case 0: again.u8(in.u8()); break;
                case 1: again.boolean(in.boolean()); break;
                case 2: again.string(in.string(32)); break;
                case 3: again.prefix(in.prefix()); break;
                case 4: again.endpoint(in.endpoint()); break;
                default: again.i64(in.i64()); break;
            }
        }
        if (in.complete()) {
            ASSERT_EQ(again.written(), bytes) << "seed " << seed;
        }
    }
}

}  // namespace
}  // namespace koi
