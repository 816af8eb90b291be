#include "supervisor/base/address.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <random>

namespace koi {
namespace {

IpAddress ip(std::string_view text) { return IpAddress::parse(text).value(); }
Prefix net(std::string_view text) { return Prefix::parse(text).value(); }

TEST(Address, IsReadAndPrintedInItsShortestForm) {
    EXPECT_EQ(ip("192.0.2.10").text(), "192.0.2.10");
    EXPECT_EQ(ip("2001:DB8:0:0:0:0:0:10").text(), "2001:db8::10");
    EXPECT_EQ(ip("2001:db8:0:1:1:1:1:1").text(), "2001:db8:0:1:1:1:1:1") << "RFC 5952: a single zero group stays";
    EXPECT_EQ(ip("::").text(), "::");
    EXPECT_EQ(IpAddress().text(), "0.0.0.0");
}

TEST(Address, WhatIsNoAddressIsRefused) {
    for (const std::string_view wrong : {"", "lb1", "192.0.2", "192.0.2.256", "192.0.2.010", "192.0.2.1 ",
                                         " 192.0.2.1", "::1::", "fe80::1%eth0", "192.0.2.1/24", "1:2:3:4:5:6:7:8:9"})
        EXPECT_FALSE(IpAddress::parse(wrong)) << wrong;
    EXPECT_FALSE(IpAddress::parse(std::string_view("10.0.0.1\0.evil", 14))) << "nothing may hide behind a zero byte";
    EXPECT_FALSE(IpAddress::parse(std::string(100, '1')));
}

TEST(Address, Ipv4ComesBeforeIpv6AndThenTheBytesDecide) {
    EXPECT_LT(ip("9.0.0.0"), ip("10.0.0.0"));
    EXPECT_LT(ip("255.255.255.255"), ip("::"));
    EXPECT_LT(ip("2001:db8::9"), ip("2001:db8::10"));
    EXPECT_NE(ip("0.0.0.0"), ip("::"));
}

TEST(Address, KnowsItsKind) {
    EXPECT_TRUE(ip("0.0.0.0").is_unspecified());
    EXPECT_TRUE(ip("::").is_unspecified());
    EXPECT_TRUE(ip("224.0.0.18").is_multicast());
    EXPECT_TRUE(ip("ff02::12").is_multicast());
    EXPECT_FALSE(ip("240.0.0.1").is_multicast());
    EXPECT_TRUE(ip("127.3.2.1").is_loopback());
    EXPECT_TRUE(ip("::1").is_loopback());
    EXPECT_FALSE(ip("::2").is_loopback());
    EXPECT_TRUE(ip("169.254.1.1").is_link_local());
    EXPECT_TRUE(ip("febf::1").is_link_local());
    EXPECT_FALSE(ip("fec0::1").is_link_local());
}

TEST(Address, SurvivesASockaddr) {
    for (const auto& address : {ip("192.0.2.10"), ip("2001:db8::10")}) {
        sockaddr_storage storage;
        const auto size = address.to_sockaddr(storage, 8080, 7);
        EXPECT_EQ(size, address.is_v4() ? sizeof(sockaddr_in) : sizeof(sockaddr_in6));
        EXPECT_EQ(IpAddress::from_sockaddr(reinterpret_cast<const sockaddr*>(&storage)), address);
    }
    sockaddr_storage storage;
    ip("fe80::1").to_sockaddr(storage, 8080, 7);
    EXPECT_EQ(reinterpret_cast<sockaddr_in6&>(storage).sin6_scope_id, 7u);
    EXPECT_EQ(reinterpret_cast<sockaddr_in6&>(storage).sin6_port, htons(8080));
    sockaddr other{};
    other.sa_family = AF_UNIX;
    EXPECT_FALSE(IpAddress::from_sockaddr(&other));
}

TEST(Address, ComesFromFourOrSixteenBytesOnly) {
    const std::vector<std::uint8_t> bytes(17, 1);
    for (std::size_t n = 0; n <= bytes.size(); ++n)
        EXPECT_EQ(IpAddress::from_bytes(std::span(bytes).first(n)).has_value(), n == 4 || n == 16) << n;
}

TEST(Prefix, WithoutALengthHasTheFullOne) {
    EXPECT_EQ(net("192.0.2.10").text(), "192.0.2.10/32");
    EXPECT_EQ(net("2001:db8::10").text(), "2001:db8::10/128");
    EXPECT_EQ(net("192.0.2.10/24").text(), "192.0.2.10/24") << "the address keeps its host part";
    for (const std::string_view wrong : {"192.0.2.10/33", "2001:db8::/129", "192.0.2.10/", "192.0.2.10/-1", "/24",
                                         "192.0.2.10/2x", "192.0.2.10/24/24", "192.0.2.10/ 24"})
        EXPECT_FALSE(Prefix::parse(wrong)) << wrong;
}

TEST(Prefix, ContainsItsNetworkAndNothingElse) {
    EXPECT_TRUE(net("192.0.2.10/24").contains(ip("192.0.2.255")));
    EXPECT_FALSE(net("192.0.2.10/24").contains(ip("192.0.3.0")));
    EXPECT_TRUE(net("10.0.0.0/9").contains(ip("10.127.0.1")));
    EXPECT_FALSE(net("10.0.0.0/9").contains(ip("10.128.0.1")));
    EXPECT_TRUE(net("0.0.0.0/0").contains(ip("203.0.113.9")));
    EXPECT_FALSE(net("0.0.0.0/0").contains(ip("::"))) << "another family";
    EXPECT_TRUE(net("2001:db8::10/128").contains(ip("2001:db8::10")));
    EXPECT_FALSE(net("2001:db8::10/127").contains(ip("2001:db8::12")));
}

TEST(Endpoint, IsAnAddressAndAPort) {
    EXPECT_EQ(Endpoint::parse("10.0.0.7:8080").value().text(), "10.0.0.7:8080");
    EXPECT_EQ(Endpoint::parse("[2001:db8::7]:443").value().text(), "[2001:db8::7]:443");
    for (const std::string_view wrong :
         {"10.0.0.7", "10.0.0.7:0", "10.0.0.7:65536", "2001:db8::7:80", "[10.0.0.7]:80", "[2001:db8::7]",
          "[2001:db8::7]80", "[]:80", "10.0.0.7:", ":80", "10.0.0.7:+80", "10.0.0.7: 80", "10.0.0.7:80a"})
        EXPECT_FALSE(Endpoint::parse(wrong)) << wrong;
}

TEST(Protocol, IsSpelledAsItIsPrinted) {
    for (const auto p : {Protocol::tcp, Protocol::udp, Protocol::sctp}) EXPECT_EQ(protocol_of(to_string(p)), p);
    EXPECT_FALSE(protocol_of("TCP"));
    EXPECT_FALSE(protocol_of("icmp"));
}

// The law: what is printed reads in again as itself.
TEST(Address, WhatIsPrintedIsRead) {
    for (unsigned seed = 0; seed < 2000; ++seed) {
        std::mt19937 dice(seed);
        std::array<std::uint8_t, 16> bytes;
        for (auto& b : bytes) b = static_cast<std::uint8_t>(dice() % 3 ? 0 : dice());
        const auto address =
            seed % 2 ? IpAddress::v6(bytes) : IpAddress::v4({bytes[0], bytes[1], bytes[2], bytes[3]});
        const Prefix prefix{address, static_cast<std::uint8_t>(dice() % (address.full_length() + 1u))};
        const Endpoint endpoint{address, Port::of(static_cast<std::int64_t>(dice() % 65535) + 1).value()};
        ASSERT_EQ(IpAddress::parse(address.text()), address) << address.text();
        ASSERT_EQ(Prefix::parse(prefix.text()), prefix) << prefix.text();
        ASSERT_EQ(Endpoint::parse(endpoint.text()), endpoint) << endpoint.text();
        ASSERT_TRUE(prefix.contains(address)) << prefix.text();
    }
}

}  // namespace
}  // namespace koi
