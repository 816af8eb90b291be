#include "supervisor/base/ownership.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace koi {
namespace {

struct Ownership : testing::Test {
    Ownership() {
        char name[] = "/tmp/koi-owner-XXXXXX";
        folder = ::mkdtemp(name);
        file = folder + "/counter";
        std::ofstream(file) << "x";
    }
    ~Ownership() override { std::filesystem::remove_all(folder); }
    std::string folder, file;
};

TEST_F(Ownership, AnothersFileIsNamedWithItsOwnerAndTheRemedy) {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root to give a file away";
    ASSERT_EQ(::chown(file.c_str(), 65534, 65534), 0);
    EXPECT_EQ(told_with_owner({"opening it: Permission denied", EACCES}, file).story,
              "opening it: Permission denied; " + file +
                  " belongs to nobody and koid runs as root now, run: chown -R root: " + folder);
}

TEST_F(Ownership, AFileThatCannotBeMadeIsAboutItsFolder) {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root to give a folder away";
    ASSERT_EQ(::chown(folder.c_str(), 65534, 65534), 0);
    EXPECT_EQ(told_with_owner({"creating it: Permission denied", EACCES}, folder + "/heard").story,
              "creating it: Permission denied; " + folder +
                  " belongs to nobody and koid runs as root now, run: chown -R root: " + folder);
}

TEST_F(Ownership, WhatIsOursOrFailsOtherwiseIsToldAsItIs) {
    EXPECT_EQ(told_with_owner({"no", EACCES}, file).story, "no");
    EXPECT_EQ(told_with_owner({"no", EIO}, "/nowhere/at/all").story, "no");
}

}  // namespace
}  // namespace koi
