#include "supervisor/config/suggest.h"

#include <gtest/gtest.h>

namespace koi::config {
namespace {

const std::vector<std::string_view> keys{
    "scheduler", "scheduler_flags", "sorry_server", "forward", "pool", "at", "nat", "tcp"};

TEST(Proposals, FindWhatWasMeant) {
    EXPECT_EQ(nearest("shceduler", keys), "scheduler");
    EXPECT_EQ(nearest("Scheduler", keys), "scheduler");
    EXPECT_EQ(nearest("scheduler-flags", keys), "scheduler_flags");
    EXPECT_EQ(nearest("foward", keys), "forward");
    EXPECT_EQ(nearest("pol", keys), "pool");
    EXPECT_EQ(nearest("NAT", keys), "nat");
}

TEST(Proposals, AreNotMadeAtAnyPrice) {
    EXPECT_EQ(nearest("http", keys), "");
    EXPECT_EQ(nearest("", keys), "");
    EXPECT_EQ(nearest("colour", keys), "");
    EXPECT_EQ(nearest(std::string(1'000'000, 's'), keys), "");
    EXPECT_EQ(did_you_mean("colour", keys), "");
    EXPECT_EQ(did_you_mean("pools", keys), "; did you mean \"pool\"?");
}

TEST(Proposals, PreferTheSameFirstLetter) { EXPECT_EQ(nearest("wr", {"rr", "wrr"}), "wrr"); }

TEST(Distance, CountsInsertionsRemovalsExchangesAndSwaps) {
    EXPECT_EQ(distance("web", "web", 9), 0u);
    EXPECT_EQ(distance("web", "wbe", 9), 1u);
    EXPECT_EQ(distance("web", "wb", 9), 1u);
    EXPECT_EQ(distance("web", "webs", 9), 1u);
    EXPECT_EQ(distance("web", "wab", 9), 1u);
    EXPECT_EQ(distance("", "web", 9), 3u);
    EXPECT_EQ(distance("web", "something", 2), 2u) << "no more is counted than asked for";
}

}  // namespace
}  // namespace koi::config
