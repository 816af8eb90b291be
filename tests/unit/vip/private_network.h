// tests/unit/vip/private_network.h
//
// A network namespace for one test: nothing here can reach the machine's own interfaces. enter() moves the calling
// thread into it; sockets stay in the namespace in which they were opened. Needs root and ip(8).
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <optional>
#include <string>

#include "supervisor/base/fd.h"

namespace koi::vip {

inline Fd current_network() { return Fd(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)); }

class Network {
public:
    // A new one, and the caller is in it. nullopt: not allowed.
    static std::optional<Network> make() {
        if (::unshare(CLONE_NEWNET) != 0) return std::nullopt;
        return Network(current_network());
    }
    void enter() const { ASSERT_EQ(::setns(fd_.get(), CLONE_NEWNET), 0); }
    // As ip(8) takes it: ip link set x netns PATH.
    std::string path() const { return "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(fd_.get()); }

private:
    explicit Network(Fd fd) : fd_(std::move(fd)) {}
    Fd fd_;
};

// Runs commands in the namespace of the caller; gives what they print.
inline std::string sh(const std::string& commands) {
    std::string out;
    FILE* pipe = ::popen(("set -e; exec 2>&1; " + commands).c_str(), "r");
    if (!pipe) return "no shell";
    std::array<char, 512> chunk;
    while (std::fgets(chunk.data(), chunk.size(), pipe)) out += chunk.data();
    EXPECT_EQ(::pclose(pipe), 0) << commands << "\n" << out;
    return out;
}

// A test in a namespace of its own, with its loopback up. Skips, saying why, where that is not allowed.
struct PrivateNetwork : testing::Test {
    void SetUp() override {
        outside = current_network();
        network = Network::make();
        if (!network) GTEST_SKIP() << "needs root: no network namespace of our own can be made";
        sh("ip link set lo up");
    }
    void TearDown() override {
        if (!network) return;
        ASSERT_EQ(::setns(outside.get(), CLONE_NEWNET), 0);
    }
    Fd outside;
    std::optional<Network> network;
};

}  // namespace koi::vip
