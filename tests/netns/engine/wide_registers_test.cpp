// wide_registers.c between this program and the C library, as it is between User Mode Linux and the C library. A wide
// register file is one that is longer than what the caller keeps: here the caller keeps 576 bytes, so any processor
// with AVX has one.
#include <elf.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <vector>

#include "gtest/gtest.h"

namespace {

constexpr std::size_t xmm0 = 160, which_parts = 512,
                      kept = 576;  // of the XSAVE area; the upper halves begin after `kept`

long minus_one = -1;

class WideRegisters : public testing::Test {
protected:
    void SetUp() override {
        child_ = ::fork();
        ASSERT_GE(child_, 0);
        if (child_ == 0) {
            ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
            ::raise(SIGSTOP);
            ::_exit(0);
        }
        int status = 0;
        ASSERT_EQ(::waitpid(child_, &status, 0), child_);
        ASSERT_TRUE(WIFSTOPPED(status));

        // The child's registers are told apart by their place: byte n is n.
        std::vector<unsigned char> area = read();
        ASSERT_GT(area.size(), kept) << "this processor has no register beyond SSE";
        for (std::size_t n = xmm0; n < xmm0 + 16; ++n) area[n] = static_cast<unsigned char>(n);
        for (std::size_t n = kept; n < kept + 16; ++n) area[n] = static_cast<unsigned char>(n);
        area[which_parts] |= 7;  // x87, SSE and the upper halves are in use
        ASSERT_EQ(write(area), 0) << std::strerror(errno);
    }
    void TearDown() override {
        ::kill(child_, SIGKILL);
        ::waitpid(child_, nullptr, 0);
    }

    static void* kind() { return reinterpret_cast<void*>(static_cast<std::uintptr_t>(NT_X86_XSTATE)); }
    std::vector<unsigned char> read() const {
        std::vector<unsigned char> area(65536);
        iovec whole{area.data(), area.size()};
        EXPECT_EQ(::ptrace(PTRACE_GETREGSET, child_, kind(), &whole), 0) << std::strerror(errno);
        area.resize(whole.iov_len);
        return area;
    }
    long write(std::vector<unsigned char>& area) const {
        iovec given{area.data(), area.size()};
        return ::ptrace(PTRACE_SETREGSET, child_, kind(), &given);
    }

    pid_t child_ = -1;
};

TEST_F(WideRegisters, TheKernelAloneRefusesAShortArea) {
    std::vector<unsigned char> area = read();
    iovec given{area.data(), kept};
    EXPECT_EQ(::syscall(SYS_ptrace, PTRACE_SETREGSET, child_, kind(), &given), -1);
    EXPECT_EQ(errno, EFAULT);
}

TEST_F(WideRegisters, AShortAreaIsLaidOverTheBeginning) {
    const std::vector<unsigned char> before = read();
    for (unsigned char round = 1; round <= 3; ++round) {  // the first call learns the size, the others know it
        std::vector<unsigned char> area(before.begin(), before.begin() + kept);
        std::fill_n(area.begin() + xmm0, 16, round);
        ASSERT_EQ(write(area), 0) << std::strerror(errno);

        std::vector<unsigned char> expected = before;
        std::fill_n(expected.begin() + xmm0, 16, round);
        EXPECT_EQ(read(), expected);
    }
}

TEST_F(WideRegisters, AWholeAreaAndALongerOneAreWrittenAsTheyAre) {
    std::vector<unsigned char> area = read();
    const std::size_t size = area.size();
    area[kept] = 99;
    ASSERT_EQ(write(area), 0) << std::strerror(errno);
    EXPECT_EQ(read(), area);

    area.resize(size + 512);  // what a program has on a processor with fewer registers than it knows
    area[kept] = 100;
    ASSERT_EQ(write(area), 0) << std::strerror(errno);
    area.resize(size);
    EXPECT_EQ(read(), area);
}

TEST_F(WideRegisters, WhatIsPeekedMayBeMinusOne) {
    errno = 77;
    EXPECT_EQ(::ptrace(PTRACE_PEEKDATA, child_, &minus_one, nullptr), -1);
    EXPECT_EQ(errno, 0);
    EXPECT_EQ(::ptrace(PTRACE_PEEKDATA, child_, nullptr, nullptr), -1);
    EXPECT_EQ(errno, EIO);
}

}  // namespace
