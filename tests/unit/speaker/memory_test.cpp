#include "supervisor/speaker/memory.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <thread>

#include "supervisor/base/file.h"

namespace koi::speaker {
namespace {

const carp::Counter::Kept kept{0xA1B2C3D4E5F60718, 12, 1'767'225'600'000'000};
const HeardLines heard{{*Vhid::of(1), {{5, Family::ipv4, 10}, {5, Family::ipv6, 12}}},
                       {*Vhid::of(255), {{0xFFFFFFFFFFFFFFFF, Family::ipv4, 0xFFFFFFFFFFFFFFFF}}}};

TEST(Memory, WhatIsWrittenIsRead) {
    EXPECT_EQ(read_counter(to_text(kept)), kept);
    EXPECT_EQ(read_heard(to_text(heard)), heard);
    EXPECT_EQ(read_heard(to_text(HeardLines{})), HeardLines{});
}

TEST(Memory, HalfAFileIsNone) {
    const auto counter = to_text(kept), lines = to_text(heard);
    for (std::size_t n = 0; n < counter.size(); ++n) EXPECT_FALSE(read_counter(counter.substr(0, n))) << n;
    for (std::size_t n = 0; n < lines.size(); ++n) EXPECT_FALSE(read_heard(lines.substr(0, n))) << n;
    EXPECT_FALSE(read_counter(counter + "x"));
    EXPECT_FALSE(read_counter("koi counter 1\nsender 0000000000000000\nsession 1\nhigh 1\nend\n"))
        << "nobody is called 0";
    EXPECT_FALSE(read_counter("koi counter 1\nsender 0000000000000001\nsession 1\nhigh 9300000000000000000\nend\n"))
        << "it could not grow much more";
}

TEST(Memory, WhatIsWrittenOtherwiseIsNotOurs) {
    const std::string counter = "koi counter 1\nsender 00000000000000a1\nsession 1\nhigh 5\nend\n";
    const std::string lines = "koi heard 1\n1 0000000000000005 ipv4 10\n2 0000000000000005 ipv4 10\nend\n";
    ASSERT_TRUE(read_counter(counter));
    ASSERT_TRUE(read_heard(lines));
    const auto with = [](std::string text, std::string_view what, std::string_view instead) {
        return text.replace(text.find(what), what.size(), instead);
    };
    EXPECT_FALSE(read_counter(with(counter, "00000000000000a1", "a1")));
    EXPECT_FALSE(read_counter(with(counter, "a1", "A1")));
    EXPECT_FALSE(read_counter(with(counter, "session 1", "session 01")));
    EXPECT_FALSE(read_counter(with(counter, "high 5", "high 5 ")));
    EXPECT_FALSE(read_heard(with(lines, "1 0", "01 0")));
    EXPECT_FALSE(read_heard(with(lines, "10\n", "10 \n")));
    EXPECT_FALSE(read_heard(with(lines, "\n1 ", "\n3 "))) << "out of their order";
}

class MemoryOnDisk : public ::testing::Test {
protected:
    MemoryOnDisk() {
        std::filesystem::remove_all(directory);
        std::filesystem::create_directories(directory);
    }
    ~MemoryOnDisk() override { std::filesystem::remove_all(directory); }
    Memory open(std::uint64_t random = 77) {
        problems.clear();
        return Memory::open(directory, random, [this](const auto& p) { problems += p + "\n"; });
    }
    const std::string directory = ::testing::TempDir() + "koi-memory-" + std::to_string(::getpid());
    std::string problems;
};

TEST_F(MemoryOnDisk, ANewNodeIsNobodyYet) {
    auto m = open();
    EXPECT_EQ(problems, "");
    EXPECT_EQ(m.counter(), (carp::Counter::Kept{77, 0, 0}));
    EXPECT_TRUE(m.heard(*Vhid::of(1)).empty());
    m.finish(5s);
}

// A vhid that a reload takes away and another one brings back goes on where it was.
TEST_F(MemoryOnDisk, WhatIsKeptIsKnownAtOnce) {
    auto m = open();
    m.keep(heard);
    EXPECT_EQ(m.heard(), heard);
    EXPECT_EQ(m.heard(*Vhid::of(1)), heard.at(*Vhid::of(1)));
    m.finish(5s);
}

TEST_F(MemoryOnDisk, TheNextOneRemembers) {
    auto first = open();
    first.keep(carp::Counter::Kept{1, 1, 1});
    first.keep(kept);
    first.keep(heard);
    first.finish(5s);
    EXPECT_EQ(first.trouble(), "");
    auto second = open();
    EXPECT_EQ(problems, "");
    EXPECT_EQ(second.counter(), kept);
    EXPECT_EQ(second.heard(*Vhid::of(1)), heard.at(*Vhid::of(1)));
    second.finish(5s);
}

TEST_F(MemoryOnDisk, WhatMakesNoSenseIsSetAsideAndNamed) {
    ASSERT_TRUE(write_whole(directory + "/counter", "koi counter 1\nsender"));
    ASSERT_TRUE(write_whole(directory + "/heard", "\xff\xfe"));
    auto m = open(78);
    EXPECT_EQ(m.counter(), (carp::Counter::Kept{78, 0, 0})) << "a new identity";
    EXPECT_NE(problems.find(directory + "/counter makes no sense and is kept as " + directory + "/counter.damaged"),
              std::string::npos)
        << problems;
    EXPECT_NE(problems.find(directory + "/heard makes no sense"), std::string::npos);
    const auto of_heard = problems.substr(problems.find(directory + "/heard"));
    EXPECT_EQ(of_heard.find("new sender"), std::string::npos) << "that it is only without its counter: " << problems;
    EXPECT_NE(of_heard.find("a recording of it is known only by its clock"), std::string::npos) << problems;
    EXPECT_TRUE(std::filesystem::exists(directory + "/counter.damaged"));
    m.finish(5s);
}

TEST_F(MemoryOnDisk, ADiskThatTakesNothingIsToldAndHoldsNothingUp) {
    auto m = open();
    std::filesystem::remove_all(directory);
    m.keep(kept);
    m.finish(5s);
    EXPECT_NE(m.trouble().find(directory + "/counter"), std::string::npos) << m.trouble();
}

TEST_F(MemoryOnDisk, AFileThatIsWrittenDoesNotHideOneThatIsNot) {
    std::filesystem::create_directories(directory + "/heard/in the way");
    auto m = open();
    EXPECT_NE(problems.find("/heard"), std::string::npos) << problems;
    m.keep(heard);
    for (int n = 0; n < 500 && m.trouble().empty(); ++n) std::this_thread::sleep_for(10ms);
    m.keep(kept);
    m.finish(5s);
    EXPECT_TRUE(std::filesystem::exists(directory + "/counter"));
    EXPECT_NE(m.trouble().find(directory + "/heard"), std::string::npos) << m.trouble();
}

TEST_F(MemoryOnDisk, WhatCouldBeWrittenAtLastIsNoTrouble) {
    std::filesystem::create_directories(directory + "/heard/in the way");
    auto m = open();
    m.keep(heard);
    for (int n = 0; n < 500 && m.trouble().empty(); ++n) std::this_thread::sleep_for(10ms);
    EXPECT_NE(m.trouble(), "");
    std::filesystem::remove_all(directory + "/heard");
    m.keep(heard);
    m.finish(5s);
    EXPECT_EQ(m.trouble(), "");
}

}  // namespace
}  // namespace koi::speaker
