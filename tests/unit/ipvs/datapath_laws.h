// What every engine must do, told once. memory_datapath_test.cpp holds the engine in memory to it, and
// tests/netns/ipvs_kernel_laws.cpp the kernel's ip_vs.
//
// An Engine is made fresh and empty for each test. It has
//     Datapath& path();
//     void somebody_else(const std::vector<Change>&);    // another writer
//     static constexpr unsigned seeds;                   // how many tables to try
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "ipvs/datapath.h"
#include "tests/unit/ipvs/any_table.h"

namespace koi::ipvs {

inline void PrintTo(const ServiceEntry& e, std::ostream* out) {
    *out << text(e.service) << " with " << e.backends.size() << " backends";
}

inline bool has_a_mark_twice(const Table& table) {
    for (std::uint32_t mark = 1; mark <= 3; ++mark)
        if (table.contains(Fwmark{mark, Family::ipv4}) && table.contains(Fwmark{mark, Family::ipv6})) return true;
    return false;
}

template <class Engine>
class DatapathLaws : public testing::Test {
protected:
    Engine engine;
    const ServiceKey web = tcp("192.0.2.1", 80);

    Table now() {
        auto table = engine.path().read();
        if (!table) ADD_FAILURE() << table.error().story;
        return table ? *table : Table{};
    }
    std::vector<Refused> ask(const std::vector<Change>& changes) {
        auto refused = engine.path().change(changes);
        if (!refused) ADD_FAILURE() << refused.error().story;
        return refused ? *refused : std::vector<Refused>{};
    }
    void done(const std::vector<Change>& changes) {
        for (const auto& [change, error] : ask(changes)) ADD_FAILURE() << error.story;
    }
    void converge(const Table& desired) { done(diff(now(), desired)); }

