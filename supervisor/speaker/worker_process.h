// supervisor/speaker/worker_process.h
//
// The worker as the speaker sees it: started, listened to, started again when it dies or falls silent. The speaker
// goes on meanwhile. A worker that finds its configuration unusable at the first start (exit 78) is not started
// again: koid ends with the same code.
//
// The worker may be of another release (supervisor/base/formats.h). Nothing is said to it before it has spoken; it is
// answered in the format it speaks.
//
// replace(): a new one is started beside the one that works, reads what it needs, and says so (Hello, waits). Only
// then the old one hears the end of its channel, which lets everything be as it is, and the new one begins.
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

inline constexpr int bad_configuration = 78;  // EX_CONFIG: nobody starts it again

class WorkerProcess {
public:
    struct Told {
        std::function<void(const link::Message&)> message;
        std::function<void()> started;                         // it has spoken: tell it what it must know
        std::function<void(const std::string& because)> gone;  // it will be started again
        std::function<void(int code)> hopeless;                // it never worked and never will
    };
    // silence: a worker without a heartbeat for that long is hung and is killed.
    WorkerProcess(Loop&, std::string program, std::string configuration, Told, Duration silence = 5s);
    ~WorkerProcess();

    void start();
    void send(const link::Message&);
    bool listens() const { return channel_ && format_; }  // to send()
    bool runs() const { return pid_ != 0; }
    // Since when there has been no worker; nullopt while there is one that has spoken.
    std::optional<Instant> missing_since() const { return missing_since_; }
    std::uint64_t restarts() const { return restarts_; }
    void expect_end() { leaving_ = true; }  // its next end is wanted

    // Calls once: with nothing when the new one has begun, or with why the old one goes on.
    using Replaced = std::function<void(const std::string& failure)>;
    void replace(Replaced);
    const std::string& version() const { return version_; }  // of the one that works; empty: it has not told

    // For a program that replaces this one: the worker goes on and does not notice. Nothing: not at this moment.
    struct Kept {
        int channel = -1, pid = 0;
        std::uint8_t format = 0;
        std::string version;
        std::uint64_t restarts = 0;
    };
    std::optional<Kept> keep() const;
    void adopt(const Kept&);  // instead of start()

private:
    struct Successor {
        int pid = 0;
        std::unique_ptr<ChannelOnLoop> channel;
        Watch end, patience;
        std::uint8_t format = 0;
        std::string version;
        bool ready = false;  // the old one has been told to go
        Replaced replaced;
    };
    struct Spawned {
        int pid = 0;
        Channel channel;
    };
    Result<Spawned> spawn_one(bool beside);
    std::unique_ptr<ChannelOnLoop> listen(Channel, int pid);
    Watch watch_end(int pid);
    void ended(int code, int status);
    void heard(std::span<const std::uint8_t>);
    void watch_silence();
    void successor_heard(std::span<const std::uint8_t>);
    void successor_failed(const std::string& because);
    void succeed();

    Loop& loop_;
    std::string program_, configuration_;
    Told told_;
    Duration silence_;
    RestartPolicy policy_;
    std::unique_ptr<ChannelOnLoop> channel_;
    Watch end_, end_of_failed_, restart_, silence_timer_;
    int pid_ = 0;
    std::optional<std::uint8_t> format_;  // in which it speaks; nothing: it has not spoken
    std::string version_;
    bool foreign_ = false;  // it has spoken in one that we do not know
    std::unique_ptr<Successor> successor_;
    bool has_worked_ = false, leaving_ = false;
    Instant last_word_{};
    std::optional<Instant> missing_since_;
    std::uint64_t restarts_ = 0;
};

}  // namespace koi::speaker
