#include "carp/advert.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "tests/conformance/pcap.h"

namespace koi::carp {
namespace {

using Bytes = std::vector<std::uint8_t>;

const Envelope over_v4{*IpAddress::parse("10.77.0.1"), *IpAddress::parse("224.0.0.18"), 255};
const Envelope over_v6{*IpAddress::parse("fe80::1"), *IpAddress::parse("ff02::12"), 255};

Advert example() {
    Advert a;
    a.vhid = *Vhid::of(51);
    a.advskew = 100;
    a.advbase = 1;
    a.demotion = 3;
    a.counter = 0x0123456789ABCDEF;
    for (std::size_t i = 0; i < a.digest.size(); ++i) a.digest[i] = static_cast<std::uint8_t>(i + 1);
    return a;
}

Bytes bytes_of(const Advert& a) {
    const auto out = encode(a);
    return {out.begin(), out.end()};
}

// "advert", or the refusal as it is printed: what the tests below compare.
std::string said_of(const std::variant<Advert, Refusal>& decoded) {
    const auto* refusal = std::get_if<Refusal>(&decoded);
    return refusal ? std::string(to_string(*refusal)) : "advert";
}
std::string verdict(std::span<const std::uint8_t> payload, const Envelope& e = over_v4) {
    return said_of(decode(payload, e));
}

TEST(Advert, EveryFieldHasItsPlace) {
    const auto b = encode(example());
    EXPECT_EQ(b[0], 0x21);
    EXPECT_EQ(b[1], 51);
    EXPECT_EQ(b[2], 100);
    EXPECT_EQ(b[3], 7);
    EXPECT_EQ(b[4], 3);
    EXPECT_EQ(b[5], 1);
    EXPECT_EQ(b[8], 0x01);
    EXPECT_EQ(b[15], 0xEF);
    EXPECT_EQ(b[16], 1);
    EXPECT_EQ(b[35], 20);
}

TEST(Advert, WhatIsWrittenIsRead) {
    std::mt19937_64 dice(1);
    for (int i = 0; i < 2000; ++i) {
        Advert a;
        a.vhid = *Vhid::of(static_cast<int>(1 + dice() % 255));
        a.advskew = static_cast<std::uint8_t>(dice());
        a.advbase = static_cast<std::uint8_t>(dice());
        a.demotion = static_cast<std::uint8_t>(dice());
        a.counter = dice();
        for (auto& b : a.digest) b = static_cast<std::uint8_t>(dice());
        const auto plain = decode(encode(a), over_v4), pseudo = decode(encode_pseudo(a, over_v6), over_v6);
        ASSERT_EQ(std::get<Advert>(plain), a);
        ASSERT_EQ(std::get<Advert>(pseudo), a);
    }
}

TEST(Advert, EveryRecordedFrameIsReadAndWrittenBackAsTheSame36Bytes) {
    for (const auto& capture : conformance::captures) {
        const auto frames = conformance::frames_of(capture);
        ASSERT_EQ(frames.size(), capture.frames) << capture.file;
        for (const auto& f : frames) {
            const auto decoded = decode(f.payload, f.envelope);
            ASSERT_EQ(said_of(decoded), "advert") << capture.file;
            const auto& advert = std::get<Advert>(decoded);
            EXPECT_EQ(advert.vhid.value(), capture.vhid) << capture.file;
            EXPECT_TRUE(std::ranges::equal(encode(advert), std::span(f.payload).first(advert_size))) << capture.file;
        }
    }
}

TEST(Advert, ARecordedFrameSaysWhatItsSenderWasTold) {
    const auto frames =
        conformance::read_pcap(std::string(KOI_SOURCE_DIR) + "/tests/conformance/carp/v3-vhid255-base3-skew240.pcap");
    ASSERT_FALSE(frames.empty());
    const auto advert = std::get<Advert>(decode(frames.front().payload, frames.front().envelope));
    EXPECT_EQ(advert.advbase, 3);
    EXPECT_EQ(advert.advskew, 240);
    EXPECT_EQ(advert.counter, 0xf4bbab42be4324a6u);
    EXPECT_EQ(frames.front().envelope.source.text(), "10.77.0.1");
}

TEST(Advert, APacketThatIsCutShortIsTooShort) {
    const auto whole = bytes_of(example());
    for (std::size_t n = 0; n < advert_size; ++n) EXPECT_EQ(verdict(std::span(whole).first(n)), "too_short") << n;
}

TEST(Advert, EverySingleFlippedBitIsRefused) {
    const auto whole = bytes_of(example());
    for (std::size_t bit = 0; bit < advert_size * 8; ++bit) {
        auto flipped = whole;
        flipped[bit / 8] = static_cast<std::uint8_t>(flipped[bit / 8] ^ (1u << bit % 8));
        EXPECT_NE(verdict(flipped), "advert") << "bit " << bit;
    }
}

TEST(Advert, AnotherVersionIsNamed) {
    auto b = bytes_of(example());
    for (const int first : {0x11, 0x41, 0x01, 0xF1}) {
        b[0] = static_cast<std::uint8_t>(first);
        EXPECT_EQ(verdict(b), "wrong_version") << first;
    }
}

TEST(Advert, VrrpIsToldApart) {
    // keepalived, VRRPv2, one address, vrid 51, priority 150, no authentication: RFC 3768, 5.1.
    const Bytes v2 = {0x21, 51, 150, 1, 0, 1, 0xB8, 0xC6, 192, 0, 2, 10, 0, 0, 0, 0, 0, 0, 0, 0};
    EXPECT_EQ(verdict(v2), "vrrp");
    // Five addresses make a VRRPv2 packet exactly as long as an advert.
    Bytes five = {0x21, 51, 150, 5, 0, 1, 0, 0};
    five.resize(advert_size);
    EXPECT_EQ(verdict(five), "vrrp");
    // VRRPv3, one address: RFC 5798, 5.1. The shortest there is.
    const Bytes v3 = {0x31, 51, 100, 1, 0, 100, 0x12, 0x34, 192, 0, 2, 10};
    EXPECT_EQ(verdict(v3), "vrrp");
    // Version 3 and a type nobody has defined is neither.
    Bytes odd(advert_size, 0);
    odd[0] = 0x32;
    EXPECT_EQ(verdict(odd), "wrong_version");
}

TEST(Advert, WhatCrossedARouterIsRefused) {
    auto far = over_v4;
    far.ttl = 254;
    EXPECT_EQ(verdict(bytes_of(example()), far), "wrong_ttl");
}

TEST(Advert, Vhid0ServesNobody) {
    auto b = bytes_of(example());
    b[1] = 0;
    EXPECT_EQ(verdict(b), "unknown_vhid");
}

TEST(Advert, TypeAndAuthlenAreCheckedByNobody) {
    auto b = bytes_of(example());
    b[0] = 0x2F;
    b[3] = 9;
    const unsigned before = 0x21u << 8 | 51u, after = 0x2Fu << 8 | 51u;
    unsigned checksum =
        static_cast<unsigned>(b[6] << 8 | b[7]) + before - after + 7 - 9;  // RFC 1624, without carries
    b[6] = static_cast<std::uint8_t>(checksum >> 8);
    b[7] = static_cast<std::uint8_t>(checksum);
    EXPECT_EQ(verdict(b), "advert");
}

TEST(Advert, WhatFollowsThe36BytesIsNotRead) {
    auto b = bytes_of(example());
    b.resize(200, 0xA5);
    EXPECT_EQ(verdict(b), "advert");
}

TEST(Advert, NetBsdSumsThePseudoHeaderOverIpv6AndOnlyThere) {
    const auto pseudo = encode_pseudo(example(), over_v6);
    EXPECT_EQ(verdict(pseudo, over_v6), "advert");
    EXPECT_EQ(verdict(bytes_of(example()), over_v6), "advert");
    auto elsewhere = over_v6;
    elsewhere.source = *IpAddress::parse("fe80::2");
    EXPECT_EQ(verdict(pseudo, elsewhere), "wrong_checksum");
    EXPECT_EQ(verdict(pseudo, over_v4), "wrong_checksum");
    EXPECT_EQ(encode_pseudo(example(), over_v4), encode(example()));
}

TEST(Advert, NobodySumsAPseudoHeaderOverIpv4) {
    auto b = bytes_of(example());
    std::uint32_t sum = static_cast<std::uint32_t>(~(b[6] << 8 | b[7]) & 0xFFFF) + 36 + 112;
    for (const auto& address : {over_v4.source, over_v4.destination})
        for (std::size_t i = 0; i < 4; i += 2)
            sum += static_cast<std::uint32_t>(address.bytes()[i] << 8 | address.bytes()[i + 1]);
    while (sum >> 16) sum = (sum & 0xFFFF) + (sum >> 16);
    b[6] = static_cast<std::uint8_t>(~sum >> 8);
    b[7] = static_cast<std::uint8_t>(~sum);
    EXPECT_EQ(verdict(b), "wrong_checksum");
}

TEST(Advert, ThePseudoHeaderIsTheOneOfRfc8200) {
    // Worked by hand: fe80::1, ff02::12, length 36, next header 112; an advert of zeros but for 21 01 00 07.
    Advert a;
    const auto b = encode_pseudo(a, over_v6);
    const unsigned sum = 0xfe80 + 0x0001 + 0xff02 + 0x0012 + 36 + 112 + 0x2101 + 0x0007;
    const unsigned folded = (sum & 0xFFFF) + (sum >> 16);
    EXPECT_EQ(b[6] << 8 | b[7], static_cast<int>(~folded & 0xFFFF));
}

TEST(Advert, EveryRefusalHasAWord) {
    for (std::size_t i = 0; i < refusals; ++i) EXPECT_NE(to_string(static_cast<Refusal>(i)), "?");
    EXPECT_EQ(to_string(static_cast<Refusal>(refusals)), "?");
}

}  // namespace
}  // namespace koi::carp
