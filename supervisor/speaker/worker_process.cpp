#include "supervisor/speaker/worker_process.h"

#include <signal.h>
#include <sys/wait.h>

#include "supervisor/base/child.h"
#include "supervisor/base/log.h"
#include "supervisor/base/version.h"

namespace koi::speaker {

namespace {

constexpr int channel_number = 3;  // the worker finds us there
constexpr Duration slept = 500ms;  // a timer so late: we, or the machine, stood still meanwhile

std::string story_of(int code, int status, const std::string& who = "the worker") {
    if (code == CLD_EXITED && status == link::no_common_format)
        return "the worker that is installed is too many releases away from this koid, which goes on with adverts; "
               "hand "
               "over and start all of Koi anew: systemctl restart koi";
    if (code == CLD_EXITED) return who + " ended with code " + std::to_string(status);
    return who + " was ended by signal " + std::to_string(status);
}

}  // namespace

WorkerProcess::WorkerProcess(Loop& loop, std::string program, std::string configuration, Told told, Duration silence)
    : loop_(loop),
      program_(std::move(program)),
      configuration_(std::move(configuration)),
      told_(std::move(told)),
      silence_(silence) {}

WorkerProcess::~WorkerProcess() {
    if (successor_) ::kill(successor_->pid, SIGKILL);
    if (pid_ != 0) ::kill(pid_, SIGKILL);
}

Result<WorkerProcess::Spawned> WorkerProcess::spawn_one(bool beside) {
    auto pair = Channel::pair();
    if (!pair) return pair.error();
    Spawn worker;
    worker.command = {program_, "run", "--configuration", configuration_};
    worker.argv0 = "koid worker";
    if (has_worked_) worker.command.push_back("--again");  // goes on with the configuration that worked
    if (beside) worker.command.push_back("--beside");
    worker.keep_fds = {{pair->second.get(), channel_number}};
    worker.capabilities = {Capability::net_admin, Capability::setuid, Capability::setgid, Capability::setpcap};
    worker.environment = {{link::formats_variable, link::formats.text()}};
    worker.when_parent_dies = 0;  // it ends by itself when the channel closes, and leaves the tables as they are
    if (beside) worker.wait_for_exec = 0ms;  // its end tells as much, and nothing is missing meanwhile
    const auto pid = spawn(worker);
    if (!pid) return pid.error();
    return Spawned{*pid, std::move(pair->first)};
}

// Both are listened to in the same way: which of the two it is changes in the middle.
std::unique_ptr<ChannelOnLoop> WorkerProcess::listen(Channel channel, int pid) {
    return std::make_unique<ChannelOnLoop>(
        loop_, std::move(channel), Priority::facts, "worker",
        [this, pid](auto bytes) { pid == pid_ ? heard(bytes) : successor_heard(bytes); },
        [](const std::string&) {});  // its end is seen by its pid
}

Watch WorkerProcess::watch_end(int pid) {
    return loop_.on_end(pid, Priority::facts, "worker end", [this, pid](int code, int status) {
        if (pid == pid_) return ended(code, status);
        if (!successor_ || successor_->pid != pid) return;
        const bool unusable = code == CLD_EXITED && status == bad_configuration;
        successor_->pid = 0;
        successor_failed(unusable ? "the new worker cannot use the configuration that is in force; see: koid -t"
                                  : story_of(code, status, "the new worker"));
    });
}

void WorkerProcess::start() {
    if (!missing_since_) missing_since_ = loop_.now();
    auto started = spawn_one(false);
    if (!started) {
        const Instant next = policy_.on_death(loop_.now());
        log::note(log::Level::error, "worker", "cannot start the worker: " + started.error().story);
        if (!has_worked_) return told_.hopeless(1);
        restart_ =
            loop_.at(std::max(next, loop_.now() + 200ms), Priority::facts, "worker restart", [this] { start(); });
        return;
    }
    pid_ = started->pid;
    format_.reset();
    version_.clear();
    last_word_ = loop_.now();
    channel_ = listen(std::move(started->channel), pid_);
    end_ = watch_end(pid_);
    watch_silence();
}

void WorkerProcess::send(const link::Message& message) {
    if (!listens() || !link::is_spoken(message, *format_)) return;
    if (auto done = channel_->send(link::encode(message, *format_)); !done && pid_ != 0) {
        log::note(log::Level::error, "worker", "the worker does not listen (" + done.error().story + "); ending it");
        ::kill(pid_, SIGKILL);
    }
}

void WorkerProcess::heard(std::span<const std::uint8_t> bytes) {
    last_word_ = loop_.now();
    const auto format = link::format_of(bytes);
    if (format && !link::formats.contains(*format)) {
        if (!std::exchange(foreign_, true))
            log::note(log::Level::error, "worker",
                      "the worker speaks format " + std::to_string(*format) + " and this koid " +
                          link::formats.text() +
                          ": the release that is installed is too far from the one that runs; adverts go on; hand "
                          "over and start all of Koi anew: systemctl restart koi");
        return;
    }
    const auto message = link::decode(bytes);
    if (!message) return log::note(log::Level::error, "worker", "the worker said something that makes no sense");
    const bool first = !format_;
    format_ = format;
    if (const auto* hello = std::get_if<link::Hello>(&*message)) version_ = hello->version;
    if (std::holds_alternative<link::Settings>(*message)) {
        has_worked_ = true;
        missing_since_.reset();
    }
    if (first) told_.started();
    told_.message(*message);
}

// ---- Replacing it ----

void WorkerProcess::replace(Replaced replaced) {
    static constexpr Duration patience = 15s;  // a large configuration, a large table, a busy machine
    if (successor_) return replaced("another worker is being started");
    if (pid_ == 0 || !format_ || !has_worked_ || leaving_) return replaced("there is no worker at the moment");
    auto started = spawn_one(true);
    if (!started) return replaced("cannot start the new worker: " + started.error().story);
    successor_ = std::make_unique<Successor>();
    successor_->pid = started->pid;
    successor_->replaced = std::move(replaced);
    successor_->channel = listen(std::move(started->channel), started->pid);
    successor_->end = watch_end(started->pid);
    successor_->patience = loop_.at(loop_.now() + patience, Priority::facts, "worker patience", [this] {
        successor_failed("the new worker was not ready within " + std::to_string(patience / 1s) + " s");
    });
}

void WorkerProcess::successor_heard(std::span<const std::uint8_t> bytes) {
    if (!successor_ || successor_->ready) return;
    const auto message = link::decode(bytes);
    const auto* hello = message ? std::get_if<link::Hello>(&*message) : nullptr;
    if (!hello || !hello->waits) return;
    if (leaving_) return successor_failed("koid was told to stop");
    constexpr Duration last_deed = 2s;  // what the old one may be in the middle of
    successor_->format = *link::format_of(bytes);
    successor_->version = hello->version;
    successor_->ready = true;
    if (channel_)  // what the old one has said counts
        for (const auto& last : channel_->receive()) heard(last);
    channel_.reset();  // and it ends
    if (pid_ == 0) return succeed();
    successor_->patience = loop_.at(loop_.now() + last_deed, Priority::facts, "worker patience", [this] {
        if (pid_ != 0) ::kill(pid_, SIGKILL);
    });
}

void WorkerProcess::successor_failed(const std::string& because) {
    const auto failed = std::move(successor_);
    if (failed->pid != 0) {
        ::kill(failed->pid, SIGKILL);
        // Nobody else waits for it.
        end_of_failed_ = loop_.on_end(failed->pid, Priority::idle, "failed worker", [](int, int) {});
    }
    failed->replaced(because);
}

void WorkerProcess::succeed() {
    const auto next = std::move(successor_);
    pid_ = next->pid;
    channel_ = std::move(next->channel);
    end_ = std::move(next->end);
    format_ = next->format;
    version_ = next->version;
    foreign_ = false;
    last_word_ = loop_.now();
    watch_silence();
    send(link::Begin{});
    told_.started();
    next->replaced("");
}

// ---- Replacing ourselves ----

std::optional<WorkerProcess::Kept> WorkerProcess::keep() const {
    if (pid_ == 0 || !format_ || successor_ || !channel_ || !channel_->is_idle()) return std::nullopt;
    return Kept{channel_->fd(), pid_, *format_, version_, restarts_};
}

void WorkerProcess::adopt(const Kept& kept) {
    pid_ = kept.pid;
    format_ = kept.format;
    version_ = kept.version;
    restarts_ = kept.restarts;
    has_worked_ = true;
    last_word_ = loop_.now();
    channel_ = listen(Channel(Fd(kept.channel)), pid_);
    end_ = watch_end(pid_);
    watch_silence();
    send(link::Hello{link::formats, version()});
}

void WorkerProcess::watch_silence() {
    const Instant due = last_word_ + silence_;
    silence_timer_ = loop_.at(due, Priority::facts, "worker silence", [this, due] {
        if (pid_ == 0) return;
        if (loop_.now() - due > slept) last_word_ = loop_.now();  // we have not listened either
        if (loop_.now() - last_word_ < silence_) return watch_silence();
        log::note(log::Level::error, "worker",
                  "the worker has been silent for " + std::to_string(silence_ / 1s) + " s; ending it");
        ::kill(pid_, SIGKILL);
    });
}

void WorkerProcess::ended(int code, int status) {
    pid_ = 0;
    channel_.reset();
    silence_timer_.reset();
    if (!missing_since_) missing_since_ = loop_.now();
    if (successor_ && successor_->ready) return succeed();
    if (successor_) successor_failed("the old worker ended by itself meanwhile");
    const bool unusable = code == CLD_EXITED && status == bad_configuration;
    if (leaving_) return told_.gone("it was asked to");
    if (!has_worked_) return told_.hopeless(unusable ? bad_configuration : 1);
    ++restarts_;
    const std::string because = story_of(code, status);
    const Instant next = policy_.on_death(loop_.now());
    told_.gone(because);
    restart_ = loop_.at(next, Priority::facts, "worker restart", [this] { start(); });
}

}  // namespace koi::speaker
