#include "supervisor/vip/lease.h"

#include <chrono>
#include <thread>

#include "tests/unit/vip/private_network.h"

namespace koi::vip {
namespace {

// Two hosts, "here" with the vips and "there" that asks, on one wire.
struct Leases : PrivateNetwork {
    void SetUp() override {
        PrivateNetwork::SetUp();
        if (!network) return;
        peer = Network::make();
        network->enter();
        sh("ip link add here type veth peer name there; ip link set there netns " + peer->path() +
           "; ip link set here up; ip addr add 10.9.0.1/24 dev here; ip addr add fd09::1/64 dev here nodad"
           "; ip addr add 10.9.0.9/32 dev here; ip addr add fd09::9/128 dev here nodad");
        peer->enter();
        sh("ip link set there up; ip addr add 10.9.0.2/24 dev there; ip addr add fd09::2/64 dev there nodad");
        network->enter();
        auto opened = KernelLease::open();
        if (!opened) GTEST_SKIP() << opened.error().story;
        lease.emplace(std::move(*opened));
    }

    // fresh: the neighbour entry is forgotten first, so that ARP or neighbour discovery must be answered, too.
    bool answers(const std::string& address, bool fresh = true) {
        peer->enter();
        if (fresh) sh("ip neigh flush all");
        const int code = ::system(("ping -q -c 1 -W 1 " + address + " >/dev/null 2>&1").c_str());
        network->enter();
        return code == 0;
    }
    static void wait(int ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }

    const IpAddress v4 = *IpAddress::parse("10.9.0.9"), v6 = *IpAddress::parse("fd09::9");
    std::optional<Network> peer;
    std::optional<KernelLease> lease;
};

TEST_F(Leases, SilenceAVipWhenTheyEndAndNothingElse) {
    EXPECT_TRUE(answers("10.9.0.9") && answers("fd09::9")) << "nobody holds it: none of our business";
    ASSERT_TRUE(lease->lease({v4, v6}, 60s));
    EXPECT_TRUE(answers("10.9.0.9"));
    EXPECT_TRUE(answers("fd09::9"));
    ASSERT_TRUE(lease->lease({v4, v6}, 50ms));  // shorter than the one before
    wait(100);
    EXPECT_FALSE(answers("10.9.0.9", false)) << "echo";
    EXPECT_FALSE(answers("10.9.0.9")) << "ARP";
    EXPECT_FALSE(answers("fd09::9")) << "neighbour discovery";
    EXPECT_TRUE(answers("10.9.0.1"));
    EXPECT_TRUE(answers("fd09::1"));
    ASSERT_TRUE(lease->lease({v4, v6}, 60s)) << "and can be taken again after it ended";
    EXPECT_TRUE(answers("10.9.0.9"));
    EXPECT_TRUE(answers("fd09::9"));
}

TEST_F(Leases, SilenceNothingThatAMachineSaysToItself) {
    ASSERT_TRUE(lease->lease({v4, v6}, 0s));
    for (const char* address : {"10.9.0.9", "fd09::9"}) {
        EXPECT_FALSE(answers(address));
        EXPECT_EQ(::system((std::string("ping -q -c 1 -W 1 ") + address + " >/dev/null 2>&1").c_str()), 0) << address;
    }
}

TEST_F(Leases, LastFromTheirRenewal) {
    for (int i = 0; i < 10; ++i) {
        ASSERT_TRUE(lease->lease({v4}, 300ms));
        wait(50);
    }
    EXPECT_TRUE(answers("10.9.0.9"));
    wait(300);
    EXPECT_FALSE(answers("10.9.0.9"));
}

TEST_F(Leases, OutliveTheirMakerAndAreFoundByTheNextOne) {
    ASSERT_TRUE(lease->lease({v4}, 60s));
    ASSERT_TRUE(lease->lease({v6}, 0s));
    lease.reset();
    EXPECT_TRUE(answers("10.9.0.9"));
    EXPECT_FALSE(answers("fd09::9"));
    auto next = KernelLease::open();
    ASSERT_TRUE(next) << next.error().story;
    EXPECT_TRUE(answers("10.9.0.9"));
    EXPECT_FALSE(answers("fd09::9"));
    ASSERT_TRUE(next->let_go({v6}));
    EXPECT_TRUE(answers("fd09::9"));
    ASSERT_TRUE(next->let_go({v6})) << "twice is no error";
}

TEST_F(Leases, CanBeRemovedTwice) {
    ASSERT_TRUE(lease->lease({v4}, 0s));
    ASSERT_TRUE(lease->remove());
    EXPECT_TRUE(answers("10.9.0.9"));
    ASSERT_TRUE(lease->remove());
    EXPECT_FALSE(lease->lease({v4}, 1s)) << "whoever holds a lease must hear that its table has gone";
}

TEST_F(Leases, OfManyVipsAreOneTransaction) {
    std::vector<IpAddress> many;
    for (int i = 0; i < 2000; ++i)
        many.push_back(*IpAddress::parse("10.8." + std::to_string(i / 250) + "." + std::to_string(1 + i % 250)));
    auto done = lease->lease(many, 60s);
    EXPECT_TRUE(done) << done.error().story;
    done = lease->let_go(many);
    EXPECT_TRUE(done) << done.error().story;
}

}  // namespace
}  // namespace koi::vip
