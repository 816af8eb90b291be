// Adverts over a real wire: two network namespaces with a veth pair between them. Needs root; skips without.
#include "carp/advert_socket.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>

#include <cstdlib>
#include <cstring>
#include <functional>

namespace koi::carp {
namespace {

IpAddress ip(const char* text) { return *IpAddress::parse(text); }

Fd this_namespace() { return Fd(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)); }

bool run(const std::string& command) { return std::system((command + " >/dev/null 2>&1").c_str()) == 0; }

// left (eth "kleft", 10.9.0.1, fe80::1) and right ("kright", 10.9.0.2, fe80::2). The namespaces have no name: they
// end with their last descriptor, also when a test dies.
class AdvertSocketOnAWire : public ::testing::Test {
protected:
    static bool make(Fd& where) {
        if (::unshare(CLONE_NEWNET) != 0) return false;
        where = this_namespace();
        return static_cast<bool>(where);
    }
    static void go(const Fd& where) {
        if (where && ::setns(where.get(), CLONE_NEWNET) != 0)
            FAIL() << "entering a namespace: " << std::strerror(errno);
    }
    template <class Deed>
    auto in(const Fd& where, Deed deed) {
        go(where);
        auto result = deed();
        go(home_);
        return result;
    }
    template <class Deed>
    auto in_left(Deed deed) {
        return in(left_, std::move(deed));
    }
    template <class Deed>
    auto in_right(Deed deed) {
        return in(right_, std::move(deed));
    }

    static bool prepare(const std::string& link, const std::string& host) {
        return run("ip link set lo up") && run("ip link set " + link + " up") &&
               run("ip addr add 10.9.0." + host + "/24 dev " + link) &&
               run("ip addr add fe80::" + host + "/64 dev " + link + " nodad");
    }

    bool connect() {
        const auto there = "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(right_.get());
        return run("ip link add kleft type veth peer name kright netns " + there) && prepare("kleft", "1") &&
               in_right([] { return prepare("kright", "2"); });
    }
    void SetUp() override {
        home_ = this_namespace();
        if (!home_ || !make(left_) || !make(right_)) {
            GTEST_SKIP() << "making network namespaces needs root: " << std::strerror(errno);
        }
        if (!in_left([this] { return connect(); }))
            GTEST_SKIP() << "no veth pair here; the tool `ip` (package iproute2) and the module veth are needed";
    }
    void TearDown() override {
        if (left_) go(home_);
    }

    static Result<AdvertSocket> open(Family family, const char* link) {
        return AdvertSocket::open(family, link, if_nametoindex(link));
    }
    AdvertSocket left(Family f) {
        return in_left([&] { return std::move(open(f, "kleft")).value(); });
    }
    AdvertSocket right(Family f) {
        return in_right([&] { return std::move(open(f, "kright")).value(); });
    }

    static std::vector<Packet> hear(AdvertSocket& socket, std::size_t most = 64) {
        pollfd wait{socket.fd(), POLLIN, 0};
        ::poll(&wait, 1, 2000);
        return socket.receive(most);
    }
    static bool is_silent(AdvertSocket& socket) {
        pollfd wait{socket.fd(), POLLIN, 0};
        return ::poll(&wait, 1, 100) == 0;
    }

