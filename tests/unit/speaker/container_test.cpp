#include "supervisor/speaker/container.h"

#include <gtest/gtest.h>
#include <unistd.h>

namespace koi::speaker {
namespace {

const std::string file = "/etc/koi/koi.yaml";

Surroundings good() { return {.missing = {}, .configured = true, .kernel = {.ip_vs = true, .nf_tables = true}}; }

TEST(Container, SaysNothingWhereNothingIsMissing) { EXPECT_EQ(first_words(good(), file), std::nullopt); }

// A kernel that does not say is no reason to frighten anybody.
TEST(Container, SaysNothingOfWhatItDoesNotKnow) {
    auto around = good();
    around.kernel = {};
    EXPECT_EQ(first_words(around, file), std::nullopt);
}

TEST(Container, SaysWhatTheHostsKernelLacksAndGoesOn) {
    auto around = good();
    around.kernel.ip_vs = false;
    const auto words = first_words(around, file);
    ASSERT_TRUE(words);
    EXPECT_EQ(words->end, std::nullopt);
    EXPECT_EQ(words->sentence,
              "the host's kernel lacks ip_vs, so nothing can be forwarded; on the host: modprobe ip_vs");

    around.kernel = {.ip_vs = true, .nf_tables = false};
    EXPECT_EQ(
        first_words(around, file)->sentence,
        "the host's kernel lacks nf_tables, so the addresses of a node that dies answer up to a second too long; "
        "on the host: modprobe nf_tables");

    around.kernel.ip_vs = false;
    EXPECT_EQ(first_words(around, file)->sentence,
              "the host's kernel lacks ip_vs, so nothing can be forwarded, and nf_tables, so the addresses of a node "
              "that dies answer up to a second too long; on the host: modprobe -a ip_vs nf_tables");
}

TEST(Container, EndsWithAdviceWithoutACapability) {
    auto around = good();
    around.missing = {Capability::net_raw, Capability::setuid};
    const auto words = first_words(around, file);
    ASSERT_TRUE(words);
    EXPECT_EQ(words->end, 1);
    EXPECT_EQ(words->sentence,
              "this container lacks CAP_NET_RAW, CAP_SETUID, so koid cannot work; start it with "
              "--cap-add=NET_RAW,SETUID");
}

// One sentence, not three: first the file, as without it nothing else matters yet.
TEST(Container, EndsWith78AndAdviceWithoutAConfiguration) {
    Surroundings around{
        .missing = {Capability::net_raw}, .configured = false, .kernel = {.ip_vs = false, .nf_tables = {}}};
    const auto words = first_words(around, "/etc/koi/other.yaml");
    ASSERT_TRUE(words);
    EXPECT_EQ(words->end, 78);
    EXPECT_NE(words->sentence.find("/etc/koi/other.yaml"), std::string::npos);
    EXPECT_NE(words->sentence.find("-v /etc/koi:/etc/koi:ro"), std::string::npos);
}

TEST(Container, LooksForTheFileItIsTold) {
    EXPECT_TRUE(look_around("/proc/self/status").configured);
    EXPECT_FALSE(look_around("/proc/self/no-such-file").configured);
}

// /proc/net/ip_vs is there exactly where ip_vs is loaded; the question itself may load it, so it comes first.
TEST(Container, KnowsWhetherThisKernelHasIpVs) {
    const auto found = kernel_features().ip_vs;
    if (!found) GTEST_SKIP() << "this kernel does not say";
    EXPECT_EQ(*found, ::access("/proc/net/ip_vs", F_OK) == 0);
}

}  // namespace
}  // namespace koi::speaker
