#include "ipvs/second_try.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ipvs/refusal.h"
#include "tests/unit/ipvs/any_table.h"

namespace koi::ipvs {

namespace {

const ServiceKey web = tcp("192.0.2.10", 80), dns = udp("192.0.2.10", 53);
const BackendKey seven = at("10.0.0.7", 80);

// A kernel that answers the first try as told, and takes (or refuses) the second.
struct Told {
    std::vector<Failure> first;
    std::vector<Failure> second{};
    std::vector<std::vector<std::string>> tries{};

    std::vector<std::string> refused(const std::vector<Change>& changes) {
        const auto result =
            with_second_try(changes, [this](const std::vector<Change>& tried) -> Result<std::vector<Failure>> {
                std::vector<std::string> words;
                for (const auto& change : tried) words.push_back(text(change));
                tries.push_back(words);
                return tries.size() == 1 ? first : second;
            });
        std::vector<std::string> stories;
        for (const auto& [change, error] : *result) stories.push_back(error.story);
        return stories;
    }
};

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

}  // namespace

TEST(SecondTry, WhatWorksIsTriedOnce) {
    Told kernel{.first = {}};
    EXPECT_THAT(kernel.refused({AddService{web, {}}}), IsEmpty());
    EXPECT_EQ(kernel.tries.size(), 1u);
}

TEST(SecondTry, RemovalsOfTheGoneAreDone) {
    Told kernel{.first = {{0, ESRCH}, {1, ENOENT}, {2, ESRCH}}};
    EXPECT_THAT(kernel.refused({RemoveService{dns}, RemoveBackend{web, seven}, RemoveBackend{dns, seven}}),
                IsEmpty());
    EXPECT_EQ(kernel.tries.size(), 1u);
}

TEST(SecondTry, AServiceThatVanishedReturnsWithTheBackendsWeMeant) {
    Told kernel{.first = {{0, ESRCH}, {1, ESRCH}, {2, ESRCH}, {3, ESRCH}}};
    EXPECT_THAT(kernel.refused({EditService{web, {.scheduler = "rr"}}, AddBackend{web, seven, {}},
                                EditBackend{web, at("10.0.0.8", 80), {}}, RemoveBackend{web, at("10.0.0.9", 80)}}),
                IsEmpty());
    EXPECT_THAT(kernel.tries.at(1), ElementsAre("add service 192.0.2.10:80/tcp (rr)",
                                                "add backend 10.0.0.7:80 to 192.0.2.10:80/tcp (nat, weight 1)",
                                                "add backend 10.0.0.8:80 to 192.0.2.10:80/tcp (nat, weight 1)"));
}

TEST(SecondTry, TheLastWordStaysTheLast) {
    Told kernel{.first = {{0, EEXIST}}};
    EXPECT_THAT(kernel.refused({AddBackend{web, seven, {.weight = 5}}, EditBackend{web, seven, {.weight = 0}}}),
                IsEmpty());
    EXPECT_THAT(kernel.tries.at(1), ElementsAre("edit backend 10.0.0.7:80 of 192.0.2.10:80/tcp (nat, weight 5)",
                                                "edit backend 10.0.0.7:80 of 192.0.2.10:80/tcp (nat, weight 0)"));
}

TEST(SecondTry, NothingIsTriedAThirdTime) {
    Told kernel{.first = {{0, EEXIST}}, .second = {{0, ESRCH}}};
    EXPECT_THAT(kernel.refused({AddService{web, {}}}),
                ElementsAre("add service 192.0.2.10:80/tcp (wrr): there is no such service (any more)"));
    EXPECT_EQ(kernel.tries.size(), 2u);
}

TEST(SecondTry, ABackendOfAServiceThatNobodyBringsBackIsRefused) {
    Told kernel{.first = {{0, ESRCH}}};
    EXPECT_THAT(kernel.refused({EditBackend{web, seven, {}}}), ElementsAre(HasSubstr("there is no such service")));
}

TEST(SecondTry, AKernelThatDoesNotAnswerIsAnError) {
    const auto result = with_second_try(
        {AddService{web, {}}},
        [](const std::vector<Change>&) -> Result<std::vector<Failure>> { return refusal(ETIMEDOUT); });
    EXPECT_EQ(result.error().story, "the kernel did not answer within 2 s");
}

TEST(Refusal, EveryReasonIsASentenceWithARemedy) {
    const auto told = [](const Change& change, int code) { return refusal(change, code).story; };
    EXPECT_EQ(told(AddService{web, {.scheduler = "twos"}}, ENOENT),
              "add service 192.0.2.10:80/tcp (twos): the kernel has no scheduler called twos; load it with: modprobe "
              "ip_vs_twos");
    EXPECT_THAT(told(AddService{web, {.persistence = 9, .persistence_engine = "sip"}}, ENOENT),
                HasSubstr("modprobe ip_vs_wrr ip_vs_pe_sip"));
    EXPECT_THAT(told(AddService{web, {}}, EPERM), HasSubstr("CAP_NET_ADMIN in the initial user namespace"));
    EXPECT_THAT(told(AddBackend{web, seven, {}}, EINVAL), HasSubstr("ip link set lo up"));
    EXPECT_THAT(told(AddBackend{web, at("224.0.0.1", 80), {}}, EINVAL),
                HasSubstr("224.0.0.1 is no address a backend can have"));
    EXPECT_THAT(told(AddBackend{web, at("fd00::1", 80), {}}, EINVAL), HasSubstr("which only tun can bridge"));
    EXPECT_THAT(told(AddBackend{web, at("fd00::1", 80), {.forward = Forward::tun}}, EINVAL),
                HasSubstr("sync daemon"));
    EXPECT_THAT(told(AddBackend{web, seven, {.forward = Forward::tun, .tunnel = Tunnel::gue}}, EINVAL),
                HasSubstr("gue needs a tunnel port"));
    EXPECT_THAT(told(AddBackend{web, seven, {.upper_threshold = 1, .lower_threshold = 2}}, ERANGE),
                HasSubstr("lower threshold (2) is above"));
    EXPECT_THAT(told(AddBackend{web, seven, {.weight = 0x80000000}}, ERANGE), HasSubstr("limit of 2147483647"));
    EXPECT_THAT(refusal(ENODEV).story, HasSubstr("modprobe ip_vs"));
}

}  // namespace koi::ipvs
