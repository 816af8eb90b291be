#include "supervisor/speaker/worker_process.h"

#include <signal.h>
#include <sys/wait.h>

#include "supervisor/base/child.h"
#include "supervisor/base/log.h"

namespace koi::speaker {

namespace {

constexpr int bad_configuration = 78;  // EX_CONFIG
constexpr int channel_number = 3;      // the worker finds us there
constexpr Duration slept = 500ms;      // a timer so late: we, or the machine, stood still meanwhile

std::string story_of(int code, int status) {
    if (code == CLD_EXITED) return "the worker ended with code " + std::to_string(status);
    return "the worker was ended by signal " + std::to_string(status);
}

}  // namespace

WorkerProcess::WorkerProcess(Loop& loop, std::string program, std::string configuration, Told told, Duration silence)
    : loop_(loop),
      program_(std::move(program)),
      configuration_(std::move(configuration)),
      told_(std::move(told)),
      silence_(silence) {}

WorkerProcess::~WorkerProcess() {
    if (pid_ != 0) ::kill(pid_, SIGKILL);
}

void WorkerProcess::start() {
    if (!missing_since_) missing_since_ = loop_.now();
    auto pair = Channel::pair();
    Result<int> pid = pair ? Result<int>(0) : Result<int>(pair.error());
    if (pair) {
        Spawn worker;
        worker.command = {program_, "run", "--configuration", configuration_};
        worker.argv0 = "koid worker";
        if (has_worked_) worker.command.push_back("--again");  // goes on with the configuration that worked
        worker.keep_fds = {{pair->second.get(), channel_number}};
        worker.capabilities = {Capability::net_admin, Capability::setuid, Capability::setgid, Capability::setpcap};
        worker.when_parent_dies = 0;  // it ends by itself when the channel closes, and leaves the tables as they are
        pid = spawn(worker);
    }
    if (!pid) {
        const Instant next = policy_.on_death(loop_.now());
        log::note(log::Level::error, "worker", "cannot start the worker: " + pid.error().story);
        if (!has_worked_) return told_.hopeless(1);
        restart_ =
            loop_.at(std::max(next, loop_.now() + 200ms), Priority::facts, "worker restart", [this] { start(); });
        return;
    }
    pid_ = *pid;
    last_word_ = loop_.now();
    channel_ = std::make_unique<ChannelOnLoop>(
        loop_, std::move(pair->first), Priority::facts, "worker", [this](auto bytes) { heard(bytes); },
        [](const std::string&) {});  // its end is seen by its pid
    end_ = loop_.on_end(pid_, Priority::facts, "worker end", [this](int code, int status) { ended(code, status); });
    watch_silence();
    told_.started();
}

void WorkerProcess::send(const link::Message& message) {
    if (!channel_) return;
    if (auto done = channel_->send(link::encode(message)); !done && pid_ != 0) {
        log::note(log::Level::error, "worker", "the worker does not listen (" + done.error().story + "); ending it");
        ::kill(pid_, SIGKILL);
    }
}

void WorkerProcess::heard(std::span<const std::uint8_t> bytes) {
    last_word_ = loop_.now();
    const auto message = link::decode(bytes);
    if (!message) return log::note(log::Level::error, "worker", "the worker said something that makes no sense");
    if (std::holds_alternative<link::Settings>(*message)) {
        has_worked_ = true;
        missing_since_.reset();
    }
    told_.message(*message);
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
