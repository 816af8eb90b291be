// The rules of carp/machine.h one by one; the numbers are the same.
#include "carp/machine.h"

#include <gtest/gtest.h>

namespace koi::carp {
namespace {

// n/256 s.
constexpr Duration skew(int n) { return Duration(n * 1'000'000 / 256); }

IpAddress ip(const char* text) { return *IpAddress::parse(text); }

struct Says {
    int advbase = 1, advskew = 0, demotion = 0;
};

Advert advert(Says s) {
    Advert a;
    a.advbase = static_cast<std::uint8_t>(s.advbase);
    a.advskew = static_cast<std::uint8_t>(s.advskew);
    a.demotion = static_cast<std::uint8_t>(s.demotion);
    return a;
}

// One machine and its clock. Every word it is told answers with what it does, as a line.
struct Node {
    Settings us;
    OwnAddresses own{ip("10.0.0.5"), std::nullopt};
    State state;
    Instant now{100s};
    std::string because;

    explicit Node(int advbase = 1, int advskew = 100, bool preempt = true) {
        us.advbase = *Advbase::of(advbase);
        us.advskew = *Advskew::of(advskew);
        us.preempt = preempt;
    }

    std::string take(Step next) {
        state = next.next;
        std::string line;
        for (const auto& action : next.actions) {
            if (!line.empty()) line += ", ";
            if (std::holds_alternative<SendAdvert>(action)) line += "advert";
            if (std::holds_alternative<SendBowOut>(action)) line += "bow-out";
            if (std::holds_alternative<AnnounceAgain>(action)) line += "announce";
            if (const auto* role = std::get_if<RoleChanged>(&action)) {
                line += std::string(to_string(role->from)) + " -> " + std::string(to_string(role->to));
                because = role->because;
            }
        }
        return line;
    }
    std::string tell(const Event& e) { return take(step(us, own, state, e, now)); }
    std::string hear(const char* from, Says what) { return tell(Heard{advert(what), ip(from)}); }
    std::string hear_bow_out(const char* from) { return tell(Heard{bow_out_advert(us), ip(from)}); }
    std::string demote(int d) { return tell(Demoted{*Demotion::of(d)}); }
    void wait(Duration d) { now += d; }
    std::string wait_for_deadline() {
        now = state.deadline;
        return tell(DeadlinePassed{});
    }
    Duration left() const { return state.deadline - now; }
    bool waits_for_ever() const { return state.deadline == Instant::max(); }
};

Node backup(int advbase = 1, int advskew = 100, bool preempt = true) {
    Node n(advbase, advskew, preempt);
    n.tell(Started{});
    return n;
}

Node master(int advbase = 1, int advskew = 100, bool preempt = true) {
    Node n = backup(advbase, advskew, preempt);
    n.wait_for_deadline();
    n.wait(500ms);
    return n;
}

// ---- Beats and patience ----

TEST(Settings, BeatsAndPatienceAreExactToTheMicrosecond) {
    const auto b = [](int base, int n) { return beat(*Advbase::of(base), *Advskew::of(n)).count(); };
    const auto p = [](int base, int n) { return patience(*Advbase::of(base), *Advskew::of(n)).count(); };
    EXPECT_EQ(b(1, 0), 1'000'000);
    EXPECT_EQ(b(1, 100), 1'390'625);
    EXPECT_EQ(b(254, 254), 254'992'187);
    EXPECT_EQ(b(0, 10), 39'062);
    EXPECT_EQ(b(0, 0), 3'906) << "0/0 is legal and means 1/256 s";
    EXPECT_EQ(p(1, 0), 3'000'000);
    EXPECT_EQ(p(1, 50), 3'195'312);
    EXPECT_EQ(p(3, 240), 9'937'500);
    EXPECT_EQ(p(0, 10), 117'187) << "three beats, not one";
    EXPECT_EQ(p(0, 0), 11'718);
    EXPECT_EQ(p(0, 1), 11'718);
}

TEST(Settings, AFasterClaimHasAlwaysTheShorterBeat) {
    Duration before{-1};
    for (int n = 0; n < 4 * 256; ++n) {
        const auto now = claim_of(advert({n / 256, n % 256, 0})).beat;
        ASSERT_LT(before, now) << n;
        before = now;
    }
}

// ---- Rule 1 ----

TEST(Rule1, ANodeThatStartsListensForOnePatience) {
    Node n(1, 100);
    EXPECT_EQ(n.tell(Started{}), "init -> backup");
    EXPECT_EQ(n.left(), 3s + skew(100));
    EXPECT_EQ(n.wait_for_deadline(), "advert, backup -> master");
    EXPECT_EQ(n.because, "no master was heard for 3.39 s");
}

TEST(Rule1, BeforeItStartsItHearsNothingAndWaitsForNothing) {
    Node n;
    EXPECT_EQ(n.hear("10.0.0.2", {}), "");
    EXPECT_EQ(n.tell(DeadlinePassed{}), "");
    EXPECT_EQ(n.state.role, Role::init);
    EXPECT_TRUE(n.waits_for_ever());
}

TEST(Rule1, ASecondStartChangesNothing) {
    auto b = backup();
    b.wait(1s);
    EXPECT_EQ(b.tell(Started{}), "");
    auto m = master();
    EXPECT_EQ(m.tell(Started{}), "");
    EXPECT_EQ(m.state.role, Role::master);
}

TEST(Rule1, ADeadlineThatHasNotComeIsNoEvent) {
    auto b = backup();
    b.wait(b.left() - Duration(1));
    EXPECT_EQ(b.tell(DeadlinePassed{}), "");
    b.wait(Duration(1));
    EXPECT_EQ(b.tell(DeadlinePassed{}), "advert, backup -> master");
}

// ---- Rule 2 ----

TEST(Rule2, AMasterSpeaksEachBeat) {
    auto m = master(1, 100);
    for (int i = 0; i < 3; ++i) {
        EXPECT_EQ(m.wait_for_deadline(), "advert");
        EXPECT_EQ(m.left(), 1s + skew(100));
    }
}

TEST(Rule2, ItsAdvertCarriesItsClaim) {
    auto m = master(2, 7);
    m.demote(5);
    const auto a = claim_advert(m.us, m.state);
    EXPECT_EQ(a.advbase, 2);
    EXPECT_EQ(a.advskew, 12);
    EXPECT_EQ(a.demotion, 5);
}

// ---- Rule 3 ----

TEST(Rule3, AMasterYieldsToAShorterBeatWithALastAdvert) {
    auto m = master(1, 100);
    EXPECT_EQ(m.hear("10.0.0.9", {1, 99, 0}), "advert, master -> backup");
    EXPECT_EQ(m.because, "10.0.0.9 has the better claim (demotion 0, beat 1.39 s)");
    EXPECT_EQ(m.left(), 3s + skew(100));
    EXPECT_EQ(m.state.master, ip("10.0.0.9"));
}

TEST(Rule3, AMasterYieldsToALowerDemotionWhateverItsBeat) {
    auto m = master(1, 0);
    m.demote(1);
    EXPECT_EQ(m.hear("10.0.0.9", {1, 200, 0}), "advert, master -> backup");
}

TEST(Rule3, AMasterStaysAgainstAHigherDemotionWhateverItsBeat) {
    auto m = master(1, 200);
    EXPECT_EQ(m.hear("10.0.0.9", {1, 0, 1}), "advert, announce");
    EXPECT_EQ(m.state.role, Role::master);
}

TEST(Rule3, OnATieTheAddressThatUcarpThinksLowerStays) {
    auto m = master(1, 10);
    m.own.v4 = ip("10.77.1.1");
    EXPECT_EQ(m.hear("10.77.0.2", {1, 10, 0}), "advert, announce") << "last octet first: 1 before 2";
    m.own.v4 = ip("10.77.0.2");
    EXPECT_EQ(m.hear("10.77.1.1", {1, 10, 0}), "advert, master -> backup");
}

TEST(Rule3, TheTieHasExactlyOneWinner) {
    const char* four[] = {"10.0.0.1", "10.0.0.2", "10.0.1.1", "10.1.0.1", "11.0.0.1", "10.0.0.255", "10.255.0.1"};
    const char* six[] = {"fe80::1", "fe80::2", "fe80::100", "fe80:0:0:1::1", "2001:db8::1"};
    const auto once = [](const auto& list) {
        for (const auto* a : list)
            for (const auto* b : list) {
                EXPECT_TRUE(wins_tie(ip(a), ip(b)) || wins_tie(ip(b), ip(a)));
                EXPECT_EQ(wins_tie(ip(a), ip(b)) && wins_tie(ip(b), ip(a)), a == b) << a << " " << b;
            }
    };
    once(four);
    once(six);
    EXPECT_TRUE(wins_tie(ip("11.0.0.1"), ip("10.0.0.2")));
    EXPECT_TRUE(wins_tie(ip("2001:db8::1"), ip("fe80::1"))) << "IPv6 compares first byte first";
}

// Two nodes whose IPv4 and IPv6 addresses compare the other way round.
struct Twins {
    Node a = master(1, 10), b = master(1, 10);
    Twins() {
        a.own = {ip("10.0.0.1"), ip("fe80::b")};
        b.own = {ip("10.0.0.2"), ip("fe80::a")};
    }
};

TEST(Rule3, ATieHeardOverBothFamiliesIsDecidedOverIpv4Alone) {
    for (const bool v6_first : {false, true}) {
        Twins t;
        const auto both = [&](Node& n, const char* v4, const char* v6) {
            const Says tie{1, 10, 0};
            const auto first = n.hear(v6_first ? v6 : v4, tie), second = n.hear(v6_first ? v4 : v6, tie);
            return first + second;
        };
        EXPECT_EQ(both(t.a, "10.0.0.2", "fe80::a"), "advert, announce");
        EXPECT_EQ(both(t.b, "10.0.0.1", "fe80::b"), "advert, master -> backup");
    }
}

TEST(Rule3, ANodeThatHasOnlyIpv6DecidesOverIpv6AtOnce) {
    auto m = master(1, 10);
    m.own = {std::nullopt, ip("fe80::b")};
    EXPECT_EQ(m.hear("10.0.0.1", {1, 10, 0}), "");
    EXPECT_EQ(m.hear("fe80::a", {1, 10, 0}), "advert, master -> backup");
}

TEST(Rule3, WhereIpv4DoesNotGetThroughIpv6DecidesAfterThreeAdverts) {
    Twins t;
    std::string a, b;
    for (int beats = 0; beats < 5; ++beats) {
        a += t.a.hear("fe80::a", {1, 10, 0});
        if (t.b.state.role == Role::master) b += t.b.hear("fe80::b", {1, 10, 0});
        t.a.wait(1s);
        t.b.wait(1s);
    }
    EXPECT_EQ(a, "advert, master -> backup");
    EXPECT_EQ(b.substr(0, 16), "advert, announce");
    EXPECT_EQ(t.b.state.role, Role::master);
}

// What came over IPv6 long ago says nothing about today.
TEST(Rule3, TiesOfFormerDaysDoNotCount) {
    Twins t;
    for (int meetings = 0; meetings < 20; ++meetings) {
        t.a.hear("fe80::a", {1, 10, 0});
        t.a.hear("10.0.0.2", {1, 10, 0});
        t.a.hear("fe80::a", {1, 10, 0});
        t.a.wait(1h);
    }
    EXPECT_EQ(t.a.state.role, Role::master);
}

TEST(Rule3, OneAdvertOverIpv4PutsIpv6BackInItsPlace) {
    Twins t;
    for (int beats = 0; beats < 20; ++beats) {
        t.a.hear("fe80::a", {1, 10, 0});
        if (beats % 2 == 0) t.a.hear("10.0.0.2", {1, 10, 0});
        t.a.wait(1s);
    }
    EXPECT_EQ(t.a.state.role, Role::master);
}

TEST(Rule3, WithoutAnAddressOfThatFamilyATieMovesNothing) {
    auto m = master(1, 10);
    m.own = {};
    EXPECT_EQ(m.hear("10.0.0.1", {1, 10, 0}), "");
    EXPECT_EQ(m.hear("fe80::1", {1, 10, 0}), "");
    EXPECT_EQ(m.hear("10.0.0.1", {1, 9, 0}), "advert, master -> backup") << "a better claim needs no address of ours";
}

// ---- Rule 4 ----

TEST(Rule4, AMasterThatHearsAWorseClaimAnswersAtOnce) {
    auto m = master(1, 100);
    EXPECT_EQ(m.hear("10.0.0.9", {1, 101, 0}), "advert, announce");
    EXPECT_EQ(m.left(), 1s + skew(100)) << "the answer counts as this beat's advert";
}

TEST(Rule4, AnAnswerThatWouldComeTooSoonIsPutOff) {
    auto m = master(1, 100);
    EXPECT_EQ(m.hear("10.0.0.9", {1, 101, 0}), "advert, announce");
    EXPECT_EQ(m.hear("10.0.0.9", {1, 101, 0}), "announce");
    EXPECT_EQ(m.left(), 3906us);
    m.demote(0);
    EXPECT_EQ(m.wait_for_deadline(), "advert") << "nothing in between takes it away";
    EXPECT_EQ(m.left(), 1s + skew(100));
}

TEST(Rule4, OneThatAnswersEverythingIsAnsweredEightTimesABeat) {
    auto m = master(1, 100);
    m.hear("10.0.0.9", {1, 101, 0});
    int said = 0;
    for (const auto end = m.now + 999ms; m.now < end;) {
        m.wait(100us);
        EXPECT_EQ(m.hear("10.0.0.9", {1, 101, 0}), "announce");
        said += m.wait_for_deadline() == "advert";
    }
    EXPECT_EQ(said, 9) << "the last one was due";
}

// ---- Rule 5 ----

TEST(Rule5, ABackupWithPreemptPushesAWorseMasterAside) {
    auto b = backup(1, 100, true);
    EXPECT_EQ(b.hear("10.0.0.9", {1, 101, 0}), "advert, backup -> master");
    EXPECT_EQ(b.because, "our claim is better than that of 10.0.0.9 (beat 1.39 s against 1.39 s)");
}

TEST(Rule5, ABackupWithoutPreemptLetsAWorseMasterBe) {
    auto b = backup(1, 100, false);
    EXPECT_EQ(b.hear("10.0.0.9", {1, 101, 0}), "");
    EXPECT_EQ(b.state.master, ip("10.0.0.9"));
}

TEST(Rule5, EqualClaimsAreNoReasonToPreempt) {
    auto b = backup(1, 100, true);
    b.own.v4 = ip("0.0.0.1");
    EXPECT_EQ(b.hear("10.0.0.9", {1, 100, 0}), "");
}

TEST(Rule5, AMasterThatIsLessWellIsRelievedPreemptOrNot) {
    for (const bool preempt : {true, false}) {
        auto b = backup(1, 200, preempt);
        EXPECT_EQ(b.hear("10.0.0.9", {1, 50, 50}), "advert, backup -> master");
        EXPECT_EQ(b.because, "10.0.0.9 is less well (demotion 50 against our 0)");
    }
}

TEST(Rule5, ABackupThatIsLessWellNeverPreempts) {
    auto b = backup(1, 0, true);
    b.demote(10);
    EXPECT_EQ(b.hear("10.0.0.9", {1, 200, 0}), "");
}

TEST(Rule5, AmongTheEquallyUnwellTheBeatDecides) {
    auto b = backup(1, 0, true);
    b.demote(10);
    EXPECT_EQ(b.hear("10.0.0.9", {1, 110, 10}), "advert, backup -> master");
}

TEST(Rule5, PreemptDelayHoldsBackUntilItHasPassed) {
    Node b(1, 0, true);
    b.us.preempt_delay = 10s;
    b.tell(Started{});
    for (int t = 0; t < 10; ++t) {
        EXPECT_EQ(b.hear("10.0.0.9", {1, 100, 0}), "") << t;
        b.wait(1s);
    }
    EXPECT_EQ(b.hear("10.0.0.9", {1, 100, 0}), "advert, backup -> master");
}

TEST(Rule5, PreemptDelayDoesNotSaveAnUnwellMasterNorAnAbsentOne) {
    Node b(1, 0, true);
    b.us.preempt_delay = 1h;
    b.tell(Started{});
    EXPECT_EQ(b.hear("10.0.0.9", {1, 100, 0}), "");
    EXPECT_EQ(b.wait_for_deadline(), "advert, backup -> master");

    Node c(1, 0, true);
    c.us.preempt_delay = 1h;
    c.tell(Started{});
    EXPECT_EQ(c.hear("10.0.0.9", {1, 101, 1}), "advert, backup -> master");
}

// Whoever takes over by rule 5 must be accepted by rule 3, or the two would push each other aside for ever.
TEST(Rule5, WhoeverTakesOverIsYieldedToAndKeepsTheRole) {
    const int bases[] = {0, 1, 2}, skews[] = {0, 1, 10, 100, 240, 254}, demotions[] = {0, 1, 50, 239, 240};
    for (int base_a : bases)
        for (int base_b : bases)
            for (int skew_a : skews)
                for (int skew_b : skews)
                    for (int demotion_a : demotions)
                        for (int demotion_b : demotions)
                            for (bool preempt : {true, false}) {
                                auto a = master(base_a, skew_a, preempt), b = backup(base_b, skew_b, preempt);
                                a.own.v4 = ip("10.0.0.1");
                                b.own.v4 = ip("10.0.0.2");
                                a.demote(demotion_a);
                                b.demote(demotion_b);
                                const auto story = ::testing::Message()
                                                   << base_a << "/" << skew_a << "+" << demotion_a << " against "
                                                   << base_b << "/" << skew_b << "+" << demotion_b << " preempt "
                                                   << preempt;
                                b.tell(Heard{claim_advert(a.us, a.state), *a.own.v4});
                                if (b.state.role == Role::master) {
                                    a.tell(Heard{claim_advert(b.us, b.state), *b.own.v4});
                                    EXPECT_EQ(a.state.role, Role::backup) << story;
                                    b.tell(Heard{claim_advert(a.us, a.state), *a.own.v4});  // the last advert
                                    EXPECT_EQ(b.state.role, Role::master) << story;
                                    a.tell(Heard{claim_advert(b.us, b.state), *b.own.v4});
                                    EXPECT_EQ(a.state.role, Role::backup) << story;
                                } else {
                                    // Waiting for one that is no worse, it survives a lost advert; for a worse one,
                                    // as long as everybody does.
                                    const bool is_better =
                                        claim_of(claim_advert(b.us, b.state)) < claim_of(claim_advert(a.us, a.state));
                                    EXPECT_GE(b.left(), (is_better ? 1 : 2) *
                                                            beat(a.us.advbase, sent_skew(a.us, a.state.demotion)))
                                        << story;
                                }
                            }
}

// ... and two masters that meet settle it with exactly one of them, heard over one family or both.
TEST(Rule3, TwoMastersThatMeetAreOneMasterAfterOneAdvertEach) {
    const int bases[] = {0, 1}, skews[] = {0, 1, 100, 254}, demotions[] = {0, 1, 240};
    for (int base_a : bases)
        for (int base_b : bases)
            for (int skew_a : skews)
                for (int skew_b : skews)
                    for (int demotion_a : demotions)
                        for (int demotion_b : demotions)
                            for (const char* other : {"fe80::a", "fe80::c"}) {
                                auto a = master(base_a, skew_a), b = master(base_b, skew_b);
                                a.own = {ip("10.0.0.1"), ip("fe80::b")};
                                b.own = {ip("10.0.0.2"), ip(other)};
                                a.demote(demotion_a);
                                b.demote(demotion_b);
                                a.wait(100ms);
                                b.wait(100ms);
                                const auto from_a = claim_advert(a.us, a.state), from_b = claim_advert(b.us, b.state);
                                for (const auto& source : {*a.own.v6, *a.own.v4}) b.tell(Heard{from_a, source});
                                for (const auto& source : {*b.own.v4, *b.own.v6}) a.tell(Heard{from_b, source});
                                EXPECT_NE(a.state.role, b.state.role)
                                    << base_a << "/" << skew_a << "+" << demotion_a << " against " << base_b << "/"
                                    << skew_b << "+" << demotion_b;
                            }
}

// ---- Rule 6 ----

TEST(Rule6, AMasterTooSlowForOurPatienceIsNotWaitedFor) {
    auto b = backup(1, 0, false);
    EXPECT_EQ(b.hear("10.0.0.9", {3, 0, 0}), "") << "3 s is just in time";
    EXPECT_EQ(b.hear("10.0.0.9", {3, 1, 0}), "advert, backup -> master");
    EXPECT_EQ(b.because, "10.0.0.9 speaks only every 3.00 s, which is longer than we wait");
}

TEST(Rule6, AnUnwellBackupWaitsForASlowMasterThatIsWell) {
    auto b = backup(1, 0, false);
    b.demote(1);
    EXPECT_EQ(b.hear("10.0.0.9", {10, 0, 0}), "");
    EXPECT_EQ(b.left(), 30s) << "three of his beats: with our own patience we would come and go for ever";
    EXPECT_EQ(b.wait_for_deadline(), "advert, backup -> master");
}

// ---- Rule 7 ----

TEST(Rule7, RankGrowsWithTheSkewAndNeverPasses64Milliseconds) {
    EXPECT_EQ(rank(*Advskew::of(0)), 0ms);
    EXPECT_EQ(rank(*Advskew::of(100)), 25ms);
    EXPECT_LE(rank(*Advskew::of(254)), 64ms);
}

TEST(Rule7, ABowOutMakesABackupLeadInItsTurn) {
    auto b = backup(1, 100, false);
    b.hear("10.0.0.2", {1, 0, 0});
    EXPECT_EQ(b.hear_bow_out("10.0.0.2"), "");
    EXPECT_EQ(b.left(), 25ms);
    b.wait(10ms);
    EXPECT_EQ(b.hear_bow_out("10.0.0.2"), "") << "it is said twice; the second does not begin the rank again";
    EXPECT_EQ(b.left(), 15ms);
    EXPECT_EQ(b.wait_for_deadline(), "advert, backup -> master");
    EXPECT_EQ(b.because, "10.0.0.2 left");
}

TEST(Rule7, ABackupGivesUpItsTurnWhenAnotherWasFaster) {
    auto b = backup(1, 100, true);
    b.hear("10.0.0.2", {1, 0, 0});
    b.hear_bow_out("10.0.0.2");
    b.wait(20ms);
    EXPECT_EQ(b.hear("10.0.0.3", {1, 50, 0}), "");
    EXPECT_EQ(b.left(), 3s + skew(100));
    EXPECT_EQ(b.hear_bow_out("10.0.0.3"), "") << "and takes its turn again when that one leaves";
    EXPECT_EQ(b.left(), 25ms);
}

TEST(Rule7, ALateCopyOfABowOutIsNotThatOfTheNewMaster) {
    auto b = backup(1, 100, true);
    b.hear("10.0.0.2", {1, 0, 0});
    b.hear("10.0.0.3", {1, 0, 0});
    EXPECT_EQ(b.hear_bow_out("10.0.0.2"), "");
    EXPECT_EQ(b.left(), 3s + skew(100));
}

TEST(Rule7, ABowOutOfAnotherSenderOverTheOtherFamilyIsNotOurMasters) {
    auto b = backup(1, 100);
    b.us.auth = {Auth::Mode::prefer, {{1, std::string(32, 'k')}}, {}};
    Heard master{advert({1, 0}), ip("fe80::2")};
    master.sender = 22;
    b.tell(master);
    Heard other{advert({255, 255, 255}), ip("10.0.0.3")};
    other.sender = 33;
    EXPECT_EQ(b.tell(other), "");
    EXPECT_FALSE(b.state.bow_out_pending);
    other.sender = 22;
    b.tell(other);
    EXPECT_TRUE(b.state.bow_out_pending) << "the same one over its other address";
}

TEST(Rule7, TheUnwellComeLater) {
    auto b = backup(1, 10, true);
    b.demote(90);
    b.hear_bow_out("10.0.0.2");
    EXPECT_EQ(b.left(), 25ms);
}

// ---- Rule 8 ----

TEST(Rule8, AnAdvertRestartsThePatience) {
    auto b = backup(1, 100);
    b.wait(3s);
    EXPECT_EQ(b.hear("10.0.0.2", {1, 0, 0}), "");
    EXPECT_EQ(b.left(), 3s + skew(100));
    EXPECT_EQ(b.wait_for_deadline(), "advert, backup -> master");
    EXPECT_EQ(b.because, "no advert from 10.0.0.2 for 3.39 s");
}

TEST(Rule8, AWorseMasterBesideABetterOneMovesNothing) {
    auto b = backup(1, 100, true);
    b.hear("10.0.0.2", {1, 0, 0});
    b.wait(1900ms);
    const auto before = b.state.deadline;
    EXPECT_EQ(b.hear("10.0.0.9", {1, 200, 0}), "") << "10.0.0.2 will tell him";
    EXPECT_EQ(b.state.deadline, before);
    EXPECT_EQ(b.state.master, ip("10.0.0.2"));
    b.wait(100ms);
    EXPECT_EQ(b.hear("10.0.0.9", {1, 200, 0}), "advert, backup -> master") << "two beats of silence: he is gone";
}

TEST(Rule8, ASuccessorWorseThanTheDeadMasterIsFollowed) {
    auto b = backup(1, 200, true);
    b.hear("10.0.0.2", {1, 0, 0});
    b.wait(3s + skew(100));
    EXPECT_EQ(b.hear("10.0.0.9", {1, 100, 0}), "");
    EXPECT_EQ(b.state.master, ip("10.0.0.9"));
    EXPECT_EQ(b.left(), 3s + skew(200));
}

TEST(Rule8, PatienceIsThatOfTheSkewTheNodeWouldSend) {
    Node b(1, 100);
    b.demote(50);
    b.tell(Started{});
    EXPECT_EQ(b.left(), 3s + skew(150));
    b.wait(1s);
    b.demote(0);
    EXPECT_EQ(b.left(), 2s + skew(100)) << "counted from when it began";
    b.demote(240);
    EXPECT_EQ(b.left(), 2s + skew(240));
}

TEST(Rule8, ADemotionThatComesAndGoesDoesNotPutOffTheEndOfPatience) {
    auto b = backup(1, 0);
    const auto start = b.now;
    for (int i = 0; i < 29; ++i) {
        b.wait(100ms);
        EXPECT_EQ(b.demote(i % 2 == 0 ? 200 : 0), "");
    }
    b.demote(0);
    EXPECT_EQ(b.state.deadline, start + 3s);
}

TEST(Rule8, APatienceThatWasSleptThroughBeginsAgain) {
    auto b = backup(1, 100);
    b.hear("10.0.0.2", {1, 0, 0});
    b.wait(10s);
    EXPECT_EQ(b.tell(DeadlinePassed{}), "");
    EXPECT_EQ(b.left(), 3s + skew(100));
    EXPECT_EQ(b.wait_for_deadline(), "advert, backup -> master");
}

TEST(Rule8, ATimerThatIsALittleLateIsNoSleep) {
    auto b = backup(1, 100);
    b.wait(b.left() + 250ms);
    EXPECT_EQ(b.tell(DeadlinePassed{}), "advert, backup -> master");
}

TEST(Rule8, ARankThatWasSleptThroughBecomesAPatience) {
    auto b = backup(1, 100);
    b.hear("10.0.0.2", {1, 0, 0});
    b.hear_bow_out("10.0.0.2");
    b.wait(5s);
    EXPECT_EQ(b.tell(DeadlinePassed{}), "");
    EXPECT_EQ(b.hear("10.0.0.3", {1, 0, 0}), "");
    EXPECT_EQ(b.state.role, Role::backup);
}

// ---- Rule 9 ----

TEST(Rule9, DemotionAddsToTheSkewUpTo240AndNeverLowersIt) {
    Settings us;
    const auto sent = [&](int plain, int demotion) {
        us.advskew = *Advskew::of(plain);
        return sent_skew(us, *Demotion::of(demotion)).value();
    };
    EXPECT_EQ(sent(0, 0), 0);
    EXPECT_EQ(sent(100, 50), 150);
    EXPECT_EQ(sent(200, 100), 240);
    EXPECT_EQ(sent(254, 0), 254);
    EXPECT_EQ(sent(250, 5), 250) << "240 would make an unwell node stronger than a well one";
}

TEST(Rule9, ARiseIsSaidAtOnceAndTheMasterGoesOn) {
    auto m = master(1, 0);
    EXPECT_EQ(m.demote(50), "advert");
    EXPECT_EQ(m.left(), 1s + skew(50));
    EXPECT_EQ(m.demote(50), "");
    EXPECT_EQ(m.state.role, Role::master) << "nobody better has spoken";
}

TEST(Rule9, AFallShortensTheBeatFromTheLastAdvert) {
    auto m = master(1, 0);
    m.demote(240);
    m.wait(900ms);
    EXPECT_EQ(m.demote(0), "");
    EXPECT_EQ(m.left(), 100ms);
    m.demote(240);
    m.wait(1500ms);
    m.demote(0);
    EXPECT_EQ(m.left(), 0ms);
    EXPECT_EQ(m.tell(DeadlinePassed{}), "advert");
}

TEST(Rule9, DemotionIsRememberedWhateverTheRole) {
    Node n(1, 0);
    EXPECT_EQ(n.demote(20), "");
    n.tell(Started{});
    n.wait_for_deadline();
    EXPECT_EQ(claim_advert(n.us, n.state).demotion, 20);
}

// ---- Rule 10 ----

TEST(Rule10, AMasterThatStopsLetsGoFirstAndThenBowsOut) {
    auto m = master();
    EXPECT_EQ(m.tell(Stopped{}), "master -> init, bow-out");
    EXPECT_TRUE(m.waits_for_ever());
    EXPECT_EQ(m.tell(Stopped{}), "");
}

TEST(Rule10, ABackupThatStopsSaysNothing) {
    auto b = backup();
    EXPECT_EQ(b.tell(Stopped{}), "backup -> init");
}

TEST(Rule10, ABowOutIsToldFromEveryOtherAdvert) {
    Settings us;
    const auto a = bow_out_advert(us);
    EXPECT_TRUE(a.is_bow_out());
    EXPECT_EQ(a.demotion, 255);
    State unwell;
    unwell.demotion = *Demotion::of(240);
    us.advbase = *Advbase::of(254);
    us.advskew = *Advskew::of(254);
    EXPECT_FALSE(claim_advert(us, unwell).is_bow_out());
}

TEST(Rule10, AMasterThatHearsABowOutStaysHoweverUnwellItIs) {
    auto m = master();
    m.demote(240);
    m.wait(100ms);
    EXPECT_EQ(m.hear_bow_out("10.0.0.1"), "advert, announce");
    m.wait(100ms);
    EXPECT_EQ(m.hear("10.0.0.1", {255, 255, 0}), "advert, announce") << "as OpenBSD says it when it is well";
}

TEST(Rule10, SteppingDownIsALeaveThatGoesOnListening) {
    auto m = master(1, 0);
    EXPECT_EQ(m.tell(SteppedDown{"the operator said so"}), "master -> backup, bow-out");
    EXPECT_EQ(m.because, "the operator said so");
    for (int n = 0; n < 5; ++n) EXPECT_EQ(m.wait_for_deadline(), "") << "never to lead until stepped up";
    EXPECT_EQ(m.hear("10.0.0.9", {1, 200, 0}), "");
    EXPECT_EQ(m.hear("10.0.0.9", {1, 200, 100}), "");
    EXPECT_EQ(m.hear("10.0.0.9", {100, 0, 0}), "");
    EXPECT_EQ(m.state.master, ip("10.0.0.9")) << "but it knows who leads";
    EXPECT_EQ(m.hear_bow_out("10.0.0.9"), "");
    EXPECT_EQ(m.wait_for_deadline(), "");
    EXPECT_EQ(m.state.master, std::nullopt);
}

TEST(Rule10, SteppingUpAgainRejoinsTheElection) {
    auto b = backup(1, 0, true);
    EXPECT_EQ(b.tell(SteppedDown{"maintenance"}), "");
    b.hear("10.0.0.9", {1, 200, 0});
    b.wait(1s);
    EXPECT_EQ(b.tell(SteppedUp{}), "");
    EXPECT_EQ(b.left(), 2s) << "the patience that ran goes on";
    EXPECT_EQ(b.hear("10.0.0.9", {1, 200, 0}), "advert, backup -> master");
}

TEST(Rule10, SteppingUpWhereNobodyLeadsLeadsAtOnce) {
    auto m = master(1, 0);
    m.tell(SteppedDown{"maintenance"});
    for (int n = 0; n < 5; ++n) m.wait_for_deadline();
    m.wait(1s);
    EXPECT_EQ(m.tell(SteppedUp{}), "");
    EXPECT_EQ(m.left(), 0s);
    EXPECT_EQ(m.tell(DeadlinePassed{}), "advert, backup -> master");
}

TEST(Rule10, SteppingUpWithoutHavingListenedLongEnoughListens) {
    auto left = backup(1, 100);
    left.tell(SteppedDown{"maintenance"});
    left.hear("10.0.0.9", {1, 0, 0});
    left.hear_bow_out("10.0.0.9");
    EXPECT_EQ(left.wait_for_deadline(), "");
    left.tell(SteppedUp{});
    EXPECT_EQ(left.left(), 3s + skew(100)) << "a rank is no patience: another one may lead by now";

    auto slept = backup(1, 100);
    slept.tell(SteppedDown{"maintenance"});
    slept.wait_for_deadline();
    slept.wait(1h);
    slept.tell(SteppedUp{});
    EXPECT_EQ(slept.tell(DeadlinePassed{}), "") << "nor is a sleep";
    EXPECT_EQ(slept.left(), 3s + skew(100));
}

TEST(Rule10, ANodeThatStartsSteppedDownOnlyWatches) {
    Node n(1, 0);
    EXPECT_EQ(n.tell(SteppedDown{"maintenance"}), "");
    EXPECT_EQ(n.tell(Started{}), "init -> backup");
    EXPECT_EQ(n.wait_for_deadline(), "");
    EXPECT_EQ(n.state.role, Role::backup);
}

// ---- Rule 11 ----

TEST(Rule11, ALostLinkEndsEveryRoleWithoutAWord) {
    auto m = master();
    EXPECT_EQ(m.tell(LinkLost{"eth0 is down"}), "master -> init");
    EXPECT_EQ(m.because, "eth0 is down");
    EXPECT_TRUE(m.waits_for_ever());
    EXPECT_EQ(m.tell(LinkLost{"eth0 is down"}), "");
    auto b = backup();
    EXPECT_EQ(b.tell(LinkLost{"eth0 is down"}), "backup -> init");
    EXPECT_EQ(b.tell(Started{}), "init -> backup");
    EXPECT_EQ(b.left(), 3s + skew(100));
}

// ---- Resume and reload ----

TEST(Resume, AMasterThatWasAwayForAMomentGoesOn) {
    Node n(1, 0);
    EXPECT_EQ(n.take(resume(n.us, n.state, n.now)), "advert, init -> master");
    EXPECT_EQ(n.left(), 1s);
    EXPECT_EQ(n.hear("10.0.0.9", {0, 200, 0}), "advert, master -> backup");
    n.wait(1s);
    EXPECT_EQ(n.hear("10.0.0.9", {1, 100, 0}), "advert, backup -> master") << "and may preempt again later";
}

TEST(Resume, OnlyFromInitAndNeverWhileSteppedDown) {
    auto b = backup();
    EXPECT_EQ(b.take(resume(b.us, b.state, b.now)), "");
    Node n;
    n.tell(SteppedDown{"maintenance"});
    EXPECT_EQ(n.take(resume(n.us, n.state, n.now)), "init -> backup");
}

TEST(Change, AMasterSaysItsNewBeatAtOnce) {
    auto m = master(1, 0);
    auto slower = m.us;
    slower.advbase = *Advbase::of(5);
    EXPECT_EQ(m.take(change(m.us, slower, m.state, m.now)), "advert");
    EXPECT_EQ(m.left(), 5s);
    EXPECT_EQ(m.state.role, Role::master);
}

TEST(Change, AShorterPatienceBeginsNow) {
    auto b = backup(10, 0);
    b.wait(20s);
    auto faster = b.us;
    faster.advbase = *Advbase::of(1);
    EXPECT_EQ(b.take(change(b.us, faster, b.state, b.now)), "");
    b.us = faster;
    EXPECT_EQ(b.left(), 3s) << "the master may be reloaded a moment later";
    b.demote(1);
    b.demote(0);
    EXPECT_EQ(b.left(), 3s);
}

TEST(Change, AShorterPatienceDoesNotEndLaterThanTheOldOne) {
    auto b = backup(10, 0);
    b.wait(29s);
    auto faster = b.us;
    faster.advbase = *Advbase::of(1);
    b.take(change(b.us, faster, b.state, b.now));
    EXPECT_EQ(b.left(), 1s);
}

TEST(Change, ALongerPatienceCountsFromTheLastAdvert) {
    auto b = backup(1, 0);
    b.wait(2s);
    auto slower = b.us;
    slower.advbase = *Advbase::of(10);
    EXPECT_EQ(b.take(change(b.us, slower, b.state, b.now)), "");
    EXPECT_EQ(b.left(), 28s);
}

TEST(Change, WhatIsNotABeatLeavesTheTimersAlone) {
    auto m = master(1, 0), b = backup(1, 0);
    auto other = m.us;
    other.preempt = !other.preempt;
    const auto before_m = m.state.deadline, before_b = b.state.deadline;
    b.wait(1s);
    EXPECT_EQ(m.take(change(m.us, other, m.state, m.now)), "");
    EXPECT_EQ(b.take(change(b.us, other, b.state, b.now)), "");
    EXPECT_EQ(m.state.deadline, before_m);
    EXPECT_EQ(b.state.deadline, before_b);
}

// ---- Beside speakers that know no demotion ----

// UCARP looks at the skew alone (carp.md 3.2). Its side of the story is played here.
TEST(BesideUcarp, AnUnwellMasterKeepsLeadingWhileItsSkewIsStillTheBest) {
    auto m = master(1, 0);
    EXPECT_EQ(m.demote(50), "advert");
    // UCARP, skew 100, hears beat 1.20 s, less than its own 1.39 s, and stays silent. So nobody relieves us.
    EXPECT_EQ(m.wait_for_deadline(), "advert");
    EXPECT_EQ(m.state.role, Role::master);
}

TEST(BesideUcarp, AMasterUnwellEnoughIsPushedAsideAndStaysAside) {
    auto m = master(1, 0);
    m.demote(150);
    // UCARP with -P and skew 100 now leads; it says demotion 0, as always.
    EXPECT_EQ(m.hear("10.0.0.9", {1, 100, 0}), "advert, master -> backup");
    m.wait(1s);
    EXPECT_EQ(m.hear("10.0.0.9", {1, 100, 0}), "");
    m.demote(0);
    m.wait(1s);
    EXPECT_EQ(m.hear("10.0.0.9", {1, 100, 0}), "advert, backup -> master");
}

TEST(BesideUcarp, WhereTheTwoOrdersDisagreeOneRaceSettlesIt) {
    auto m = master(1, 0);
    m.demote(50);
    // Both are masters after a split. UCARP (skew 100) yields to our shorter beat, we to its lower demotion.
    EXPECT_EQ(m.hear("10.0.0.9", {1, 100, 0}), "advert, master -> backup");
    EXPECT_LT(m.left(), 3s + skew(100)) << "we come first: UCARP waits 3.39 s";
    EXPECT_EQ(m.wait_for_deadline(), "advert, backup -> master");
}

// ---- Rule 15 ----

TEST(Rule15, WhoHasNotAskedIsNotTold) {
    Node n = backup();
    n.us.auth.mode = Auth::Mode::require;
    Heard word{.advert = advert({1, 50}), .source = ip("10.0.0.9"), .sender = 9, .leaving = true};
    n.tell(word);
    EXPECT_FALSE(n.state.asking.empty()) << "it prepares, and has not asked yet";
    word.leaving = false;
    word.go = word.to_us = true;
    n.tell(word);
    EXPECT_EQ(n.state.role, Role::backup) << "that word was for another time";
    n.tell(Prepared{true});
    n.now = n.state.presence_at;
    n.tell(DeadlinePassed{});
    EXPECT_EQ(n.state.last_asked, n.now);
    n.tell(word);
    EXPECT_EQ(n.state.role, Role::master);
}

}  // namespace
}  // namespace koi::carp
