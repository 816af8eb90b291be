// discovery/registry.h
//
// Settings → running sources. A pool whose settings did not change keeps its source undisturbed; one that is gone
// from the settings is not heard of again.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "discovery/path_watch.h"
#include "discovery/source.h"

namespace koi::discovery {

class Registry {
public:
    using TellPool = std::function<void(const std::string& pool, const Answer&)>;

    Registry(Loop& loop, TellPool tell) : loop_(loop), tell_(std::move(tell)), watches_(loop) {}

    // Replaces what was watched. Sources that go on look once more and tell again what they know, so that a new
    // listener knows everything.
    void watch(const std::vector<PoolSettings>&);
    void look();
    const std::string& limits() const { return watches_.limits(); }

private:
    struct Running {
        PoolSettings settings;
        std::unique_ptr<Source> source;
    };
    std::unique_ptr<Source> start(const PoolSettings&);

    Loop& loop_;
    TellPool tell_;
    PathWatches watches_;  // outlives the sources
    std::map<std::string, Running> running_;
};

}  // namespace koi::discovery