    Fd home_, left_, right_;
};

Advert example() {
    Advert a;
    a.vhid = *Vhid::of(51);
    a.advbase = 1;
    a.advskew = 100;
    a.counter = 0x1122334455667788;
    a.digest.fill(0xA5);
    return a;
}

std::vector<std::uint8_t> plainly(const Envelope&) {
    const auto bytes = encode(example());
    return {bytes.begin(), bytes.end()};
}

void expect_heard(const std::vector<Packet>& packets, const char* source, const char* destination) {
    ASSERT_EQ(packets.size(), 1u);
    const auto& p = packets.front();
    EXPECT_EQ(p.envelope.source, ip(source));
    EXPECT_EQ(p.envelope.destination, ip(destination));
    EXPECT_EQ(p.envelope.ttl, 255);
    EXPECT_EQ(p.payload.size(), advert_size);
    const auto decoded = decode(p.payload, p.envelope);
    ASSERT_TRUE(std::holds_alternative<Advert>(decoded)) << to_string(std::get<Refusal>(decoded));
    EXPECT_EQ(std::get<Advert>(decoded), example());
}

TEST_F(AdvertSocketOnAWire, MulticastOverIpv4) {
    auto a = left(Family::ipv4), b = right(Family::ipv4);
    ASSERT_TRUE(a.send({}, ip("10.9.0.1"), plainly));
    expect_heard(hear(b), "10.9.0.1", "224.0.0.18");
    EXPECT_TRUE(is_silent(a)) << "our own adverts do not come back";
}

TEST_F(AdvertSocketOnAWire, ThousandsThatComeWhileWeAreBusyFindRoom) {
    for (const auto family : {Family::ipv4, Family::ipv6}) {
        auto a = left(family), b = right(family);
        for (int n = 0; n < 4000; ++n)
            ASSERT_TRUE(a.send({}, ip(family == Family::ipv4 ? "10.9.0.1" : "fe80::1"), plainly));
        std::size_t heard = 0;
        while (!is_silent(b)) heard += b.receive().size();
        EXPECT_EQ(heard, 4000u);
    }
}

TEST_F(AdvertSocketOnAWire, MulticastOverIpv6WithBothChecksums) {
    auto a = left(Family::ipv6), b = right(Family::ipv6);
    for (const auto checksum : {V6Checksum::plain, V6Checksum::pseudo}) {
        const auto done = a.send({}, ip("fe80::1"), [&](const Envelope& way) {
            const auto bytes = checksum == V6Checksum::plain ? encode(example()) : encode_pseudo(example(), way);
            return std::vector<std::uint8_t>(bytes.begin(), bytes.end());
        });
        ASSERT_TRUE(done) << done.error().story;
        const auto packets = hear(b);
        expect_heard(packets, "fe80::1", "ff02::12");
        const auto plain = encode(example());
        EXPECT_EQ(std::equal(plain.begin(), plain.end(), packets.at(0).payload.begin()),
                  checksum == V6Checksum::plain);
    }
    EXPECT_TRUE(is_silent(a));
}

TEST_F(AdvertSocketOnAWire, UnicastGoesToThePeersOfItsFamily) {
    Settings s;
    s.peers = {ip("10.9.0.2"), ip("fe80::2")};
    auto a4 = left(Family::ipv4), a6 = left(Family::ipv6), b4 = right(Family::ipv4), b6 = right(Family::ipv6);
    ASSERT_TRUE(a4.send(s.peers, ip("10.9.0.1"), plainly));
    expect_heard(hear(b4), "10.9.0.1", "10.9.0.2");
    EXPECT_TRUE(is_silent(b6));
    const auto done = a6.send(s.peers, ip("fe80::1"), plainly);
    ASSERT_TRUE(done) << done.error().story;
    expect_heard(hear(b6), "fe80::1", "fe80::2");
    EXPECT_TRUE(is_silent(b4));
}

TEST_F(AdvertSocketOnAWire, APeerThatCannotBeReachedIsToldAndTheOthersAreStillServed) {
    Settings s;
    s.peers = {ip("10.9.0.255"), ip("10.9.0.2")};  // a broadcast address, which the kernel refuses
    auto a = left(Family::ipv4), b = right(Family::ipv4);
    const auto done = a.send(s.peers, ip("10.9.0.1"), plainly);
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().code, EACCES);
    EXPECT_EQ(done.error().story, "sending an advert from 10.9.0.1 to 10.9.0.255: Permission denied");
    expect_heard(hear(b), "10.9.0.1", "10.9.0.2");
}