    // How the one change is refused; 0 if it is not.
    int code_of(const Change& change) {
        const auto refused = ask({change});
        if (refused.empty()) return 0;
        EXPECT_FALSE(refused[0].error.story.empty());
        return refused[0].error.code;
    }
};

TYPED_TEST_SUITE_P(DatapathLaws);

TYPED_TEST_P(DatapathLaws, AFreshEngineHasNothing) { EXPECT_TRUE(this->now().empty()); }

TYPED_TEST_P(DatapathLaws, FromAnyTableToAnyTableInOneGo) {
    for (unsigned seed = 0; seed < TypeParam::seeds; ++seed) {
        std::mt19937 dice(seed);
        const Table desired = any_table(dice);
        const auto steps = diff(this->now(), desired);
        const auto promised = after(this->now(), steps);
        this->done(steps);
        ASSERT_EQ(print(this->now()), print(desired)) << "seed " << seed;
        ASSERT_EQ(this->now(), desired) << "seed " << seed;
        ASSERT_EQ(promised, desired) << "seed " << seed;
        ASSERT_TRUE(diff(this->now(), desired).empty()) << "seed " << seed;
        if (!has_a_mark_twice(desired)) {  // the cheap look may doubt that
            ASSERT_TRUE(this->engine.path().looks_like(desired)) << "seed " << seed << "\n" << print(desired);
        }
    }
}

TYPED_TEST_P(DatapathLaws, AThousandServicesOfTenBackendsArriveCompletely) {
    const auto desired = large_table(1000, 10);
    this->converge(desired);
    EXPECT_EQ(this->now(), desired);
    EXPECT_TRUE(diff(this->now(), desired).empty());
    EXPECT_TRUE(this->engine.path().looks_like(desired));
    this->converge({});
    EXPECT_TRUE(this->now().empty());
}

TYPED_TEST_P(DatapathLaws, ServicesOfOthersAreReadAsWell) {
    this->engine.somebody_else({AddService{this->web, {}}, AddBackend{this->web, at("10.0.0.7", 80), {.weight = 9}}});
    EXPECT_EQ(this->now(), (Table{{this->web, {{}, {{at("10.0.0.7", 80), {.weight = 9}}}}}}));
}

TYPED_TEST_P(DatapathLaws, AddingWhatIsThereEditsIt) {
    this->engine.somebody_else({AddService{this->web, {}}, AddBackend{this->web, at("10.0.0.7", 80), {.weight = 9}}});
    const Table desired{{this->web, {{.scheduler = "rr"}, {{at("10.0.0.7", 80), {.weight = 1}}}}}};
    this->done(diff({}, desired));
    EXPECT_EQ(this->now(), desired);
}

TYPED_TEST_P(DatapathLaws, EditingWhatIsGoneAddsIt) {
    const Table known{{this->web, {{.scheduler = "rr"}, {{at("10.0.0.7", 80), {.weight = 1}}}}}};
    const Table desired{{this->web, {{.scheduler = "wlc"}, {{at("10.0.0.7", 80), {.weight = 2}}}}}};
    this->done(diff(known, desired));
    EXPECT_EQ(this->now(), desired);
}

TYPED_TEST_P(DatapathLaws, RemovingWhatIsGoneIsDone) {
    this->done({RemoveService{this->web}});
    this->done({RemoveBackend{this->web, at("10.0.0.7", 80)}});
    this->done({AddService{this->web, {}}, RemoveBackend{this->web, at("10.0.0.7", 80)}});
}

TYPED_TEST_P(DatapathLaws, ADrainedBackendStaysDrainedWhereOthersAddedIt) {
    // mh: it arrives with its nominal weight and is drained in the next step; both must survive a second try.
    const Table desired{
        {this->web, {{.scheduler = "mh"}, {{at("10.0.0.7", 80), {.weight = 0, .nominal_weight = 5}}}}}};
    this->engine.somebody_else(
        {AddService{this->web, {.scheduler = "mh"}}, AddBackend{this->web, at("10.0.0.7", 80), {}}});
    this->done(diff({}, desired));
    EXPECT_EQ(this->now(), desired);
}

TYPED_TEST_P(DatapathLaws, AnEditKeepsTheTunnel) {
    const Backend gue{.forward = Forward::tun, .tunnel = Tunnel::gue, .tunnel_port = 6080};
    Table desired{{this->web, {{}, {{at("10.0.0.7", 80), gue}}}}};
    this->converge(desired);
    desired.at(this->web).backends.at(at("10.0.0.7", 80)).weight = 5;
    this->converge(desired);
    EXPECT_EQ(print(this->now()), "192.0.2.1:80/tcp  wrr\n    10.0.0.7:80  tun gue port 6080, weight 5\n");
}

TYPED_TEST_P(DatapathLaws, ARefusalDoesNotStopTheRest) {
    const ServiceKey other = tcp("192.0.2.2", 80), third = tcp("192.0.2.3", 80);
    const auto refused = this->ask({AddService{this->web, {}}, AddService{other, {.scheduler = "zzz"}},
                                    AddBackend{other, at("10.0.0.7", 80), {}}, AddService{third, {}}});
    ASSERT_EQ(refused.size(), 2u);
    EXPECT_EQ(refused[0].error.code, ENOENT);
    EXPECT_THAT(refused[0].error.story, testing::HasSubstr("the kernel has no scheduler called zzz"));
    EXPECT_EQ(refused[1].error.code, ESRCH);
    EXPECT_EQ(this->now(), (Table{{this->web, {}}, {third, {}}}));
}

TYPED_TEST_P(DatapathLaws, EachRefusalNamesItsChangeInALongList) {
    std::vector<Change> changes{AddService{this->web, {}}};
    std::set<std::string> wrong, right;
    for (unsigned n = 0; n < 700; ++n) {
        const auto key = at("10.0." + std::to_string(n / 250) + "." + std::to_string(n % 250 + 1), 80);
        const bool is_wrong = n % 50 == 7;
        changes.push_back(AddBackend{this->web, key, {.weight = is_wrong ? 0x80000000u : 1u}});
        (is_wrong ? wrong : right).insert(text(key));
    }
    std::set<std::string> refused, present;
    for (const auto& [change, error] : this->ask(changes)) {
        EXPECT_EQ(error.code, ERANGE);
        refused.insert(text(std::get<AddBackend>(change).backend));
    }
    const auto table = this->now();
    for (const auto& [key, value] : table.at(this->web).backends) present.insert(text(key));
    EXPECT_EQ(refused, wrong);
    EXPECT_EQ(present, right);
}

TYPED_TEST_P(DatapathLaws, WhatTheKernelRefuses) {
    const ServiceKey six = tcp("2001:db8::1", 80);
    this->done({AddService{this->web, {}}, AddService{six, {}}});
    const auto backend = [this](std::string_view address, Backend b) {
        return this->code_of(AddBackend{this->web, at(address, 80), b});
    };
    EXPECT_EQ(backend("10.0.0.1", {.weight = 0x7FFFFFFF}), 0);
    EXPECT_EQ(backend("10.0.0.2", {.weight = 0x80000000}), ERANGE);
    EXPECT_EQ(backend("10.0.0.2", {.upper_threshold = 5, .lower_threshold = 6}), ERANGE);
    EXPECT_EQ(backend("10.0.0.2", {.lower_threshold = 6}), ERANGE);
    EXPECT_EQ(backend("224.0.0.1", {}), EINVAL);
    EXPECT_EQ(backend("0.0.0.0", {}), EINVAL);
    EXPECT_EQ(backend("255.255.255.255", {}), EINVAL);
    EXPECT_EQ(backend("fd00::1", {}), EINVAL);
    EXPECT_EQ(backend("fd00::1", {.forward = Forward::dr}), EINVAL);
    EXPECT_EQ(backend("fd00::1", {.forward = Forward::tun}), 0);
    EXPECT_EQ(backend("10.0.0.3", {.forward = Forward::tun, .tunnel = Tunnel::gue}), EINVAL);
    EXPECT_EQ(this->code_of(AddBackend{six, at("fe80::1", 80), {}}), EINVAL);
    EXPECT_EQ(this->code_of(AddBackend{six, at("ff02::1", 80), {}}), EINVAL);
    EXPECT_EQ(this->code_of(AddBackend{six, at("::", 80), {}}), EINVAL);
    EXPECT_EQ(this->code_of(AddBackend{six, at("::1", 80), {}}), 0);
    EXPECT_EQ(this->code_of(AddBackend{tcp("192.0.2.9", 80), at("10.0.0.1", 80), {}}), ESRCH);
    EXPECT_EQ(this->code_of(AddService{tcp("192.0.2.9", 80), {.persistence = 9, .persistence_engine = "zzz"}}),
              ENOENT);
    EXPECT_EQ(this->code_of(EditService{this->web, {.scheduler = "zzz"}}), ENOENT);
    EXPECT_EQ(this->code_of(EditService{six, {.persistence = 9, .granularity = 128}}), 0);
    EXPECT_EQ(this->code_of(EditService{six, {.persistence = 9, .granularity = 129}}), EINVAL);
}

TYPED_TEST_P(DatapathLaws, WhatTheKernelLetsPass) {
    // Not useful, but accepted: the configuration says no, the engines do not.
    EXPECT_EQ(this->code_of(AddService{this->web, {.one_packet = true}}), 0);
    EXPECT_EQ(this->code_of(AddService{tcp("192.0.2.1", 0), {}}), 0);
    EXPECT_EQ(this->code_of(AddService{Place{static_cast<Protocol>(50), ip("192.0.2.1"), 0}, {}}), 0);
    EXPECT_EQ(this->code_of(AddBackend{this->web, at("10.0.0.1", 80), {.forward = Forward::local}}), 0);
    EXPECT_EQ(this->code_of(AddBackend{this->web, at("10.0.0.2", 80), {.forward = Forward::bypass}}), 0);
    EXPECT_EQ(print(this->now()),
              "192.0.2.1:0/tcp  wrr\n"
              "192.0.2.1:80/tcp  wrr, one-packet\n"
              "    10.0.0.1:80  local, weight 1\n"
              "    10.0.0.2:80  bypass, weight 1\n"
              "192.0.2.1:0/protocol-50  wrr\n");
    EXPECT_TRUE(this->engine.path().looks_like(this->now()));
}

TYPED_TEST_P(DatapathLaws, TheCheapLookSeesWhatOthersDid) {
    Table table{{this->web, {{.scheduler = "wlc", .persistence = 60}, {{at("10.0.0.7", 80), {}}}}}};
    this->converge(table);
    auto& path = this->engine.path();
    EXPECT_TRUE(path.looks_like(table));
    const auto notices = [&](const Change& theirs, const Change& undo) {
        this->engine.somebody_else({theirs});
        EXPECT_FALSE(path.looks_like(table)) << text(theirs);
        this->engine.somebody_else({undo});
        EXPECT_TRUE(path.looks_like(table)) << text(undo);
    };
    const auto seven = at("10.0.0.7", 80), eight = at("10.0.0.8", 80);
    const ServiceKey other = udp("192.0.2.1", 53);
    notices(EditBackend{this->web, seven, {.weight = 2}}, EditBackend{this->web, seven, {}});
    notices(EditBackend{this->web, seven, {.forward = Forward::dr}}, EditBackend{this->web, seven, {}});
    notices(AddBackend{this->web, eight, {}}, RemoveBackend{this->web, eight});
    notices(RemoveBackend{this->web, seven}, AddBackend{this->web, seven, {}});
    notices(AddService{other, {}}, RemoveService{other});
    notices(EditService{this->web, {.scheduler = "rr", .persistence = 60}},
            EditService{this->web, table.at(this->web).service});
    notices(EditService{this->web, {.scheduler = "wlc"}}, EditService{this->web, table.at(this->web).service});
    notices(EditService{this->web, {.scheduler = "wlc", .persistence = 61}},
            EditService{this->web, table.at(this->web).service});
}

TYPED_TEST_P(DatapathLaws, CountersNameTheSameEntriesAsTheTable) {
    std::mt19937 dice(7);
    const auto table = any_table(dice);
    this->converge(table);
    const auto counters = this->engine.path().counters();
    ASSERT_TRUE(counters) << counters.error().story;
    ASSERT_EQ(counters->size(), table.size());
    for (const auto& [key, entry] : table) {
        ASSERT_TRUE(counters->contains(key)) << text(key);
        ASSERT_EQ(counters->at(key).backends.size(), entry.backends.size()) << text(key);
        for (const auto& [backend, value] : entry.backends) EXPECT_TRUE(counters->at(key).backends.contains(backend));
        EXPECT_EQ(counters->at(key).traffic.connections, 0u);
    }
}

REGISTER_TYPED_TEST_SUITE_P(DatapathLaws, AFreshEngineHasNothing, FromAnyTableToAnyTableInOneGo,
                            AThousandServicesOfTenBackendsArriveCompletely, ServicesOfOthersAreReadAsWell,
                            AddingWhatIsThereEditsIt, EditingWhatIsGoneAddsIt, RemovingWhatIsGoneIsDone,
                            ADrainedBackendStaysDrainedWhereOthersAddedIt, AnEditKeepsTheTunnel,
                            ARefusalDoesNotStopTheRest, EachRefusalNamesItsChangeInALongList, WhatTheKernelRefuses,
                            WhatTheKernelLetsPass, TheCheapLookSeesWhatOthersDid,
                            CountersNameTheSameEntriesAsTheTable);

}  // namespace koi::ipvs
