// supervisor/scout_process.h
//
// The scout as the worker sees it: started, told what to watch, listened to, started again when it dies or falls
// silent. If it is gone, pools stay as last known.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "discovery/messages.h"
#include "supervisor/base/channel.h"
#include "supervisor/base/loop.h"
#include "supervisor/base/restart_policy.h"

namespace koi {

class ScoutProcess {
public:
    struct Told {
        std::function<void(const discovery::Message&)> message;
        std::function<void(const std::string& because)> gone;
    };
    // silence: a scout without a heartbeat for that long is hung and is killed.
    ScoutProcess(Loop&, std::string program, Told, Duration silence = 5s);
    ~ScoutProcess();

    void watch(std::vector<discovery::PoolSettings>);        // starts it if need be
    const std::string& version() const { return version_; }  // of the scout that runs; empty: it has not told

private:
    void start();
    void tell();
    void heard(std::span<const std::uint8_t>);
    void ended(int code, int status);
    void again(const std::string& because);
    void watch_silence();

    Loop& loop_;
    std::string program_;
    Told told_;
    Duration silence_;
    RestartPolicy policy_;
    std::vector<discovery::PoolSettings> pools_;
    std::unique_ptr<ChannelOnLoop> channel_;
    Watch end_, restart_, silence_timer_;
    int pid_ = 0;
    Instant last_word_{};
    std::optional<std::uint8_t> format_;  // in which it speaks
    bool foreign_ = false;                // it has spoken in one that we do not
    std::string version_;
};

}  // namespace koi
