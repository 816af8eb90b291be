#include "supervisor/vip/packet_socket.h"

#include <poll.h>

#include "supervisor/vip/kernel_addresses.h"
#include "tests/unit/vip/private_network.h"

namespace koi::vip {
namespace {

const IpAddress v4 = *IpAddress::parse("192.0.2.10");
const IpAddress v6 = *IpAddress::parse("2001:db8::10");
constexpr Mac stale = {0x02, 0, 0, 0, 0, 0x77};

// Two hosts on one wire: ours with koi0, a neighbour's with koi1.
struct Wire : PrivateNetwork {
    void SetUp() override {
        PrivateNetwork::SetUp();
        if (!network) return;
        sh("ip link add koi0 address 02:00:00:00:00:01 type veth peer name koi1 address 02:00:00:00:00:02");
        neighbour = Network::make();
        ASSERT_TRUE(neighbour);
        network->enter();
        sh("ip link set koi1 netns " + neighbour->path() + "; ip link set koi0 up");
        at_neighbour(
            "ip link set lo up; ip link set koi1 up; ip address add 192.0.2.1/24 dev koi1; "
            "ip address add 2001:db8::1/64 dev koi1 nodad");
        auto kernel = KernelAddresses::open();
        ASSERT_TRUE(kernel);
        auto link = kernel->link("koi0");
        ASSERT_TRUE(link && *link);
        koi0 = **link;
    }

    std::string at_neighbour(const std::string& commands) {
        neighbour->enter();
        auto out = sh(commands);
        network->enter();
        return out;
    }

    PacketSocket open(bool listen) {
        auto socket = PacketSocket::open(koi0.index, listen);
        EXPECT_TRUE(socket) << socket.error().story;
        return std::move(*socket);
    }

    // The first claim heard within five seconds. `question` is sent until then: an address that was added a moment
    // ago is not answered for before the neighbour has joined its group.
    std::optional<Stranger> first_claim(PacketSocket& socket, const std::set<IpAddress>& vips,
                                        const Frame& question = {}) {
        for (int i = 0; i < 50; ++i) {
            if (!question.empty()) (void)socket.send(question);
            pollfd ready{socket.fd(), POLLIN, 0};
            while (::poll(&ready, 1, 100) == 1)
                for (const auto& frame : socket.receive())
                    if (auto stranger = claims(frame, vips, koi0.mac)) return stranger;
        }
        return std::nullopt;
    }

