#include "supervisor/vip/kernel_addresses.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <algorithm>
#include <deque>
#include <functional>

#include "tests/unit/vip/private_network.h"

namespace koi::vip {
namespace {

Held held(std::string_view prefix, std::string interface = "koi0") {
    return {std::move(interface), *Prefix::parse(prefix)};
}

struct Kernel : PrivateNetwork {
    void SetUp() override {
        PrivateNetwork::SetUp();
        if (!network) return;
        sh("ip link add koi0 type veth peer name koi1; ip link set koi0 address 02:00:00:00:00:01; ip link set koi0 "
           "up; "
           "ip link set koi1 up");
        auto opened = KernelAddresses::open();
        ASSERT_TRUE(opened) << opened.error().story;
        kernel.emplace(std::move(*opened));
    }

    std::optional<Found> find(const Held& one) {
        auto all = kernel->addresses();
        EXPECT_TRUE(all) << all.error().story;
        const auto found = std::ranges::find(*all, one, &Found::held);
        return found == all->end() ? std::nullopt : std::optional(*found);
    }

    // Listens until one event is as wanted; five seconds are for ever here. Nothing may be lost on the way.
    template <class Wanted>
    std::optional<Wanted> hear(const std::function<bool(const Wanted&)>& wanted) {
        pollfd ready{kernel->event_fd(), POLLIN, 0};
        while (!unheard.empty() || ::poll(&ready, 1, 5000) == 1) {
            for (auto& event : kernel->listen()) unheard.push_back(std::move(event));
            while (!unheard.empty()) {
                const auto event = unheard.front();
                unheard.pop_front();
                if (const auto* one = std::get_if<Wanted>(&event); one && wanted(*one)) return *one;
                EXPECT_FALSE(std::holds_alternative<KernelAddresses::LostEvents>(event));
            }
        }
        return std::nullopt;
    }

    void take(const Held& one) {
        auto done = kernel->add(one);
        ASSERT_TRUE(done) << done.error().story;
    }
    void let_go(const Held& one) {
        auto done = kernel->remove(one);
        ASSERT_TRUE(done) << done.error().story;
    }

