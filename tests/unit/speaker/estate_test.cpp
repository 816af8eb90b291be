#include "supervisor/speaker/estate.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>

namespace koi::speaker {
namespace {

const IpAddress peer = *IpAddress::parse("10.0.0.2"), vip = *IpAddress::parse("2001:db8::10");
const vip::Held held{"eth0", *Prefix::parse("192.0.2.10/24")};

carp::Settings settings() {
    carp::Settings s;
    s.vhid = *Vhid::of(51);
    s.interface = "eth0";
    s.addresses = {held.prefix.address};
    s.password = "secret";
    s.auth = {carp::Auth::Mode::require, {{1, std::string(32, 'k')}}, {}};
    return s;
}

// A master in the middle of everything.
Estate some() {
    Estate e;
    e.left = Instant(1h);
    e.lock = 4;
    e.worker = {7, 4711, link::formats.highest, "0.1.0", 3};
    e.sockets = {{"eth0", Family::ipv4, 2, 8}, {"eth0", Family::ipv6, 2, 9}};
    e.told = {link::encode(link::Settings{.node = "lb1", .vhids = {{settings(), {held.prefix}}}}),
              link::encode(link::TableReady{.vhid = *Vhid::of(51), .ready = true})};
    e.counter = {{0xABCDEF, 7, 1'000'000}, 999'000};
    e.heard = {{*Vhid::of(52), {{99, Family::ipv6, 12345}}}};
    Estate::OfVhid one{.vhid = *Vhid::of(51), .group = {}};
    auto& i = one.group.instance;
    i.state.role = carp::Role::master;
    i.state.deadline = Instant(1h + 40ms);
    i.state.since = Instant(5min);
    i.state.demotion = *Demotion::of(7);
    i.state.master = peer;
    i.state.master_claim = carp::Claim{3, 1s};
    i.state.leaving = "stepped down by the operator";
    i.state.standby_heard = Instant(59min);
    i.state.late_answers = 2;
    i.last_left = Instant(1h);
    i.counters.sent = 12;
    i.counters.refused[3] = 4;
    i.previous = settings();
    i.previous->password = "before";
    i.previous_until = Instant(61min);
    i.guard.rules = {{settings().auth, Instant(2h), Instant(3h)}, {settings().auth}};
    i.guard.pins = {{peer, Instant(10s)}};
    i.guard.heard = {{17, Family::ipv4, 100, 2, true, Instant(59min), false}};
    one.group.because = "no advert from 10.0.0.2 for 3.08 s";
    Group::Peer heard;
    heard.advert.vhid = *Vhid::of(51);
    heard.advert.counter = 5;
    heard.advert.digest[19] = 9;
    heard.trailer = carp::Trailer{};
    heard.trailer->sender = 17;
    heard.doubt = carp::Refusal::wrong_tag;
    one.group.peers = {{peer, heard}};
    one.unplanned_takeovers = 1;
    one.silence_since = Instant(4min);
    e.vhids = {one};
    e.holder.wanted = {{*Vhid::of(51), {held}, Instant(1h + 280ms), Duration(4s), true, Instant(58min)}};
    e.holder.present = {{held, Instant(5min)}};
    e.holder.sockets = {{"eth0", {2, 10, 11, 12}}};
    e.status = "master of 51";
    e.ready_told = true;
    e.slipped_until = Instant(2h);
    e.upgrade = {2, true, "", "0.1.0", ""};
    return e;
}

TEST(Estate, WhatIsWrittenIsRead) {
    const auto before = some();
    const auto after = decode_estate(encode(before));
    ASSERT_TRUE(after);
    EXPECT_EQ(encode(*after), encode(before));
    EXPECT_EQ(after->counter, before.counter);
    EXPECT_EQ(after->told, before.told);
    ASSERT_EQ(after->vhids.size(), 1u);
    const auto &was = before.vhids[0].group, &is = after->vhids[0].group;
    EXPECT_EQ(is.instance.state.deadline, was.instance.state.deadline);
    EXPECT_EQ(is.instance.state.leaving, was.instance.state.leaving);
    EXPECT_EQ(is.instance.state.master_claim, was.instance.state.master_claim);
    EXPECT_EQ(is.instance.counters, was.instance.counters);
    EXPECT_EQ(is.instance.previous, was.instance.previous);
    EXPECT_EQ(is.instance.guard, was.instance.guard);
    EXPECT_EQ(is.peers[0].second.trailer, was.peers[0].second.trailer);
    EXPECT_EQ(is.peers[0].second.advert, was.peers[0].second.advert);
    EXPECT_EQ(after->holder.wanted[0].until, before.holder.wanted[0].until);
    EXPECT_EQ(after->holder.present, before.holder.present);
    EXPECT_EQ(after->upgrade, before.upgrade);
    EXPECT_EQ(descriptors(*after), (std::vector{4, 7, 8, 9, 10, 11, 12}));
}

TEST(Estate, WhatIsCutOrChangedIsNoneOrAnother) {
    const auto bytes = encode(some());
    for (std::size_t cut = 0; cut < bytes.size(); ++cut)
        ASSERT_FALSE(decode_estate(std::span(bytes).first(cut))) << cut;
    for (std::size_t at = 0; at < bytes.size(); ++at) {
        auto other = bytes;
        other[at] ^= 0xFF;
        if (const auto read = decode_estate(other)) {
            ASSERT_EQ(encode(*read, other[8]), other) << at;
        }
    }
}

TEST(Estate, OfAnotherReleaseIsNone) {
    auto bytes = encode(some());
    ASSERT_EQ(bytes[8], estate_formats.highest);
    bytes[8] = estate_formats.highest + 1;
    EXPECT_FALSE(decode_estate(bytes));
    EXPECT_TRUE(can_take_over(estate_formats.highest));
    EXPECT_FALSE(can_take_over(estate_formats.highest + 1u));
    EXPECT_FALSE(can_take_over(0));
}

// Descriptors that are open, as the estate wants them.
struct Open {
    std::vector<Fd> fds;
    int one() { return fds.emplace_back(::open("/dev/null", O_RDONLY | O_CLOEXEC)).get(); }
    Estate estate() {
        auto e = some();
        e.lock = one();
        e.worker.channel = one();
        for (auto& s : e.sockets) s.fd = one();
        e.holder.sockets = {{"eth0", {2, one(), one(), one()}}};
        return e;
    }
};

TEST(Estate, IsInheritedThroughASealedFile) {
    Open open;
    const auto e = open.estate();
    auto left = leave_behind(e);
    ASSERT_TRUE(left);
    EXPECT_LT(::pwrite(left->get(), "x", 1, 0), 0) << "nobody can change it";
    const int fd = left->release();
    const auto found = inherit(fd);
    ASSERT_TRUE(found) << found.error().story;
    EXPECT_EQ(encode(*found), encode(e));
    EXPECT_LT(::fcntl(fd, F_GETFD), 0) << "it is closed: secrets are in it";
}

TEST(Estate, WithADescriptorThatIsNotOpenIsNone) {
    Open open;
    auto e = open.estate();
    e.lock = 9999;
    auto left = leave_behind(e);
    ASSERT_TRUE(left);
    const auto found = inherit(left->release());
    ASSERT_FALSE(found);
    EXPECT_NE(found.error().story.find("not open"), std::string::npos);
    e.lock = 0;  // standard input is no lock of ours
    EXPECT_FALSE(inherit(leave_behind(e)->release()));
}

TEST(Estate, AnythingElseIsNone) {
    EXPECT_FALSE(inherit(9999));
    EXPECT_FALSE(inherit(::open("/dev/null", O_RDONLY | O_CLOEXEC)));
    const int unsealed = ::memfd_create("not sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    const auto bytes = encode(some());
    ASSERT_EQ(::write(unsealed, bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
    EXPECT_FALSE(inherit(unsealed)) << "somebody may change it while it is read";
}

}  // namespace
}  // namespace koi::speaker
