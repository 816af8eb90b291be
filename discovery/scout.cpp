#include "discovery/scout.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>

#include <cstdlib>
#include <memory>

#include "discovery/messages.h"
#include "discovery/registry.h"
#include "supervisor/base/channel.h"
#include "supervisor/base/log.h"
#include "supervisor/base/privileges.h"
#include "supervisor/base/version.h"

namespace koi::discovery {

namespace {

constexpr Duration heartbeat = 1s;
constexpr unsigned beats_between_looks = 3;

class Scout {
public:
    Scout(Loop& loop, int channel_fd, std::uint8_t format)
        : loop_(loop),
          format_(format),
          registry_(loop, [this](const std::string& pool, const Answer& answer) { tell(pool, answer); }),
          channel_(
              loop, Channel(Fd(channel_fd)), Priority::facts, "worker", [this](auto bytes) { heard(bytes); },
              [this](const std::string&) { loop_.stop(0); }) {
        beat_ = loop_.at(loop_.now(), Priority::facts, "heartbeat", [this] { beat(); });
    }

private:
    void heard(std::span<const std::uint8_t> bytes) {
        const auto message = decode(bytes);
        const auto* watch = message ? std::get_if<WatchPools>(&*message) : nullptr;
        if (!watch) return log::note(log::Level::error, "scout", "the worker said something that makes no sense");
        registry_.watch(watch->pools);
        say_limits();
    }

    void tell(const std::string& pool, const Answer& answer) {
        if (const auto* snapshot = std::get_if<Snapshot>(&answer)) return send(PoolSnapshot{pool, *snapshot});
        send(SourceFailed{pool, std::get<std::string>(answer)});
    }

    // A worker that does not read would miss a word. It starts a new scout, which says everything again.
    void send(const Message& message) {
        const auto sent = channel_.send(encode(message, format_));
        if (sent) return;
        if (sent.error().code == EPIPE) return loop_.stop(0);  // the worker is gone, and so is our task
        log::note(log::Level::error, "scout", sent.error().story + "; the scout ends");
        loop_.stop(1);
    }

    void beat() {
        send(ScoutAlive{version()});
        if (++beats_ % beats_between_looks == 0) registry_.look();
        Loop::move(beat_, loop_.now() + heartbeat);
    }

    void say_limits() {
        if (registry_.limits() == said_limits_) return;
        said_limits_ = registry_.limits();
        log::note(log::Level::warning, "source",
                  said_limits_ + "; until then, changes of files are seen within " +
                      std::to_string(beats_between_looks) + " s");
    }

    Loop& loop_;
    std::uint8_t format_;
    Registry registry_;
    ChannelOnLoop channel_;
    Watch beat_;
    unsigned beats_ = 0;
    std::string said_limits_;
};

Outcome give_up_privileges() {
    if (auto done = become_user("koi-scout"); !done) return done;
    return keep_only({}, true);
}

}  // namespace

// Where memory runs out the scout goes first: it is back in a moment, and pools stay as last known meanwhile. What
// the unit spares koid of (OOMScoreAdjust=) is not for it. Only more may be said, so where nothing was spared nothing
// changes.
void give_up_protection() {
    const Fd score(::open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC));
    char present[16] = {};
    if (!score || ::read(score.get(), present, sizeof present - 1) <= 0 || present[0] != '-') return;
    [[maybe_unused]] const auto written = ::pwrite(score.get(), "0", 1, 0);
}

int scout_main(int channel_fd) {
    log::speak_as("scout");
    if (::fcntl(channel_fd, F_GETFD) < 0) {
        log::note(log::Level::error, "start", "koid-scout is started by koid, not by hand");
        return 2;
    }
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    // What ends it is the end of the channel, not a key pressed on the terminal of koid.
    for (const int ignored : {SIGINT, SIGHUP, SIGTERM, SIGPIPE}) ::signal(ignored, SIG_IGN);
    give_up_protection();  // before we are somebody else, who may not
    if (auto done = give_up_privileges(); !done) {
        log::note(log::Level::error, "start", "the scout will not run with privileges: " + done.error().story);
        return 1;
    }
    const char* told = std::getenv(formats_variable);
    const auto theirs = told ? Formats::parse(told).value_or(formats_of_silence) : formats_of_silence;
    const auto format = common(formats, theirs);
    if (!format) {
        log::note(log::Level::error, "start",
                  "this koid-scout, " + std::string(version()) + ", speaks the formats " + formats.text() +
                      " and the worker that started it " + theirs.text() +
                      ": their releases are too far apart; start all of Koi anew: systemctl restart koi");
        return no_common_format;
    }
    auto loop = Loop::open();
    if (!loop) {
        log::note(log::Level::error, "start", loop.error().story);
        return 1;
    }
    log::settled();
    const Scout scout(*loop, channel_fd, *format);
    return loop->run();
}

}  // namespace koi::discovery
