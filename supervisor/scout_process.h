// supervisor/scout_process.h
//
// The scout as the worker sees it: started, told what to watch, listened to, started again. If it is gone, pools stay
// as last known.
#pragma once

#include <functional>
#include <memory>
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
    ScoutProcess(Loop&, std::string program, Told);
    ~ScoutProcess();

    void watch(std::vector<discovery::PoolSettings>);  // starts it if need be

private:
    void start();
    void ended(int code, int status);
    void again(const std::string& because);

    Loop& loop_;
    std::string program_;
    Told told_;
    RestartPolicy policy_;
    std::vector<discovery::PoolSettings> pools_;
    std::unique_ptr<ChannelOnLoop> channel_;
    Watch end_, restart_;
    int pid_ = 0;
};

}  // namespace koi
