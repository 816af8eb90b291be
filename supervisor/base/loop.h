// supervisor/base/loop.h
//
// sd-event, owned. While a Watch lives the loop calls you; once it is gone, it never will again. A callback may drop
// its own Watch: libsystemd keeps source and callback until the call returns. now() is the instant the loop read when
// it woke, on CLOCK_BOOTTIME; pass it down.
//
// Priorities are names. carp is the first of them: nothing that waits for anything else may come before an advert.
#pragma once

#include <systemd/sd-event.h>

#include <cstdint>
#include <functional>
#include <memory>

#include "supervisor/base/clock.h"
#include "supervisor/base/result.h"

namespace koi {

enum class Priority : std::int64_t { carp = -100, address = -50, facts = 0, settle = 50, idle = 100 };

struct LetGo {
    void operator()(sd_event_source* s) const noexcept { sd_event_source_disable_unref(s); }
};
using Watch = std::unique_ptr<sd_event_source, LetGo>;

class Loop {
public:
    using Callback = std::function<void()>;
    using IoCallback = std::function<void(std::uint32_t events)>;  // EPOLLIN | EPOLLHUP ...
    using SignalCallback = std::function<void()>;
    using EndCallback = std::function<void(int code, int status)>;  // siginfo's si_code and si_status

    static Result<Loop> open();

    Instant now() const;
    // The clock itself, read anew. Only where a moment's sleep in the middle of a turn would do harm.
    static Instant clock();
    // The wall clock, and whether the kernel knows that it is disciplined (adjtimex). Where the kernel, or a filter
    // of system calls, does not answer that, the time is still right and counts as not disciplined.
    static WallTime wall();

    // events: EPOLLIN, EPOLLOUT ... The descriptor stays the caller's.
    Watch on_io(int fd, std::uint32_t events, Priority, const char* name, IoCallback);
    // Changes what a watch made by on_io() waits for.
    static void expect(Watch&, std::uint32_t events);
    // Calls once at `due` (at once if past). Accuracy is a microsecond: adverts do not wait for company.
    Watch at(Instant due, Priority, const char* name, Callback);
    // Moves a timer made by at(); also wakes one that has fired. Instant::max() stops it.
    static void move(Watch&, Instant due);
    // The signal is blocked in this process from here on, as sd-event wants it.
    Watch on_signal(int signal, Priority, const char* name, SignalCallback);
    // Calls when the process with this pid ended (pidfd); the process is reaped.
    Watch on_end(int pid, Priority, const char* name, EndCallback);
    // Once per turn, after any other source ran. For settle().
    Watch after_each_turn(Priority, const char* name, Callback);

    int run();  // until stop(); returns its code
    void stop(int code = 0);
    sd_event* raw() const { return event_.get(); }

private:
    struct Unref {
        void operator()(sd_event* e) const noexcept { sd_event_unref(e); }
    };
    explicit Loop(sd_event* e) : event_(e) {}
    std::unique_ptr<sd_event, Unref> event_;
};

}  // namespace koi