    std::optional<KernelAddresses> kernel;
    std::deque<KernelAddresses::Event> unheard;
};

bool kernel_knows_marks() { return sh("printf '%s\\n' 5.18 \"$(uname -r)\" | sort -V | head -1") == "5.18\n"; }

TEST_F(Kernel, AddingTwiceAndRemovingTwiceIsTheSameAsOnce) {
    for (const auto& vip :
         {held("192.0.2.10/24"), held("192.0.2.11"), held("2001:db8::10/64"), held("2001:db8::11")}) {
        for (int i = 0; i < 2; ++i) take(vip);
        const auto found = find(vip);
        ASSERT_TRUE(found) << vip.text();
        EXPECT_EQ(found->ours, kernel_knows_marks()) << vip.text();
        for (int i = 0; i < 2; ++i) let_go(vip);
        EXPECT_FALSE(find(vip)) << vip.text();
    }
}

TEST_F(Kernel, AnIpv6VipIsDeprecatedAndUsableAtOnce) {
    take(held("2001:db8::10/64"));
    const auto found = find(held("2001:db8::10/64"));
    ASSERT_TRUE(found);
    EXPECT_FALSE(found->tentative);
    EXPECT_TRUE(found->deprecated) << "or the kernel would speak from it";
    const auto shown = sh("ip -6 address show dev koi0 to 2001:db8::10");
    EXPECT_NE(shown.find("nodad"), std::string::npos) << shown;
    EXPECT_NE(shown.find("valid_lft forever preferred_lft 0sec"), std::string::npos) << shown;
}

TEST_F(Kernel, TheKernelDoesNotSpeakFromAnIpv6Vip) {
    sh("ip address add 2001:db8::1/64 dev koi0 nodad");
    take(held("2001:db8::10/128"));
    EXPECT_NE(sh("ip -6 route get 2001:db8::99").find("src 2001:db8::1 "), std::string::npos);
}

TEST_F(Kernel, AnIpv4VipIsThereForEver) {
    sh("ip address add 192.0.2.10/24 dev koi0 valid_lft 100 preferred_lft 50");
    take(held("192.0.2.10/24"));
    EXPECT_NE(sh("ip -4 address show dev koi0").find("valid_lft forever preferred_lft forever"), std::string::npos);
}

TEST_F(Kernel, AVipBesideAnotherAddressOfItsNetworkComesAndGoesAlone) {
    sh("ip address add 192.0.2.1/24 dev koi0; ip address add 2001:db8::1/64 dev koi0 nodad");
    for (const auto& vip : {held("192.0.2.10/24"), held("2001:db8::10/64")}) take(vip);
    EXPECT_TRUE(find(held("192.0.2.10/24"))->secondary);
    for (const auto& vip : {held("192.0.2.10/24"), held("2001:db8::10/64")}) let_go(vip);
    for (const auto& other : {held("192.0.2.1/24"), held("2001:db8::1/64")}) {
        const auto found = find(other);
        ASSERT_TRUE(found) << other.text();
        EXPECT_FALSE(found->ours);
    }
    EXPECT_NE(sh("ip route show dev koi0").find("192.0.2.0/24"), std::string::npos) << "nor did its route go";
    EXPECT_NE(sh("ip -6 route show dev koi0").find("2001:db8::/64"), std::string::npos);
}

TEST_F(Kernel, AVipThatWasFirstInItsNetworkTakesNoOtherAddressAlong) {
    ASSERT_EQ(sh("cat /proc/sys/net/ipv4/conf/koi0/promote_secondaries"), "0\n") << "the hard case";
    take(held("192.0.2.10/24"));
    sh("ip address add 192.0.2.1/24 dev koi0");
    ASSERT_TRUE(find(held("192.0.2.1/24"))->secondary);
    let_go(held("192.0.2.10/24"));
    ASSERT_TRUE(find(held("192.0.2.1/24"))) << "it must stay";
    EXPECT_FALSE(find(held("192.0.2.1/24"))->secondary);
}

TEST_F(Kernel, AFullLengthVipBringsNoRouteAndAShorterOneItsNetworks) {
    take(held("192.0.2.10"));
    take(held("2001:db8::10"));
    EXPECT_EQ(sh("ip route show dev koi0"), "");
    EXPECT_EQ(sh("ip -6 route show dev koi0 to root 2001:db8::/32"), "");
    take(held("198.51.100.10/24"));
    take(held("2001:db8:1::10/64"));
    EXPECT_NE(sh("ip route show dev koi0").find("198.51.100.0/24"), std::string::npos);
    EXPECT_NE(sh("ip -6 route show dev koi0 to root 2001:db8::/32").find("2001:db8:1::/64"), std::string::npos);
}

TEST_F(Kernel, RemovingAnotherLengthRemovesNothing) {
    sh("ip address add 192.0.2.1/24 dev koi0; ip address add 2001:db8::1/64 dev koi0 nodad");
    let_go(held("192.0.2.1/32"));
    let_go(held("2001:db8::1/128"));
    EXPECT_TRUE(find(held("192.0.2.1/24")));
    EXPECT_TRUE(find(held("2001:db8::1/64")));
}

TEST_F(Kernel, WhatCannotBeDoneIsASentence) {
    const auto nowhere = kernel->add(held("192.0.2.10/24", "eth9"));
    ASSERT_FALSE(nowhere);
    EXPECT_EQ(nowhere.error().story, "adding 192.0.2.10/24 on eth9: there is no interface eth9 on this machine");
    EXPECT_TRUE(kernel->remove(held("192.0.2.10/24", "eth9"))) << "gone is gone";
    EXPECT_TRUE(kernel->remove(held("192.0.2.10/24", "a-name-that-is-too-long-for-linux")));

    sh("echo 1 > /proc/sys/net/ipv6/conf/koi0/disable_ipv6");
    const auto refused = kernel->add(held("2001:db8::10/64"));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().story,
              "adding 2001:db8::10/64 on koi0: IPv6 is switched off there; run: sysctl -w "
              "net.ipv6.conf.koi0.disable_ipv6=0");
}

TEST_F(Kernel, InterfacesAreDescribed) {
    auto link = kernel->link("koi0");
    ASSERT_TRUE(link);
    ASSERT_TRUE(*link);
    EXPECT_EQ(text((*link)->mac), "02:00:00:00:00:01");
    EXPECT_TRUE((*link)->works());
    EXPECT_TRUE((*link)->has_arp);
    EXPECT_EQ((*link)->mtu, 1500u);

    sh("ip link set koi1 down");
    EXPECT_FALSE((*kernel->link("koi0"))->carrier);
    EXPECT_TRUE((*kernel->link("koi0"))->up);
    EXPECT_FALSE((*kernel->link("koi1"))->up);
    EXPECT_FALSE((*kernel->link("lo"))->has_arp);
    EXPECT_FALSE(*kernel->link("eth9"));
    EXPECT_EQ(std::ranges::count(*kernel->links(), "koi1", &Link::name), 1);
}

TEST_F(Kernel, ManyAddressesAreReadWhole) {
    std::string batch;
    for (int i = 0; i < 2000; ++i)
        batch +=
            "address add 10.0." + std::to_string(i / 250) + "." + std::to_string(i % 250 + 1) + "/32 dev koi0\\n";
    sh("printf '" + batch + "' | ip -batch -");
    const auto all = kernel->addresses();
    ASSERT_TRUE(all);
    EXPECT_GE(all->size(), 2000u);
    EXPECT_TRUE(find(held("10.0.7.250/32")));
}

// ---- Events -------------------------------------------------------------------------------------

TEST_F(Kernel, WhatSomebodyElseDoesToAnAddressIsHeard) {
    using Gone = KernelAddresses::AddressGone;
    using Came = KernelAddresses::AddressCame;
    for (const auto& vip : {held("192.0.2.10/24"), held("2001:db8::10/64")}) {
        const auto about = [&](const auto& event) { return event.held == vip; };
        take(vip);
        const auto came = hear<Came>(about);
        ASSERT_TRUE(came) << vip.text();
        EXPECT_EQ(came->ours, kernel_knows_marks());
        sh("ip address delete " + vip.prefix.text() + " dev koi0");
        EXPECT_TRUE(hear<Gone>(about)) << vip.text();
        sh("ip address add " + vip.prefix.text() + " dev koi0");
        const auto foreign = hear<Came>(about);
        ASSERT_TRUE(foreign) << vip.text();
        EXPECT_FALSE(foreign->ours);
    }
    EXPECT_TRUE(kernel->listen().empty()) << "and listening when nothing happened does not block";
}

TEST_F(Kernel, LosingAndRegainingTheCarrierIsHeard) {
    using Changed = KernelAddresses::LinkChanged;
    sh("ip link set koi1 down");
    EXPECT_TRUE(
        hear<Changed>([](const Changed& e) { return e.link.name == "koi0" && e.link.up && !e.link.carrier; }));
    sh("ip link set koi1 up");
    EXPECT_TRUE(hear<Changed>([](const Changed& e) { return e.link.name == "koi0" && e.link.works(); }));
    sh("ip link set koi0 down");
    EXPECT_TRUE(hear<Changed>([](const Changed& e) { return e.link.name == "koi0" && !e.link.up; }));
}

TEST_F(Kernel, AnInterfaceThatComesLaterIsKnownByNameAndItsEndIsHeard) {
    using Came = KernelAddresses::AddressCame;
    using LinkGone = KernelAddresses::LinkGone;
    sh("ip link add late0 type veth peer name late1; ip link set late0 up; ip address add 192.0.2.77/32 dev late0; "
       "ip link set late0 down; ip link set late0 name later0; ip link set later0 up; ip address add 192.0.2.78/32 "
       "dev later0");
    EXPECT_TRUE(hear<Came>([](const Came& e) { return e.held == held("192.0.2.77/32", "late0"); }));
    EXPECT_TRUE(hear<Came>([](const Came& e) { return e.held == held("192.0.2.78/32", "later0"); }));
    EXPECT_TRUE(find(held("192.0.2.77/32", "later0"))) << "renamed";
    sh("ip link delete later0");
    EXPECT_TRUE(hear<LinkGone>([](const LinkGone& e) { return e.name == "later0"; }));
}

TEST_F(Kernel, APortThatLeavesABridgeHasNotGone) {
    sh("ip link add br0 type bridge; ip link set koi0 master br0; ip link set koi0 nomaster; ip link delete br0");
    bool end = false;
    pollfd ready{kernel->event_fd(), POLLIN, 0};
    while (!end && ::poll(&ready, 1, 5000) == 1)
        for (const auto& event : kernel->listen())
            if (const auto* gone = std::get_if<KernelAddresses::LinkGone>(&event)) {
                EXPECT_EQ(gone->name, "br0");
                end = true;
            }
    EXPECT_TRUE(end);
}

TEST_F(Kernel, TooManyEventsToKeepAreReportedAsLost) {
    const int small = 1;  // the kernel makes its least of it
    ASSERT_EQ(::setsockopt(kernel->event_fd(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
    std::string batch;
    for (int i = 1; i <= 200; ++i) batch += "address add 10.0.0." + std::to_string(i) + "/32 dev koi0\\n";
    sh("printf '" + batch + "' | ip -batch -");
    EXPECT_TRUE(hear<KernelAddresses::LostEvents>([](const auto&) { return true; }));
    const auto all = kernel->addresses();
    ASSERT_TRUE(all) << all.error().story;
    EXPECT_GE(all->size(), 200u) << "and reading everything again works";
}

TEST_F(Kernel, WithoutPrivilegeReadingWorksAndChangingSaysWhatIsMissing) {
    const pid_t pid = ::fork();
    if (pid == 0) {
        if (::setresuid(65534, 65534, 65534) != 0) ::_exit(2);
        auto unprivileged = KernelAddresses::open();
        if (!unprivileged || !unprivileged->addresses()) ::_exit(3);
        const auto refused = unprivileged->add(held("192.0.2.10/32"));
        ::_exit(!refused && refused.error().story == "adding 192.0.2.10/32 on koi0: needs CAP_NET_ADMIN" ? 0 : 4);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(pid, &status, 0), pid);
    EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace koi::vip
