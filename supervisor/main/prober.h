// supervisor/main/prober.h
//
// Asks some addresses by ping at a steady beat, in a thread of its own, and remembers which questions were answered.
// Needs what ping needs: the right to ICMP sockets (net.ipv4.ping_group_range) or to raw ones.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>
#include <vector>

#include "supervisor/base/address.h"
#include "supervisor/base/fd.h"
#include "supervisor/base/result.h"

namespace koi::control {

class Prober {
public:
    using Clock = std::chrono::steady_clock;
    static constexpr std::chrono::milliseconds beat{2}, patience{200};

    static Result<std::unique_ptr<Prober>> start(const std::vector<IpAddress>&);
    ~Prober();

    struct Darkness {
        std::size_t asked = 0, lost = 0;
        Clock::duration longest{};  // between two answers, where a question in between was lost
    };
    // Of everything asked from `since` to `until`; waits until the last answers can have come. Over all addresses:
    // the sums, and the longest of any.
    Darkness between(Clock::time_point since, Clock::time_point until);

private:
    struct Question {
        Clock::time_point asked;
        std::atomic<Clock::rep> answered{0};  // 0: not (yet)
    };
    struct Target {
        IpAddress address;
        Fd socket;
        bool raw = false;
        // A ring that holds some minutes; written by the thread, read afterwards.
        std::vector<Question> questions = std::vector<Question>(1u << 18);
        std::atomic<std::size_t> count{0};
    };
    Prober() = default;
    void run();
    void ask(Target&);
    void listen(Target&);

    std::vector<std::unique_ptr<Target>> targets_;
    std::atomic<bool> going_{true};
    std::thread thread_;
};

}  // namespace koi::control
