#include "supervisor/vip/announce.h"

#include <gtest/gtest.h>

#include <random>

namespace koi::vip {
namespace {

constexpr Mac ours = {0x02, 0x00, 0x5E, 0x10, 0x00, 0x01};
constexpr Mac theirs = {0x02, 0x00, 0x5E, 0x10, 0x00, 0x99};
const IpAddress v4 = *IpAddress::parse("192.0.2.10");
const IpAddress v6 = *IpAddress::parse("2001:db8::10");

Frame bytes(std::string_view hex) {
    Frame out;
    std::string digits;
    for (const char c : hex)
        if (c != ' ' && c != '\n') digits += c;
    for (std::size_t i = 0; i + 1 < digits.size(); i += 2)
        out.push_back(static_cast<std::uint8_t>(std::stoi(digits.substr(i, 2), nullptr, 16)));
    return out;
}

// The frames below were written by hand from RFC 826, RFC 5227 and RFC 4861, their checksums computed elsewhere.
const Frame arp_request = bytes(
    "ffffffffffff 02005e100001 0806"
    "0001 0800 06 04 0001  02005e100001 c000020a  000000000000 c000020a");
const Frame arp_reply = bytes(
    "ffffffffffff 02005e100001 0806"
    "0001 0800 06 04 0002  02005e100001 c000020a  02005e100001 c000020a");
const Frame arp_probe = bytes(
    "ffffffffffff 02005e100001 0806"
    "0001 0800 06 04 0001  02005e100001 00000000  000000000000 c000020a");
const Frame advertisement = bytes(
    "333300000001 02005e100001 86dd"
    "60000000 0020 3a ff  20010db8000000000000000000000010  ff020000000000000000000000000001"
    "88 00 9afc 20000000  20010db8000000000000000000000010  02 01 02005e100001");

TEST(Announce, Ipv4IsSaidAsARequestAndAsAReply) {
    EXPECT_EQ(announcement(v4, ours, false), (std::vector<Frame>{arp_request, arp_reply}));
}

TEST(Announce, Ipv6IsSaidAsAnAdvertisementThatOverrides) {
    EXPECT_EQ(announcement(v6, ours, false), std::vector<Frame>{advertisement});
}

TEST(Announce, ARouterSaysThatItIsOne) {
    auto expected = advertisement;
    expected[54 + 4] = 0xA0;
    expected[56] = 0x1A;
    expected[57] = 0xFC;
    EXPECT_EQ(announcement(v6, ours, true), std::vector<Frame>{expected});
}

TEST(Announce, AProbeAsksWithoutClaiming) {
    EXPECT_EQ(probe(v4, ours), arp_probe);
    EXPECT_EQ(probe(v6, ours), bytes("3333ff000010 02005e100001 86dd"
                                     "60000000 0018 3a ff  00000000000000000000000000000000"
                                     "ff0200000000000000000001ff000010"
                                     "87 00 4ccf 00000000  20010db8000000000000000000000010"));
}

// ---- Strangers ----------------------------------------------------------------------------------

TEST(Claims, AStrangersAnnouncementIsAClaimAndOursIsNot) {
    const std::set<IpAddress> vips = {v4, v6};
    for (const auto& vip : vips)
        for (const auto& frame : announcement(vip, theirs, false)) {
            EXPECT_EQ(claims(frame, vips, ours), (Stranger{vip, theirs}));
            EXPECT_EQ(claims(frame, vips, theirs), std::nullopt) << "our own";
            EXPECT_EQ(claims(frame, {}, ours), std::nullopt) << "not about our vips";
        }
}

TEST(Claims, AProbeClaimsNothing) {
    for (const auto& vip : {v4, v6}) EXPECT_EQ(claims(probe(vip, theirs), {v4, v6}, ours), std::nullopt);
}

TEST(Claims, AnAdvertisementWithoutTheOptionClaimsForItsSender) {
    auto frame = advertisement;
    std::copy(theirs.begin(), theirs.end(), frame.begin() + 6);
    frame.resize(frame.size() - 8);
    EXPECT_EQ(claims(frame, {v6}, ours), (Stranger{v6, theirs}));
}

TEST(Claims, AnAdvertisementThatCameThroughARouterIsNotBelieved) {
    auto frame = announcement(v6, theirs, false)[0];
    frame[14 + 7] = 254;
    EXPECT_EQ(claims(frame, {v6}, ours), std::nullopt);
}

TEST(Claims, CutAndDamagedFramesAreReadWithoutHarm) {
    const std::size_t told_all = 14 + 40 + 24;  // an advertisement's options may be missing, ARP has none
    for (const auto& whole : {arp_request, arp_reply, advertisement}) {
        for (std::size_t length = 0; length < std::min(whole.size(), told_all); ++length) {
            const Frame cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length));
            EXPECT_EQ(claims(cut, {v4, v6}, theirs), std::nullopt) << length;
        }
        for (unsigned seed = 0; seed < 2000; ++seed) {
            std::mt19937 dice(seed);
            auto damaged = whole;
            for (auto n = dice() % 4; n > 0; --n)
                damaged[dice() % damaged.size()] = static_cast<std::uint8_t>(dice());
            damaged.resize(damaged.size() - dice() % 20);
            claims(damaged, {v4, v6}, theirs);
        }
    }
    auto endless = advertisement;  // an option of length 0 must not be read for ever
    endless[54 + 25] = 0;
    EXPECT_EQ(claims(endless, {v6}, theirs), (Stranger{v6, ours}));
}

}  // namespace
}  // namespace koi::vip
