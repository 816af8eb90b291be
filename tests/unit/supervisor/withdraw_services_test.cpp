#include "supervisor/withdraw_services.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "ipvs/memory/memory_datapath.h"
#include "supervisor/owned.h"

namespace koi {
namespace {

struct Folder {
    std::string path = [] {
        char name[] = "/tmp/koi-withdraw-XXXXXX";
        return std::string(::mkdtemp(name));
    }();
    ~Folder() { std::filesystem::remove_all(path); }
    bool has_record() const { return std::filesystem::exists(path + "/owned.json"); }
};

ipvs::ServiceKey at(const char* address, std::uint16_t port) {
    return ipvs::Place{Protocol::tcp, *IpAddress::parse(address), port};
}

const ipvs::ServiceKey ours = at("192.0.2.10", 80), ours6 = at("2001:db8::10", 80), foreign = at("198.51.100.7", 443);

ipvs::Table table_with(const std::set<ipvs::ServiceKey>& services) {
    ipvs::Table table;
    for (const auto& one : services) table[one];
    return table;
}

TEST(WithdrawServices, TakesWhatTheRecordNamesAndNothingElse) {
    const Folder folder;
    ASSERT_TRUE(write_owned(folder.path, {ours, ours6, at("192.0.2.10", 81)}));  // the last one is gone already
    ipvs::MemoryDatapath kernel(table_with({ours, ours6, foreign}));
    const auto gone = withdraw_services(folder.path, kernel);
    ASSERT_TRUE(gone) << gone.error().story;
    EXPECT_EQ(gone->size(), 2u);
    EXPECT_THAT(kernel.table(), testing::ElementsAre(testing::Key(foreign)));
    EXPECT_FALSE(folder.has_record()) << "a record that root wrote could not be read by the next koid";
}

TEST(WithdrawServices, WhatCannotBeRemovedStaysInTheRecord) {
    const Folder folder;
    ASSERT_TRUE(write_owned(folder.path, {ours}));
    ipvs::MemoryDatapath kernel(table_with({ours}));
    kernel.broken = Error{"the kernel does not answer"};
    const auto gone = withdraw_services(folder.path, kernel);
    ASSERT_FALSE(gone);
    EXPECT_THAT(gone.error().story, testing::HasSubstr("letting go of virtual servers: the kernel does not answer"));
    EXPECT_TRUE(folder.has_record());
}

TEST(WithdrawServices, WithoutARecordTheKernelIsNotEvenAsked) {
    const Folder folder;
    const auto gone = withdraw_services(folder.path);  // the running kernel may have no ip_vs
    ASSERT_TRUE(gone) << gone.error().story;
    EXPECT_TRUE(gone->empty());
}

TEST(WithdrawServices, ARecordThatMakesNoSenseIsSaid) {
    const Folder folder;
    std::ofstream(folder.path + "/owned.json") << "{";
    const auto gone = withdraw_services(folder.path);
    ASSERT_FALSE(gone);
    EXPECT_THAT(gone.error().story, testing::HasSubstr("owned.json.bad"));
}

}  // namespace
}  // namespace koi
