#include "supervisor/base/loop.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/timex.h>
#include <sys/wait.h>

#include <algorithm>
#include <ctime>

#include "supervisor/base/check.h"

namespace koi {

namespace {

// The C border: trampolines that must not throw, because an exception may not unwind through libsystemd's frames.
int call_io(sd_event_source*, int, std::uint32_t events, void* callback) noexcept {
    (*static_cast<Loop::IoCallback*>(callback))(events);
    return 0;
}
int call_time(sd_event_source*, std::uint64_t, void* callback) noexcept {
    (*static_cast<Loop::Callback*>(callback))();
    return 0;
}
int call_signal(sd_event_source*, const signalfd_siginfo*, void* callback) noexcept {
    (*static_cast<Loop::SignalCallback*>(callback))();
    return 0;
}
int call_end(sd_event_source*, const siginfo_t* info, void* callback) noexcept {
    (*static_cast<Loop::EndCallback*>(callback))(info->si_code, info->si_status);
    return 0;
}
int call_post(sd_event_source*, void* callback) noexcept {
    (*static_cast<Loop::Callback*>(callback))();
    return 0;
}

template <class Callback>
Watch adopt(sd_event_source* source, Priority priority, const char* name) {
    sd_event_source_set_destroy_callback(source, [](void* p) { delete static_cast<Callback*>(p); });
    sd_event_source_set_priority(source, static_cast<std::int64_t>(priority));
    sd_event_source_set_description(source, name);
    return Watch(source);
}

// Adding a source fails only when memory or descriptors are gone, or when we pass nonsense. Both are our own
// promises.
void must(int result) { KOI_CHECK(result >= 0); }

std::uint64_t usec(Instant t) {
    return t == Instant::max() ? UINT64_MAX
                               : static_cast<std::uint64_t>(std::max<std::int64_t>(t.time_since_epoch().count(), 0));
}

}  // namespace

Result<Loop> Loop::open() {
    sd_event* event = nullptr;
    if (const int e = sd_event_new(&event); e < 0) return from_errno("creating the event loop", -e);
    return Loop(event);
}

Instant Loop::clock() {
    timespec t{};
    must(::clock_gettime(CLOCK_BOOTTIME, &t));
    return Instant(Duration(t.tv_sec * 1'000'000 + t.tv_nsec / 1000));
}

WallTime Loop::wall() {
    timex state{};  // modes 0: read only, which needs no capability
    const int answer = ::adjtimex(&state);
    if (answer < 0) {
        timespec t{};
        must(::clock_gettime(CLOCK_REALTIME, &t));
        return {static_cast<std::uint64_t>(t.tv_sec) * 1'000'000 + static_cast<std::uint64_t>(t.tv_nsec / 1000),
                false};
    }
    const bool synchronised = answer != TIME_ERROR;
    const bool fine = (state.status & STA_NANO) != 0;
    const auto part = static_cast<std::uint64_t>(fine ? state.time.tv_usec / 1000 : state.time.tv_usec);
    return {static_cast<std::uint64_t>(state.time.tv_sec) * 1'000'000 + part, synchronised};
}

Instant Loop::now() const {
    std::uint64_t t = 0;
    // Before the first turn sd-event has no cached time and reads the clock itself; both are fine.
    must(sd_event_now(event_.get(), CLOCK_BOOTTIME, &t));
    return Instant(Duration(static_cast<std::int64_t>(t)));
}

Watch Loop::on_io(int fd, std::uint32_t events, Priority priority, const char* name, IoCallback callback) {
    auto* kept = new IoCallback(std::move(callback));
    sd_event_source* source = nullptr;
    must(sd_event_add_io(event_.get(), &source, fd, events, call_io, kept));
    return adopt<IoCallback>(source, priority, name);
}

void Loop::expect(Watch& watch, std::uint32_t events) {
    KOI_CHECK(watch);
    must(sd_event_source_set_io_events(watch.get(), events));
}

Watch Loop::at(Instant due, Priority priority, const char* name, Callback callback) {
    auto* kept = new Callback(std::move(callback));
    sd_event_source* source = nullptr;
    must(sd_event_add_time(event_.get(), &source, CLOCK_BOOTTIME, usec(due), 1, call_time, kept));
    return adopt<Callback>(source, priority, name);
}

void Loop::move(Watch& timer, Instant due) {
    KOI_CHECK(timer);
    must(sd_event_source_set_time(timer.get(), usec(due)));
    must(sd_event_source_set_enabled(timer.get(), due == Instant::max() ? SD_EVENT_OFF : SD_EVENT_ONESHOT));
}

Watch Loop::on_signal(int signal, Priority priority, const char* name, SignalCallback callback) {
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, signal);
    must(sigprocmask(SIG_BLOCK, &mask, nullptr));
    auto* kept = new SignalCallback(std::move(callback));
    sd_event_source* source = nullptr;
    must(sd_event_add_signal(event_.get(), &source, signal, call_signal, kept));
    return adopt<SignalCallback>(source, priority, name);
}

Watch Loop::on_end(int pid, Priority priority, const char* name, EndCallback callback) {
    // sd-event insists that SIGCHLD is blocked.
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGCHLD);
    must(sigprocmask(SIG_BLOCK, &mask, nullptr));
    auto* kept = new EndCallback(std::move(callback));
    sd_event_source* source = nullptr;
    must(sd_event_add_child(event_.get(), &source, pid, WEXITED, call_end, kept));
    return adopt<EndCallback>(source, priority, name);
}

Watch Loop::after_each_turn(Priority priority, const char* name, Callback callback) {
    auto* kept = new Callback(std::move(callback));
    sd_event_source* source = nullptr;
    must(sd_event_add_post(event_.get(), &source, call_post, kept));
    return adopt<Callback>(source, priority, name);
}

int Loop::run() {
    const int code = sd_event_loop(event_.get());
    KOI_CHECK(code >= 0);
    return code;
}

void Loop::stop(int code) { sd_event_exit(event_.get(), code); }

}  // namespace koi
