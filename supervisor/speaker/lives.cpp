#include "supervisor/speaker/lives.h"

#include <signal.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>

#include "supervisor/base/file.h"
#include "supervisor/base/log.h"
#include "supervisor/base/loop.h"

namespace koi::speaker {

namespace {

constexpr std::string_view head = "koi lives 1 ";
constexpr unsigned most_counted = 1000;

std::string path_of(const std::string& runtime_directory) { return runtime_directory + "/lives"; }

// Signals wait until the loop is there to hear them; the first process of a container would not even die of them.
bool sleep_unless_asked_to_end(Duration pause) {
    sigset_t stop;
    ::sigemptyset(&stop);
    for (const int signal : {SIGTERM, SIGINT}) ::sigaddset(&stop, signal);
    ::sigprocmask(SIG_BLOCK, &stop, nullptr);
    const Instant end = Loop::clock() + pause;
    for (Duration left = pause; left > 0us; left = end - Loop::clock()) {
        const timespec wait{.tv_sec = left / 1s, .tv_nsec = (left % 1s) / 1us * 1000};
        if (::sigtimedwait(&stop, nullptr, &wait) > 0) return false;
    }
    return true;
}

void tell(const NextLife& next) {
    const auto count = std::to_string(next.lives.short_ones);
    const auto ms = std::to_string(next.pause / 1ms);
    log::settled();  // for the pause at least
    log::note(log::Level::error, "short_lives",
              "koid has died " + count + " times within seconds of its start; it begins again in " + ms + " ms",
              {{"deaths", count}, {"pause_ms", ms}});
    const Duration start_takes = 60s;
    sd_notifyf(0,
               "STATUS=died %s times within seconds of its start, begins again in %s ms; journalctl -u koi\n"
               "EXTEND_TIMEOUT_USEC=%lld",
               count.c_str(), ms.c_str(), static_cast<long long>((next.pause + start_takes).count()));
}

}  // namespace

NextLife next_life(const std::optional<Lives>& before, Instant now) {
    NextLife next;
    next.lives.began = now;
    if (!before || before->began > now) return next;  // none, or of another boot
    if (now - before->began >= long_enough) return next;
    next.lives.short_ones = std::min(before->short_ones + 1, most_counted);
    if (next.lives.short_ones <= free_restarts) return next;
    const unsigned doublings = std::min(next.lives.short_ones - free_restarts - 1, 16u);
    next.pause = std::min<Duration>(first_pause * (1 << doublings), longest_pause);
    next.lives.began = now + next.pause;
    return next;
}

std::string to_text(const Lives& lives) {
    return std::string(head) + std::to_string(lives.short_ones) + " " +
           std::to_string(lives.began.time_since_epoch().count()) + "\n";
}

std::optional<Lives> read_lives(std::string_view text) {
    if (!text.starts_with(head)) return std::nullopt;
    const char* at = text.data() + head.size();
    const char* const end = text.data() + text.size();
    Lives lives;
    std::int64_t began = 0;
    const auto first = std::from_chars(at, end, lives.short_ones);
    if (first.ec != std::errc{} || first.ptr == end) return std::nullopt;
    if (std::from_chars(first.ptr + 1, end, began).ec != std::errc{}) return std::nullopt;
    lives.began = Instant(Duration(began));
    // What we would have written otherwise was not written by us.
    return to_text(lives) == text && lives.short_ones <= most_counted ? std::optional(lives) : std::nullopt;
}

bool begin_life(const std::string& runtime_directory) {
    const auto path = path_of(runtime_directory);
    const auto text = read_whole(path, 4096);
    const auto next = next_life(text ? read_lives(*text) : std::nullopt, Loop::clock());
    // Before the pause: whoever dies in it has had no life. A record that cannot be written costs only the pause.
    (void)write_whole(path, to_text(next.lives), 0600, false);
    if (next.pause == Duration{}) return true;
    tell(next);
    const bool goes_on = sleep_unless_asked_to_end(next.pause);
    log::settled(false);
    return goes_on;
}

void end_life(const std::string& runtime_directory) { ::unlink(path_of(runtime_directory).c_str()); }

}  // namespace koi::speaker
