#include "supervisor/base/channel.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <optional>
#include <random>

namespace koi {
namespace {

struct Ends {
    Channel left;
    Channel right;
};
Ends both() {
    auto pair = Channel::pair();
    EXPECT_TRUE(pair);
    return {std::move(pair->first), Channel(std::move(pair->second))};
}

Message text(std::string_view words) { return {words.begin(), words.end()}; }

Message any_message(std::size_t size) {
    std::mt19937 dice(static_cast<unsigned>(size));
    Message out(size);
    for (auto& b : out) b = static_cast<std::uint8_t>(dice());
    return out;
}

// Lets both ends work until nothing moves any more; gives what `to` received.
std::vector<Message> pump(Channel& from, Channel& to) {
    std::vector<Message> all;
    for (int idle = 0; idle < 2;) {
        const bool waited = from.wants_write();
        from.flush();
        auto some = to.receive();
        idle = some.empty() && !waited ? idle + 1 : 0;
        std::move(some.begin(), some.end(), std::back_inserter(all));
    }
    return all;
}

TEST(Channel, MessagesArriveWholeAndInOrder) {
    auto [left, right] = both();
    ASSERT_TRUE(left.send(text("one")));
    ASSERT_TRUE(left.send({}));
    ASSERT_TRUE(left.send(text("three")));
    ASSERT_TRUE(right.send(text("back")));
    EXPECT_EQ(right.receive(), (std::vector<Message>{text("one"), {}, text("three")}));
    EXPECT_EQ(left.receive(), (std::vector<Message>{text("back")}));
    EXPECT_TRUE(right.receive().empty());
    EXPECT_FALSE(right.closed());
}

TEST(Channel, ReceiveTakesNoMoreThanAsked) {
    auto [left, right] = both();
    for (int i = 0; i < 5; ++i) ASSERT_TRUE(left.send(text("x")));
    EXPECT_EQ(right.receive(2).size(), 2u);
    EXPECT_EQ(right.receive(2).size(), 2u);
    EXPECT_EQ(right.receive(2).size(), 1u);
}

TEST(Channel, SizesAroundTheDatagramSurvive) {
    for (const std::size_t size :
         {Channel::datagram - 1, Channel::datagram, Channel::datagram + 1, 2 * Channel::datagram}) {
        auto [left, right] = both();
        ASSERT_TRUE(left.send(any_message(size)));
        const auto arrived = pump(left, right);
        ASSERT_EQ(arrived.size(), 1u) << size;
        EXPECT_EQ(arrived[0], any_message(size)) << size;
    }
}

TEST(Channel, AMessageOfTenMegabytesArrives) {
    auto [left, right] = both();
    const auto large = any_message(10'000'000);
    ASSERT_TRUE(left.send(large));
    EXPECT_TRUE(left.wants_write()) << "the kernel cannot have taken all of it";
    EXPECT_FALSE(left.send(text("too soon"))) << "more may not wait behind it";
    auto arrived = pump(left, right);
    ASSERT_EQ(arrived.size(), 1u);
    EXPECT_TRUE(arrived[0] == large);
    EXPECT_FALSE(left.wants_write());

    ASSERT_TRUE(left.send(text("after")));
    EXPECT_EQ(pump(left, right), (std::vector<Message>{text("after")}));
}

TEST(Channel, AnEndThatDoesNotReadIsReportedAndTheQueueStaysBounded) {
    auto [left, right] = both();
    const auto message = any_message(100'000);
    Outcome outcome = Done{};
    std::size_t taken = 0;
    while (taken < 1000 && (outcome = left.send(message))) ++taken;
    ASSERT_FALSE(outcome);
    EXPECT_NE(outcome.error().story.find("the other end does not read"), std::string::npos) << outcome.error().story;
    EXPECT_LE(taken * message.size(), Channel::longest_queue + 1'000'000);

    const auto arrived = pump(left, right);
    EXPECT_EQ(arrived.size(), taken) << "what was accepted still arrives, whole";
    EXPECT_TRUE(left.send(message)) << "and then there is room again";
}

TEST(Channel, NothingOvertakesWhatWaits) {
    auto [left, right] = both();
    const auto large = any_message(1'000'000);
    ASSERT_TRUE(left.send(large));
    ASSERT_TRUE(left.wants_write());
    right.receive();  // makes room in the kernel
    ASSERT_TRUE(left.send(text("behind it")));
    EXPECT_EQ(pump(left, right), (std::vector<Message>{large, text("behind it")}));
}

TEST(Channel, WhatWasSaidBeforeLeavingIsHeardAndThenTheChannelIsClosed) {
    auto [left, right] = both();
    ASSERT_TRUE(right.send(text("unread")));  // makes the kernel report a reset as well
    ASSERT_TRUE(left.send(text("farewell")));
    { const Channel gone = std::move(left); }

    EXPECT_FALSE(right.closed());
    EXPECT_EQ(right.receive(), (std::vector<Message>{text("farewell")}));
    EXPECT_TRUE(right.closed());
    EXPECT_EQ(right.why_closed(), "the other end has gone");
    const auto outcome = right.send(text("hello?"));
    ASSERT_FALSE(outcome);
    EXPECT_EQ(outcome.error().code, EPIPE);
}

TEST(Channel, SendingToSomebodyWhoLeftKeepsHisLastWords) {
    auto [left, right] = both();
    ASSERT_TRUE(left.send(text("farewell")));
    { const Channel gone = std::move(left); }
    EXPECT_FALSE(right.send(text("hello?")));
    EXPECT_EQ(right.receive(), (std::vector<Message>{text("farewell")}));
}

TEST(Channel, GarbageClosesItAndSaysSo) {
    const Message too_long(Channel::datagram + 2);  // begins as a message does
    for (const auto& garbage : {too_long, Message{7, 1, 2}, Message{0xFF}}) {
        auto pair = Channel::pair();
        ASSERT_TRUE(pair);
        ASSERT_EQ(::send(pair->second.get(), garbage.data(), garbage.size(), 0), std::ssize(garbage));
        auto message = pair->first.receive();
        EXPECT_TRUE(pair->first.closed());
        EXPECT_TRUE(message.empty());
        EXPECT_NE(pair->first.why_closed().find("no message of Koi"), std::string::npos);
    }
}

TEST(Channel, AMessageLargerThanTheReceiverAllowsClosesIt) {
    auto pair = Channel::pair();
    ASSERT_TRUE(pair);
    auto& left = pair->first;
    Channel right(std::move(pair->second), 50'000);
    ASSERT_TRUE(left.send(any_message(50'000)));
    EXPECT_EQ(right.receive().size(), 1u);
    ASSERT_TRUE(left.send(any_message(50'001)));
    EXPECT_TRUE(right.receive().empty());
    EXPECT_TRUE(right.closed());
    EXPECT_EQ(right.why_closed(), "the other end sent a message of more than 50000 bytes");
}

TEST(Channel, AnEndThatLeavesInTheMiddleOfAMessageIsNotMistakenForAWholeOne) {
    auto pair = Channel::pair();
    ASSERT_TRUE(pair);
    const Message half = {1, 'h', 'a'};
    ASSERT_EQ(::send(pair->second.get(), half.data(), half.size(), 0), 3);
    pair->second.reset();
    EXPECT_TRUE(pair->first.receive().empty());
    EXPECT_EQ(pair->first.why_closed(), "the other end has gone in the middle of a message");
}

TEST(Channel, NothingLeaksIntoPrograms) {
    auto pair = Channel::pair();
    ASSERT_TRUE(pair);
    EXPECT_TRUE(::fcntl(pair->first.fd(), F_GETFD) & FD_CLOEXEC);
    EXPECT_TRUE(::fcntl(pair->second.get(), F_GETFD) & FD_CLOEXEC);
    EXPECT_TRUE(::fcntl(pair->first.fd(), F_GETFL) & O_NONBLOCK);
}

// ---- On the loop --------------------------------------------------------------------------------

struct OnLoop : testing::Test {
    void SetUp() override {
        auto opened = Loop::open();
        ASSERT_TRUE(opened);
        loop.emplace(std::move(*opened));
        guard = loop->at(loop->now() + 20s, Priority::idle, "too long", [this] { loop->stop(1); });
    }
    std::optional<Loop> loop;
    Watch guard;
};

TEST_F(OnLoop, LargeMessagesCrossWhileBothSidesRunAndTheEndIsTold) {
    auto ends = both();
    std::vector<std::size_t> heard;
    std::string why;
    std::optional<ChannelOnLoop> left, right;
    left.emplace(
        *loop, std::move(ends.left), Priority::facts, "left", [](auto) {}, [](const auto&) {});
    right.emplace(
        *loop, std::move(ends.right), Priority::facts, "right",
        [&](std::span<const std::uint8_t> m) {
            heard.push_back(m.size());
            if (heard.size() == 3) left.reset();
        },
        [&](const std::string& reason) {
            why = reason;
            loop->stop();
        });
    ASSERT_TRUE(left->send(any_message(5'000'000)));
    ASSERT_TRUE(left->send(any_message(3'000'000)));
    ASSERT_TRUE(left->send(any_message(3)));
    EXPECT_EQ(loop->run(), 0);
    EXPECT_EQ(heard, (std::vector<std::size_t>{5'000'000, 3'000'000, 3}));
    EXPECT_EQ(why, "the other end has gone");
    EXPECT_TRUE(right->closed());
}

TEST_F(OnLoop, ACallbackMayDestroyTheChannelAndHearsNothingMore) {
    auto ends = both();
    unsigned calls = 0;
    std::optional<ChannelOnLoop> right;
    right.emplace(
        *loop, std::move(ends.right), Priority::facts, "right",
        [&](auto) {
            ++calls;
            right.reset();
            loop->stop();
        },
        [&](const auto&) { ADD_FAILURE() << "dropped, not closed"; });
    ASSERT_TRUE(ends.left.send(text("one")));
    ASSERT_TRUE(ends.left.send(text("two")));
    EXPECT_EQ(loop->run(), 0);
    EXPECT_EQ(calls, 1u);
}

TEST_F(OnLoop, OnCloseMayReplaceTheChannel) {
    auto ends = both();
    std::optional<ChannelOnLoop> right;
    right.emplace(
        *loop, std::move(ends.right), Priority::facts, "right", [](auto) {},
        [&](const auto&) {
            auto again = both();
            right.emplace(
                *loop, std::move(again.right), Priority::facts, "again", [](auto) {}, [](const auto&) {});
            loop->stop();
        });
    { const Channel gone = std::move(ends.left); }
    EXPECT_EQ(loop->run(), 0);
    EXPECT_FALSE(right->closed());
}

}  // namespace
}  // namespace koi
