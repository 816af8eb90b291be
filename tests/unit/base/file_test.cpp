#include "supervisor/base/file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace koi {
namespace {

struct File : testing::Test {
    void SetUp() override {
        std::string made = testing::TempDir() + "koi-file-XXXXXX";
        ASSERT_NE(::mkdtemp(made.data()), nullptr);
        folder = made;
        path = folder / "koi.yaml";
    }
    void TearDown() override { std::filesystem::remove_all(folder); }
    void put(const std::string& content, mode_t mode = 0644) {
        std::filesystem::remove(path);  // an old one may be read-only
        std::ofstream(path, std::ios::binary) << content;
        ASSERT_EQ(::chmod(path.c_str(), mode), 0);
    }
    mode_t mode() const {
        struct stat about {};
        EXPECT_EQ(::stat(path.c_str(), &about), 0);
        return about.st_mode & 07777;
    }
    std::filesystem::path folder, path;
};

TEST_F(File, IsReadWhole) {
    const std::string large(100'000, 'k');
    put(large);
    EXPECT_EQ(*read_whole(path), large);
    put(std::string("a\0b", 3));
    EXPECT_EQ(read_whole(path)->size(), 3u);
    put("");
    EXPECT_EQ(*read_whole(path), "");
}

TEST_F(File, WhatCannotBeReadSaysWhy) {
    EXPECT_EQ(read_whole(path).error().story, "opening " + path.string() + ": No such file or directory");
    EXPECT_EQ(read_whole(path).error().code, ENOENT);
    EXPECT_EQ(read_whole(folder).error().story, "reading " + folder.string() + ": it is a directory");
    put("0123456789");
    EXPECT_TRUE(read_whole(path, 10));
    EXPECT_EQ(read_whole(path, 9).error().story, "reading " + path.string() + ": larger than 9 bytes");
}

TEST_F(File, AFifoNobodyWritesToHoldsNobodyUp) {
    ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
    EXPECT_EQ(*read_whole(path), "");
}

TEST_F(File, IsWrittenWholeAndReplacesTheOldOne) {
    put("old");
    ASSERT_TRUE(write_whole(path, "new"));
    EXPECT_EQ(*read_whole(path), "new");
    ASSERT_TRUE(write_whole(path, "quick", 0600, false));
    EXPECT_EQ(*read_whole(path), "quick");
    EXPECT_EQ(mode(), 0600u);
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder), {}), 1) << "nothing is left beside it";
}

TEST_F(File, WhatACrashLeftBesideItNeitherWidensTheModeNorIsFollowed) {
    const auto beside = path.string() + ".new";
    std::ofstream(beside) << "half";
    ASSERT_EQ(::chmod(beside.c_str(), 0666), 0);
    ASSERT_TRUE(write_whole(path, "whole", 0600));
    EXPECT_EQ(mode(), 0600u);
    EXPECT_EQ(*read_whole(path), "whole");

    const auto elsewhere = folder / "elsewhere";
    std::ofstream(elsewhere) << "precious";
    ASSERT_EQ(::symlink(elsewhere.c_str(), beside.c_str()), 0);
    ASSERT_TRUE(write_whole(path, "again"));
    EXPECT_EQ(*read_whole(elsewhere), "precious");
}

TEST_F(File, AWriteThatFailsLeavesTheOldContentAndNothingElse) {
    EXPECT_EQ(write_whole(folder / "no" / "such", "x").error().code, ENOENT);
    std::filesystem::create_directory(path);
    EXPECT_FALSE(write_whole(path, "x")) << "a file cannot replace a directory";
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder), {}), 1);
}

TEST_F(File, TheDirectoriesAreSystemdsOrTheUsualOnes) {
    ::unsetenv("RUNTIME_DIRECTORY");
    EXPECT_EQ(runtime_directory(), "/run/koi");
    ::setenv("RUNTIME_DIRECTORY", "/run/koi-a:/run/koi-b", 1);
    EXPECT_EQ(runtime_directory(), "/run/koi-a");
    ::setenv("RUNTIME_DIRECTORY", "", 1);
    EXPECT_EQ(runtime_directory(), "/run/koi");
    ::unsetenv("RUNTIME_DIRECTORY");
    ::setenv("STATE_DIRECTORY", "/srv/koi", 1);
    EXPECT_EQ(state_directory(), "/srv/koi");
    ::unsetenv("STATE_DIRECTORY");
}

}  // namespace
}  // namespace koi