    // What the neighbour believes, once it is not `before` any more.
    std::string belief(const IpAddress& vip, const Mac& before) {
        std::string shown;
        for (int i = 0; i < 250; ++i) {
            shown = at_neighbour("ip neighbour show to " + vip.text() + " dev koi1");
            if (shown.find(text(before)) == std::string::npos) break;
            ::usleep(20'000);
        }
        return shown;
    }

    std::optional<Network> neighbour;
    Link koi0;
};

TEST_F(Wire, ANeighbourBelievesAnAnnouncementAtOnce) {
    auto socket = open(false);
    for (const auto& vip : {v4, v6}) {
        at_neighbour("ip neighbour replace " + vip.text() + " lladdr " + text(stale) + " dev koi1 nud reachable");
        for (const auto& frame : announcement(vip, koi0.mac, false)) {
            auto sent = socket.send(frame);
            ASSERT_TRUE(sent) << sent.error().story;
        }
        EXPECT_NE(belief(vip, stale).find(text(koi0.mac)), std::string::npos) << vip.text();
    }
}

TEST_F(Wire, ANeighbourBelievesEachOfTheTwoArpFormsAlone) {
    auto socket = open(false);
    for (const auto& frame : announcement(v4, koi0.mac, false)) {
        at_neighbour("ip neighbour replace " + v4.text() + " lladdr " + text(stale) + " dev koi1 nud reachable");
        ASSERT_TRUE(socket.send(frame));
        EXPECT_NE(belief(v4, stale).find(text(koi0.mac)), std::string::npos);
    }
}

TEST_F(Wire, ARouterIsToldFromAHost) {
    auto socket = open(false);
    at_neighbour("ip neighbour replace " + v6.text() + " lladdr " + text(stale) + " dev koi1 nud reachable");
    ASSERT_TRUE(socket.send(announcement(v6, koi0.mac, true)[0]));
    EXPECT_NE(belief(v6, stale).find("router"), std::string::npos);
}

TEST_F(Wire, AStrangerWhoHoldsTheVipIsFoundByAProbe) {
    auto socket = open(true);
    at_neighbour("ip address add 192.0.2.10/24 dev koi1; ip address add 2001:db8::10/64 dev koi1 nodad");
    for (const auto& vip : {v4, v6}) {
        EXPECT_EQ(first_claim(socket, {vip}, probe(vip, koi0.mac)), (Stranger{vip, {0x02, 0, 0, 0, 0, 0x02}}))
            << vip.text();
    }
}

TEST_F(Wire, AFreeVipIsNotAnsweredFor) {
    auto socket = open(true);
    ASSERT_TRUE(socket.send(probe(v4, koi0.mac)));
    // The neighbour answers in order: once it has answered for its own address, it has nothing to say about the vip.
    const auto own = *IpAddress::parse("192.0.2.1");
    const auto claim = first_claim(socket, {v4, own}, probe(own, koi0.mac));
    ASSERT_TRUE(claim);
    EXPECT_EQ(claim->vip, own);
}

TEST_F(Wire, OtherTrafficDoesNotWakeUs) {
    sh("ip address add 192.0.2.2/24 dev koi0; ip address add 2001:db8::2/64 dev koi0 nodad");
    at_neighbour("ping -q -c 3 -i 0.01 192.0.2.2; ping -q -c 3 -i 0.01 2001:db8::2");
    auto socket = open(true);
    at_neighbour("ping -q -c 20 -i 0.01 192.0.2.2; ping -q -c 20 -i 0.01 2001:db8::2");
    for (const auto& frame : socket.receive()) {
        const bool arp = frame[12] == 0x08 && frame[13] == 0x06;
        const bool advertisement = frame[12] == 0x86 && frame[13] == 0xDD && frame[20] == 58 && frame[54] == 136;
        EXPECT_TRUE(arp || advertisement);
    }
}

TEST_F(Wire, AnotherVlansAddressesAreNobodysBusinessHere) {
    auto socket = open(true);
    neighbour->enter();
    auto kernel = KernelAddresses::open();
    const auto koi1 = **kernel->link("koi1");
    auto theirs = PacketSocket::open(koi1.index, false);
    ASSERT_TRUE(theirs);
    for (const auto& vip : {v4, v6}) {
        auto tagged = announcement(vip, koi1.mac, false)[0];
        const std::uint8_t vlan_7[] = {0x81, 0x00, 0x00, 0x07};
        tagged.insert(tagged.begin() + 12, std::begin(vlan_7), std::end(vlan_7));
        ASSERT_TRUE(theirs->send(tagged));
    }
    const auto own = *IpAddress::parse("192.0.2.1");
    ASSERT_TRUE(theirs->send(announcement(own, koi1.mac, false)[0]));
    network->enter();
    const auto claim = first_claim(socket, {v4, v6, own});
    ASSERT_TRUE(claim);
    EXPECT_EQ(claim->vip, own) << "the one without a tag";
}

TEST_F(Wire, WithoutListeningNothingIsHeard) {
    auto socket = open(false);
    at_neighbour("ip neighbour flush dev koi1; ping -q -c 1 -W 1 192.0.2.99 || true");
    EXPECT_TRUE(socket.receive().empty());
}

TEST_F(Wire, AnInterfaceThatIsDownIsASentenceAndComesBack) {
    auto socket = open(true);
    sh("ip link set koi0 down");
    const auto refused = socket.send(probe(v4, koi0.mac));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ENETDOWN);
    EXPECT_EQ(refused.error().story,
              "sending on interface number " + std::to_string(koi0.index) + ": Network is down");
    EXPECT_TRUE(socket.receive().empty());
    sh("ip link set koi0 up");
    at_neighbour("ip link set koi1 up");
    const auto own = *IpAddress::parse("192.0.2.1");
    EXPECT_TRUE(first_claim(socket, {own}, probe(own, koi0.mac))) << "the same socket hears again";
}

TEST_F(Wire, AnInterfaceThatDoesNotExistIsASentence) {
    const auto socket = PacketSocket::open(4711, true);
    ASSERT_FALSE(socket);
    EXPECT_EQ(socket.error().story, "binding a packet socket to interface number 4711: No such device");
}

}  // namespace
}  // namespace koi::vip
