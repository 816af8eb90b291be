// supervisor/speaker/worker_process.h
//
// The worker as the speaker sees it: started, listened to, started again when it dies or falls silent. The speaker
// goes on meanwhile. A worker that finds its configuration unusable at the first start (exit 78) is not started
// again: koid ends with the same code.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "supervisor/base/channel.h"
#include "supervisor/base/loop.h"
#include "supervisor/base/restart_policy.h"
#include "supervisor/link/messages.h"

namespace koi::speaker {

class WorkerProcess {
public:
    struct Told {
        std::function<void(const link::Message&)> message;
        std::function<void()> started;                         // tell it what it must know
        std::function<void(const std::string& because)> gone;  // it will be started again
        std::function<void(int code)> hopeless;                // it never worked and never will
    };
    // silence: a worker without a heartbeat for that long is hung and is killed.
    WorkerProcess(Loop&, std::string program, std::string configuration, Told, Duration silence = 5s);
    ~WorkerProcess();

    void start();
    void send(const link::Message&);
    bool runs() const { return pid_ != 0; }
    // Since when there has been no worker; nullopt while there is one that has spoken.
    std::optional<Instant> missing_since() const { return missing_since_; }
    std::uint64_t restarts() const { return restarts_; }
    void expect_end() { leaving_ = true; }  // its next end is wanted

private:
    void ended(int code, int status);
    void heard(std::span<const std::uint8_t>);
    void watch_silence();

    Loop& loop_;
    std::string program_, configuration_;
    Told told_;
    Duration silence_;
    RestartPolicy policy_;
    std::unique_ptr<ChannelOnLoop> channel_;
    Watch end_, restart_, silence_timer_;
    int pid_ = 0;
    bool has_worked_ = false, leaving_ = false;
    Instant last_word_{};
    std::optional<Instant> missing_since_;
    std::uint64_t restarts_ = 0;
};

}  // namespace koi::speaker
