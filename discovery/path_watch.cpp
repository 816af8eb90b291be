#include "discovery/path_watch.h"

#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include <algorithm>
#include <climits>
#include <cstring>
#include <deque>

#include "supervisor/base/log.h"

namespace koi::discovery {

namespace {

constexpr std::uint32_t all_events = IN_MODIFY | IN_CLOSE_WRITE | IN_ATTRIB | IN_CREATE | IN_DELETE | IN_MOVED_FROM |
                                     IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF;
constexpr unsigned most_links = 40;  // as the kernel has it

// One thing to watch: a name in a directory, or, without a name, the file itself.
struct Hop {
    std::string where;
    std::string name;
    friend bool operator==(const Hop&, const Hop&) = default;
};

std::deque<std::string> components(const std::string& path) {
    std::deque<std::string> out;
    for (std::size_t at = 0; at < path.size();) {
        const auto slash = std::min(path.find('/', at), path.size());
        if (slash > at && path.substr(at, slash - at) != ".") out.push_back(path.substr(at, slash - at));
        at = slash + 1;
    }
    return out;
}

std::string inside(const std::string& directory, const std::string& name) {
    std::string out = directory;
    if (!out.ends_with('/')) out += '/';
    return out += name;
}

std::string link_target(const std::string& path) {
    char target[PATH_MAX];
    const ssize_t n = ::readlink(path.c_str(), target, sizeof target);
    return n < 0 ? "" : std::string(target, static_cast<std::size_t>(n));
}

// The way to an absolute path, as far as it leads.
std::vector<Hop> way_to(const std::string& path) {
    std::vector<Hop> hops;
    std::string here = "/";
    auto rest = components(path);
    unsigned links = 0;
    while (!rest.empty()) {
        const std::string name = rest.front();
        rest.pop_front();
        if (name == "..") {  // `here` has no links in it, so its parent is what it says
            here.resize(std::max<std::size_t>(here.rfind('/'), 1));
            continue;
        }
        const std::string next = inside(here, name);
        struct stat about;
        if (::lstat(next.c_str(), &about) != 0) {
            hops.push_back({here, name});
            return hops;
        }
        if (S_ISLNK(about.st_mode)) {
            hops.push_back({here, name});
            if (++links > most_links) return hops;
            const auto target = link_target(next);
            if (target.starts_with('/')) here.resize(1);  // it begins with the "/"
            const auto more = components(target);
            rest.insert(rest.begin(), more.begin(), more.end());
        } else if (rest.empty()) {
            hops.push_back({here, name});
            hops.push_back({next, ""});
        } else {
            here = next;
        }
    }
    return hops;
}

}  // namespace

PathWatch::~PathWatch() {
    all_->watches_.erase(this);
    all_->drop(*this, interests_);
}

PathWatches::PathWatches(Loop& loop) : fd_(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC)) {
    if (!fd_) {
        limits_ = from_errno("inotify").story + "; raise the sysctl fs.inotify.max_user_instances";
        return;
    }
    io_ = loop.on_io(fd_.get(), EPOLLIN, Priority::facts, "inotify", [this](std::uint32_t) { read_events(); });
}

std::unique_ptr<PathWatch> PathWatches::watch(const std::string& path, std::function<void(Stir)> stirred) {
    std::unique_ptr<PathWatch> watch(new PathWatch(*this, path, std::move(stirred)));
    watches_.insert(watch.get());
    follow(*watch);
    return watch;
}

void PathWatches::follow(PathWatch& watch) {
    if (!fd_) return;
    const auto before = std::move(watch.interests_);
    watch.interests_.clear();
    auto way = way_to(watch.path_);
    // Until the way is the same after its watches were set: from then on nothing can change unseen. A path that
    // somebody changes without pause is left to its events.
    for (int attempt = 0; attempt < 4; ++attempt) {
        for (const auto& hop : way) {
            const int wd = ::inotify_add_watch(fd_.get(), hop.where.c_str(), all_events);
            if (wd < 0 && (errno == ENOSPC || errno == ENOMEM))
                limits_ =
                    from_errno("watching " + hop.where).story + "; raise the sysctl fs.inotify.max_user_watches";
            if (wd < 0) continue;
            watch.interests_[wd].insert(hop.name);
            listeners_[wd].insert(&watch);
        }
        auto again = way_to(watch.path_);
        if (again == way) break;
        way = std::move(again);
    }
    auto unused = before;
    for (const auto& [wd, names] : watch.interests_) unused.erase(wd);
    drop(watch, unused);
}

void PathWatches::drop(PathWatch& watch, const std::map<int, std::set<std::string>>& interests) {
    for (const auto& [wd, names] : interests) {
        const auto listeners = listeners_.find(wd);
        if (listeners == listeners_.end()) continue;
        listeners->second.erase(&watch);
        if (!listeners->second.empty()) continue;
        listeners_.erase(listeners);
        ::inotify_rm_watch(fd_.get(), wd);
    }
}

void PathWatches::read_events() {
    alignas(inotify_event) char buffer[16384];
    std::vector<Event> events;
    for (;;) {
        const ssize_t n = ::read(fd_.get(), buffer, sizeof buffer);
        if (n <= 0) break;
        for (const char* at = buffer; at < buffer + n;) {
            inotify_event head;
            std::memcpy(&head, at, sizeof head);
            events.push_back({head.wd, head.mask, head.len > 0 ? std::string(at + sizeof head) : ""});
            at += sizeof head + head.len;
        }
        if (events.size() > 10'000) break;  // the rest comes in the next turn
    }
    for (const auto& event : events) deliver(event);
}

void PathWatches::deliver(const Event& event) {
    const bool lost = (event.mask & IN_Q_OVERFLOW) != 0;
    std::set<PathWatch*> concerned;
    if (lost) {
        concerned = watches_;
    } else if (const auto listeners = listeners_.find(event.wd); listeners != listeners_.end()) {
        for (auto* watch : listeners->second) {
            const auto names = watch->interests_.find(event.wd);
            if (event.name.empty() || (names != watch->interests_.end() && names->second.contains(event.name)))
                concerned.insert(watch);
        }
        if (event.mask & IN_IGNORED) listeners_.erase(event.wd);  // the kernel has dropped it, and so do we
    }
    const Stir stir = lost || (event.mask & (IN_CLOSE_WRITE | IN_MOVED_TO)) ? Stir::finished : Stir::unfinished;
    for (auto* watch : concerned) {
        if (!alive(watch)) continue;  // a callback before dropped it
        if (event.mask & IN_IGNORED) watch->interests_.erase(event.wd);
        if (!(event.mask & (IN_MODIFY | IN_CLOSE_WRITE))) follow(*watch);
        const auto stirred = watch->stirred_;  // it may drop the watch
        stirred(stir);
    }
}

}  // namespace koi::discovery
