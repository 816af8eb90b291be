// Rules 13 to 15 of carp/machine.h, one by one; the numbers are the same.
#include <gtest/gtest.h>

#include "carp/machine.h"

namespace koi::carp {
namespace {

IpAddress ip(const char* text) { return *IpAddress::parse(text); }

constexpr std::uint64_t peer = 22;

Settings settings(int advskew) {
    Settings s;
    s.advskew = *Advskew::of(advskew);
    s.auth = {Auth::Mode::require, {{1, std::string(32, 'k')}}, {}};
    return s;
}

struct Node {
    Settings us;
    OwnAddresses own{ip("10.0.0.5"), std::nullopt};
    State state;
    Instant now{100s};
    std::string because;

    explicit Node(int advskew = 100) : us(settings(advskew)) {}

    std::string tell(const Event& e) {
        Step next = step(us, own, state, e, now);
        state = next.next;
        std::string line;
        for (const auto& action : next.actions) {
            if (!line.empty()) line += ", ";
            if (std::holds_alternative<SendAdvert>(action)) line += "advert";
            if (std::holds_alternative<SendBowOut>(action)) line += "bow-out";
            if (std::holds_alternative<AnnounceAgain>(action)) line += "announce";
            if (const auto* go = std::get_if<SendGo>(&action)) line += "go " + std::to_string(go->to);
            if (const auto* word = std::get_if<SendPresence>(&action)) line += word->asks ? "ask" : "presence";
            if (const auto* p = std::get_if<Prepare>(&action)) line += p->wanted ? "prepare" : "prepare no more";
            if (const auto* role = std::get_if<RoleChanged>(&action)) {
                line += std::string(to_string(role->from)) + " -> " + std::string(to_string(role->to));
                because = role->because;
            }
        }
        return line;
    }
    enum Kind { plain, signed_, leaving, go_to_us, go_to_another };
    std::string hear(Kind kind, int advskew = 0, int demotion = 0) {
        Heard h{.advert = {}, .source = ip("10.0.0.2")};
        h.advert.advbase = 1;
        h.advert.advskew = static_cast<std::uint8_t>(advskew);
        h.advert.demotion = static_cast<std::uint8_t>(demotion);
        if (kind != plain) h.sender = peer;
        h.leaving = kind == leaving;
        h.go = kind == go_to_us || kind == go_to_another;
        h.to_us = kind == go_to_us;
        return tell(h);
    }
    std::string ask(int advskew, bool ready = true, int demotion = 0) {
        Advert a;
        a.advbase = 1;
        a.advskew = static_cast<std::uint8_t>(advskew);
        a.demotion = static_cast<std::uint8_t>(demotion);
        return tell(Present{ip("10.0.0.2"), peer, claim_of(a), true, ready});
    }
    std::string presence() { return tell(Present{ip("10.0.0.2"), peer, {}, false, false}); }
    std::string wait(Duration d) {
        now += d;
        return tell(DeadlinePassed{});
    }
    std::string wait_until_due() {
        now = next_due(state);
        return tell(DeadlinePassed{});
    }
};

Node backup(int advskew) {
    Node n(advskew);
    n.tell(Started{});
    n.hear(Node::signed_, 50);
    n.wait_until_due();  // its first presence, or its first wish
    return n;
}

Node master(int advskew) {
    Node n(advskew);
    n.tell(Started{});
    n.wait_until_due();
    n.now += 500ms;
    return n;
}

// ---- Rule 13 ----

TEST(Rule13, ABackupTellsItsSignedMasterOnceASecondThatItStandsBy) {
    Node n(100);
    n.tell(Started{});
    EXPECT_EQ(n.hear(Node::signed_), "");
    EXPECT_EQ(n.wait_until_due(), "presence") << "at once when it follows somebody new";
    EXPECT_EQ(next_due(n.state), n.now + 1s);
    EXPECT_EQ(n.wait_until_due(), "presence");
    EXPECT_EQ(n.hear(Node::plain), "");
    EXPECT_EQ(next_due(n.state), n.state.deadline) << "who does not sign is told nothing";
}

TEST(Rule13, ABetterClaimAsksAndTakesOverByForceOnlyAfterASecond) {
    Node n(0);
    n.tell(Started{});
    EXPECT_EQ(n.hear(Node::signed_, 50), "prepare");
    EXPECT_EQ(n.wait_until_due(), "presence") << "it asks not before its tables are there";
    EXPECT_EQ(n.tell(Prepared{true}), "");
    EXPECT_EQ(n.wait_until_due(), "ask");
    const auto first = n.now;
    EXPECT_EQ(n.wait_until_due(), "ask");
    EXPECT_EQ(n.now - first, 10ms);
    EXPECT_EQ(n.wait(989ms), "ask");
    EXPECT_EQ(n.wait(20ms), "advert, backup -> master");
}

TEST(Rule13, WhoseTablesDoNotStandPushesNobodyAside) {
    Node n(0);
    n.tell(Started{});
    n.hear(Node::signed_, 50);
    for (int s = 0; s < 10; ++s) {
        EXPECT_EQ(n.wait(1s), "presence") << "it stands by all the same";
        n.hear(Node::signed_, 50);
    }
    n.tell(Prepared{true});
    EXPECT_EQ(n.wait(0s), "ask");
    n.tell(Prepared{false});
    EXPECT_EQ(n.wait(1s), "presence");
    n.tell(Prepared{true});
    EXPECT_EQ(n.wait(0s), "ask") << "and a second begins anew";
}

TEST(Rule13, OfAMasterThatDoesNotSignItTakesOverAsEver) {
    Node n(0);
    n.tell(Started{});
    EXPECT_EQ(n.hear(Node::plain, 50), "advert, backup -> master");
}

TEST(Rule13, AReasonThatGoesIsNoLongerPreparedFor) {
    Node n(100);
    n.tell(Started{});
    EXPECT_EQ(n.hear(Node::signed_, 50, 200), "prepare") << "the master is demoted";
    EXPECT_EQ(n.hear(Node::signed_, 50, 0), "prepare no more");
    EXPECT_EQ(n.tell(Prepared{true}), "");
    EXPECT_EQ(n.wait_until_due(), "presence");
}

TEST(Rule13, ALeavingMasterIsAskedInTheOrderOfTheRanks) {
    auto n = backup(100);
    EXPECT_EQ(n.hear(Node::leaving, 50), "prepare");
    n.tell(Prepared{true});
    EXPECT_EQ(next_due(n.state), n.now + rank(*Advskew::of(100)));
    EXPECT_EQ(n.wait_until_due(), "ask");
    EXPECT_EQ(n.wait(1s), "prepare no more") << "it never takes over from it by force";
}

TEST(Rule13, WhoIsSteppedDownNeitherStandsByNorAsks) {
    auto n = backup(0);
    n.tell(SteppedDown{"the operator"});
    EXPECT_EQ(n.hear(Node::leaving, 50), "");
    EXPECT_EQ(n.wait_until_due(), "");
}

// ---- Rule 14 ----

TEST(Rule14, AMasterThatIsAskedByABetterClaimSaysGoAndIsSilent) {
    auto m = master(100);
    EXPECT_EQ(m.ask(100), "") << "an equal one does not push";
    EXPECT_EQ(m.ask(50, false), "") << "nor one that is not ready";
    EXPECT_EQ(m.ask(50), "go 22");
    EXPECT_EQ(m.state.handing_until, m.now + 15ms);
    EXPECT_EQ(m.ask(0), "") << "once";
    EXPECT_EQ(m.tell(Demoted{*Demotion::of(50)}), "") << "not a word more";
    EXPECT_EQ(m.hear(Node::signed_, 50), "master -> backup");
    EXPECT_EQ(m.because, "handed over to 10.0.0.2");
}

TEST(Rule14, ASuccessorThatIsNotHeardLeavesATenthOfASecond) {
    auto m = master(100);
    m.ask(50);
    EXPECT_EQ(m.wait(15ms), "master -> backup");
    EXPECT_EQ(m.wait(99ms), "");
    EXPECT_EQ(m.wait(1ms), "advert, backup -> master");
}

TEST(Rule14, WithAStandbyALeavingMasterGoesOnUntilItIsAsked) {
    auto m = master(100);
    m.presence();
    EXPECT_EQ(m.tell(Stopped{}), "advert");
    EXPECT_FALSE(m.state.leaving.empty());
    EXPECT_EQ(m.wait(20ms), "advert");
    EXPECT_EQ(m.ask(200), "go 22") << "whatever its claim";
    EXPECT_EQ(m.hear(Node::signed_, 200), "master -> init");
}

TEST(Rule14, NobodyAsksALeavingMasterForASecondItBowsOut) {
    auto m = master(100);
    m.presence();
    m.tell(Stopped{});
    std::string last;
    for (int n = 0; n < 51 && m.state.role == Role::master; ++n) last = m.wait(20ms);
    EXPECT_EQ(last, "master -> init, bow-out");
}

TEST(Rule14, WithoutAStandbyItBowsOutAtOnce) {
    auto m = master(100);
    EXPECT_EQ(m.tell(Stopped{}), "master -> init, bow-out");
    auto late = master(100);
    late.presence();
    late.now += 3001ms;
    EXPECT_EQ(late.tell(SteppedDown{"the operator"}), "master -> backup, bow-out");
}

TEST(Rule14, ALeavingMasterThatHearsAnotherOneLeaves) {
    auto m = master(100);
    m.presence();
    m.tell(Stopped{});
    EXPECT_EQ(m.hear(Node::signed_, 200), "master -> init, bow-out");
    auto stays = master(100);
    EXPECT_EQ(stays.hear(Node::leaving, 0), "advert") << "a leaving one's claim is worth nothing, however good";
}

TEST(Rule14, ARecoveryInTheMiddleOfItMovesNothing) {
    auto m = master(50);
    m.tell(Demoted{*Demotion::of(10)});
    m.ask(0);
    m.tell(Demoted{*Demotion::of(0)});
    EXPECT_EQ(m.state.deadline, m.state.handing_until);
    EXPECT_EQ(m.wait(15ms), "master -> backup");
    m.tell(Demoted{*Demotion::of(5)});
    EXPECT_EQ(m.wait(100ms), "advert, backup -> master") << "nor the wait after a go in vain";
    auto leaving = master(50);
    leaving.tell(Demoted{*Demotion::of(10)});
    leaving.presence();
    leaving.tell(Stopped{});
    const auto due = leaving.state.deadline;
    leaving.tell(Demoted{*Demotion::of(0)});
    EXPECT_EQ(leaving.state.deadline, due);
}

TEST(Rule14, WhoSleptWhileHeWasLeavingForGoodIsGone) {
    auto m = master(50);
    m.presence();
    m.tell(Stopped{});
    m.now += 4s;
    EXPECT_EQ(m.tell(Slept{4s}), "master -> init");
}

TEST(Rule14, AnotherMasterMayComeInBetween) {
    auto m = master(100);
    m.ask(50);
    EXPECT_EQ(m.hear(Node::plain, 200), "") << "a worse one is told nothing";
    EXPECT_EQ(m.hear(Node::plain, 0), "master -> backup") << "a better one need not wait for the end of it";
    EXPECT_EQ(m.because, "10.0.0.2 has the better claim (demotion 0, beat 1.00 s)");
    auto leaving = master(100);
    leaving.presence();
    leaving.tell(Stopped{});
    leaving.ask(50);
    EXPECT_EQ(leaving.hear(Node::plain, 200), "master -> init, bow-out") << "somebody leads";
}

// ---- Rule 15 ----

TEST(Rule15, WhoIsToldToGoTakesTheAddressesAndThenSpeaks) {
    auto n = backup(100);
    n.hear(Node::leaving, 50);
    n.tell(Prepared{true});
    n.wait_until_due();
    EXPECT_EQ(n.hear(Node::go_to_another, 50), "") << "somebody else";
    n.now += 50ms;
    EXPECT_EQ(n.hear(Node::go_to_us, 50), "backup -> master, advert");
}

TEST(Rule15, AMasterThatIsToldToGoSaysThatItIsThere) {
    auto m = master(100);
    EXPECT_EQ(m.hear(Node::go_to_us, 50), "advert") << "he that gave the role away waits to hear it";
    EXPECT_EQ(m.hear(Node::go_to_us, 50), "") << "and the second copy of it is none to answer";
    m.now += 100ms;
    EXPECT_EQ(m.hear(Node::go_to_another, 50), "");
}

// The successor may be less well than he was: nobody waits by the claim of one who has given it away.
TEST(Rule15, AnybodyMayFollowAMasterThatGaveItsRoleAway) {
    for (const auto kind : {Node::leaving, Node::go_to_another}) {
        auto n = backup(100);
        n.us.preempt = false;
        n.hear(kind, 0);
        n.now += 1500ms;
        n.hear(Node::signed_, 50);
        EXPECT_EQ(n.state.counts_from, n.now) << "whoever leads now is heard";
    }
}

TEST(Rule15, AnOldGoIsWorthNothing) {
    auto n = backup(100);
    EXPECT_EQ(n.hear(Node::go_to_us, 50), "") << "nobody asked";
    n.hear(Node::leaving, 50);
    n.tell(Prepared{true});
    n.wait_until_due();
    n.now += 51ms;
    EXPECT_EQ(n.hear(Node::go_to_us, 50), "") << "it slept meanwhile";
}

}  // namespace
}  // namespace koi::carp