TEST_F(AdvertSocketOnAWire, TheIpHeaderIsAsOtherSpeakersSendIt) {
    auto a = left(Family::ipv4);
    const Fd raw(in_right([] { return ::socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, 112); }));
    Settings s;
    s.peers = {ip("10.9.0.2")};
    ASSERT_TRUE(a.send(s.peers, ip("10.9.0.1"), plainly));
    pollfd wait{raw.get(), POLLIN, 0};
    ASSERT_EQ(::poll(&wait, 1, 2000), 1);
    std::array<std::uint8_t, 128> bytes;
    ASSERT_EQ(::recv(raw.get(), bytes.data(), bytes.size(), 0), 56);
    iphdr head;
    std::memcpy(&head, bytes.data(), sizeof head);
    EXPECT_EQ(head.ihl, 5);
    EXPECT_EQ(head.tos, 0x10);
    EXPECT_EQ(ntohs(head.frag_off), 0x4000) << "do not fragment";
    EXPECT_EQ(head.ttl, 255);
    EXPECT_EQ(head.protocol, 112);
}

TEST_F(AdvertSocketOnAWire, WhatWasSentWithAnotherTtlSaysSo) {
    auto b = right(Family::ipv4);
    const Fd raw(in_left([] { return ::socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, 112); }));
    sockaddr_storage to;
    const auto length = ip("10.9.0.2").to_sockaddr(to);
    const auto bytes = encode(example());
    ASSERT_EQ(::sendto(raw.get(), bytes.data(), bytes.size(), 0, reinterpret_cast<sockaddr*>(&to), length), 36);
    const auto packets = hear(b);
    ASSERT_EQ(packets.size(), 1u);
    EXPECT_EQ(std::get<Refusal>(decode(packets[0].payload, packets[0].envelope)), Refusal::wrong_ttl);
}

TEST_F(AdvertSocketOnAWire, AFloodIsTakenInPortions) {
    auto a = left(Family::ipv4), b = right(Family::ipv4);
    for (int i = 0; i < 10; ++i) ASSERT_TRUE(a.send({}, ip("10.9.0.1"), plainly));
    EXPECT_EQ(hear(b, 4).size(), 4u);
    EXPECT_EQ(hear(b, 4).size(), 4u);
    EXPECT_EQ(hear(b, 4).size(), 2u);
    EXPECT_TRUE(b.receive().empty()) << "and it never blocks";
}

TEST_F(AdvertSocketOnAWire, ALinkThatIsDownIsAnErrorAndNoMore) {
    auto a = left(Family::ipv4), b = right(Family::ipv4);
    ASSERT_TRUE(in_left([] { return run("ip link set kleft down"); }));
    const auto done = a.send({}, ip("10.9.0.1"), plainly);
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().story.substr(0, 50), "sending an advert from 10.9.0.1 to 224.0.0.18: Net");
    ASSERT_TRUE(in_left([] { return run("ip link set kleft up"); }));
    EXPECT_TRUE(a.send({}, ip("10.9.0.1"), plainly)) << "the same socket goes on";
    expect_heard(hear(b), "10.9.0.1", "224.0.0.18");
}

TEST_F(AdvertSocketOnAWire, AnInterfaceThatIsNotThereIsNamed) {
    const auto opened = in_left([] { return AdvertSocket::open(Family::ipv4, "nothere0", 4711); });
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().story,
              "opening the ipv4 advert socket on nothere0: binding the socket to the interface: No such device");
}

TEST_F(AdvertSocketOnAWire, OnlyItsOwnInterfaceIsHeard) {
    ASSERT_TRUE(
        in_right([] { return run("ip link add other type veth peer name wall") && run("ip link set other up"); }));
    auto a = left(Family::ipv4);
    auto elsewhere = in_right([] { return std::move(open(Family::ipv4, "other")).value(); });
    ASSERT_TRUE(a.send({}, ip("10.9.0.1"), plainly));
    EXPECT_TRUE(is_silent(elsewhere));
}

}  // namespace
}  // namespace koi::carp
