#include "supervisor/base/result.h"

#include <gtest/gtest.h>

#include <memory>

namespace koi {
namespace {

TEST(Result, IsAValueOrTheStoryOfWhyThereIsNone) {
    const Result<int> seven = 7;
    ASSERT_TRUE(seven);
    EXPECT_EQ(*seven, 7);
    const Result<int> none = Error{"no number today", ENOENT};
    ASSERT_FALSE(none);
    EXPECT_EQ(none.error().story, "no number today");
    EXPECT_EQ(none.error().code, ENOENT);
}

TEST(Result, EachLayerAddsWhatItWasDoing) {
    const Error cause = from_errno("opening /etc/koi/koi.yaml", ENOENT);
    const Error told = during("reading the configuration", cause);
    EXPECT_EQ(told.story, "reading the configuration: opening /etc/koi/koi.yaml: No such file or directory");
    EXPECT_EQ(told.code, ENOENT) << "the number survives";
}

TEST(Result, HoldsWhatCanOnlyBeMoved) {
    Result<std::unique_ptr<int>> made = std::make_unique<int>(3);
    ASSERT_TRUE(made);
    EXPECT_EQ(**made, 3);
    const auto taken = std::move(*made);
    EXPECT_EQ(*taken, 3);
}

TEST(Result, AResultThatIsFalseIsStillAResult) {
    const Result<bool> no = false;
    EXPECT_TRUE(no.has_value());
    EXPECT_FALSE(*no);
}

TEST(Result, AnOutcomeNeedsNoValue) {
    const Outcome fine = Done{};
    const Outcome wrong = Error{"the interface is down"};
    EXPECT_TRUE(fine);
    EXPECT_FALSE(wrong);
    EXPECT_EQ(wrong.error().code, 0);
}

}  // namespace
}  // namespace koi
