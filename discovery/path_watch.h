// discovery/path_watch.h
//
// Says when what is behind a path may have changed, however it is changed: written in place, renamed over, deleted
// and created, a symbolic link swapped anywhere on the way to it, a directory that appears only later. It says so
// often rather than never; whoever listens reads the file and compares.
//
// Watched are the file, its directory, every directory that holds a symbolic link on the way, and, where the way ends
// early, the last directory that exists. What inotify cannot see (a network file system, a directory renamed further
// up, limits reached) is left to the listener's own slow look; limits() says when there is reason for it.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "supervisor/base/fd.h"
#include "supervisor/base/loop.h"

namespace koi::discovery {

// finished: a writer has closed it, or another thing took its place at once. unfinished: somebody is at work.
enum class Stir { finished, unfinished };

class PathWatches;

// While it lives, its callback is called. The callback may drop it.
class PathWatch {
public:
    ~PathWatch();
    PathWatch(const PathWatch&) = delete;
    PathWatch& operator=(const PathWatch&) = delete;

private:
    friend class PathWatches;
    PathWatch(PathWatches& all, std::string path, std::function<void(Stir)> stirred)
        : all_(&all), path_(std::move(path)), stirred_(std::move(stirred)) {}

    PathWatches* all_;
    std::string path_;
    std::function<void(Stir)> stirred_;
    std::map<int, std::set<std::string>> interests_;  // watch descriptor → names in there; "" for the thing itself
};

// All watches of a process share one inotify descriptor, of which a user has few. Must outlive its PathWatch objects.
class PathWatches {
public:
    explicit PathWatches(Loop&);
    PathWatches(const PathWatches&) = delete;
    PathWatches& operator=(const PathWatches&) = delete;

    std::unique_ptr<PathWatch> watch(const std::string& path, std::function<void(Stir)> stirred);
    // Why some changes may be seen late; "" if there is no reason.
    const std::string& limits() const { return limits_; }

private:
    friend class PathWatch;
    struct Event {
        int wd = -1;
        std::uint32_t mask = 0;
        std::string name;
    };

    void read_events();
    void deliver(const Event&);
    void follow(PathWatch&);  // sets its watches anew, as its path leads now
    void drop(PathWatch&, const std::map<int, std::set<std::string>>& interests);
    bool alive(PathWatch* watch) const { return watches_.contains(watch); }

    Fd fd_;
    Watch io_;
    std::set<PathWatch*> watches_;
    std::map<int, std::set<PathWatch*>> listeners_;
    std::string limits_;
};

}  // namespace koi::discovery
