#include "supervisor/scout_process.h"

#include <signal.h>
#include <sys/wait.h>

#include <utility>

#include "supervisor/base/child.h"
#include "supervisor/base/log.h"

namespace koi {

namespace {
constexpr int channel_number = 3;  // the scout finds us there
constexpr Duration slept = 500ms;  // a timer so late: we, or the machine, stood still meanwhile
}  // namespace

ScoutProcess::ScoutProcess(Loop& loop, std::string program, Told told, Duration silence)
    : loop_(loop), program_(std::move(program)), told_(std::move(told)), silence_(silence) {}

// Closing the channel ends it. It runs as another user, so that we may not even send it a signal.
ScoutProcess::~ScoutProcess() = default;

void ScoutProcess::watch(std::vector<discovery::PoolSettings> pools) {
    pools_ = std::move(pools);
    if (!channel_ && !restart_ && pid_ == 0) return start();
    tell();
}

// Until it has spoken, nobody knows in which format it reads.
void ScoutProcess::tell() {
    if (channel_ && format_) (void)channel_->send(discovery::encode(discovery::WatchPools{pools_}, *format_));
}

void ScoutProcess::heard(std::span<const std::uint8_t> bytes) {
    last_word_ = loop_.now();
    const auto format = discovery::format_of(bytes);
    if (format && !discovery::formats.contains(*format)) {
        if (!std::exchange(foreign_, true))
            log::note(log::Level::error, "scout",
                      "the scout speaks format " + std::to_string(*format) + " and this worker " +
                          discovery::formats.text() + ": another release of Koi is installed; run: koi upgrade");
        return;
    }
    const auto message = discovery::decode(bytes);
    if (!message) return log::note(log::Level::error, "scout", "the scout said something that makes no sense");
    const bool first = !format_;
    format_ = format;
    if (const auto* alive = std::get_if<discovery::ScoutAlive>(&*message)) version_ = alive->version;
    if (first) tell();
    told_.message(*message);
}

void ScoutProcess::start() {
    restart_.reset();
    auto pair = Channel::pair();
    if (!pair) return again(pair.error().story);
    Spawn scout;
    scout.command = {program_};
    scout.argv0 = "koid scout";
    scout.keep_fds = {{pair->second.get(), channel_number}};
    scout.capabilities = {Capability::setuid, Capability::setgid,
                          Capability::setpcap};  // to be without them, as another
    scout.environment = {{discovery::formats_variable, discovery::formats.text()}};
    scout.when_parent_dies = SIGKILL;
    const auto pid = spawn(scout);
    if (!pid) return again(pid.error().story);
    pid_ = *pid;
    format_.reset();
    version_.clear();
    channel_ = std::make_unique<ChannelOnLoop>(
        loop_, std::move(pair->first), Priority::facts, "scout",
        [this](std::span<const std::uint8_t> bytes) { heard(bytes); },
        [this](const std::string&) { channel_.reset(); });  // it ends when it finds that nobody listens
    end_ = loop_.on_end(pid_, Priority::facts, "scout end", [this](int code, int status) { ended(code, status); });
    last_word_ = loop_.now();
    watch_silence();
}

void ScoutProcess::watch_silence() {
    const Instant due = last_word_ + silence_;
    silence_timer_ = loop_.at(due, Priority::facts, "scout silence", [this, due] {
        if (pid_ == 0) return;
        if (loop_.now() - due > slept) last_word_ = loop_.now();  // we have not listened either
        if (loop_.now() - last_word_ < silence_) return watch_silence();
        log::note(log::Level::error, "scout",
                  "the scout has been silent for " + std::to_string(silence_ / 1s) + " s; ending it");
        last_word_ = loop_.now();  // once more if it survives that
        watch_silence();
        if (auto done = signal_process_of("koi-scout", pid_, SIGKILL); !done)
            log::note(log::Level::error, "scout", done.error().story);
    });
}

void ScoutProcess::ended(int code, int status) {
    pid_ = 0;
    channel_.reset();
    silence_timer_.reset();
    again(code == CLD_EXITED && status == discovery::no_common_format
              ? "the installed scout is too many releases away from this worker; run: koi upgrade"
          : code == CLD_EXITED ? "the scout ended with code " + std::to_string(status)
                               : "the scout was ended by signal " + std::to_string(status));
}

void ScoutProcess::again(const std::string& because) {
    log::note(log::Level::error, "scout", because + "; pools stay as last known, starting it again");
    restart_ = loop_.at(policy_.on_death(loop_.now()), Priority::facts, "scout restart", [this] { start(); });
    told_.gone(because);
}

}  // namespace koi
