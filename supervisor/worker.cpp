#include "supervisor/worker.h"

#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "discovery/last_known.h"
#include "ipvs/kernel/kernel_datapath.h"
#include "supervisor/base/file.h"
#include "supervisor/base/log.h"
#include "supervisor/base/privileges.h"
#include "supervisor/base/version.h"
#include "supervisor/config/digest.h"
#include "supervisor/control/paths.h"
#include "supervisor/owned.h"
#include "supervisor/plan.h"
#include "supervisor/troubles.h"

namespace koi {

namespace {

constexpr Duration kernel_beat = 3s;      // somebody else's change is put right within that, and a dump's time
constexpr Duration full_look = 6s;        // and then on the next beat: within 9 s
constexpr std::size_t large_table = 100;  // services; from there on a full look is taken once a minute
constexpr Duration host_beat = 60s;       // sysctls and routes are looked at again, and soon after a pool has changed
constexpr Duration drain_beat = 1s;       // a draining backend without connections is removed within that
constexpr int bad_configuration = 78;     // EX_CONFIG

std::string applied_path(const WorkerSetup& setup) { return setup.runtime_directory + "/applied.yaml"; }

void say(const std::vector<config::Complaint>& complaints, log::Level level) {
    for (const auto& complaint : complaints) log::note(level, "configuration", complaint.text());
}

std::set<vip::Held> present(const link::Report& report) {
    std::set<vip::Held> here;
    for (const auto& vhid : report.vhids)
        for (const auto& vip : vhid.vips)
            if (vip.present) here.insert(vip.held);
    return here;
}

// A worker that is started anew goes on with what was in force: a file that was edited since, for better or worse, is
// the operator's to apply. Only if that copy cannot be used, the file counts.
std::optional<config::Config> first_configuration(const WorkerSetup& setup) {
    if (setup.again) {
        auto applied = config::load(applied_path(setup));
        if (applied.config) return std::move(applied.config);
        // Beside a worker that works, what the operator has not applied is no way out.
        if (setup.beside && ::access(applied_path(setup).c_str(), F_OK) == 0) {
            say(applied.complaints, log::Level::error);
            return std::nullopt;
        }
    }
    auto reading = config::load(setup.configuration);
    say(reading.complaints, log::Level::error);
    say(reading.warnings, log::Level::warning);
    return std::move(reading.config);
}

}  // namespace

namespace {

// Which file a name stands for at the moment: another one after each writing (supervisor/base/file.h).
std::pair<dev_t, ino_t> identity(const std::string& path) {
    struct stat file {};
    if (::stat(path.c_str(), &file) != 0) return {};
    return {file.st_dev, file.st_ino};
}

Outcome say(Channel& speaker, const link::Message& message, std::uint8_t format) {
    return speaker.send(link::encode(message, format));
}

// Beside another worker, which goes on: reads the kernel's table once, so that a kernel that does not answer is found
// before the other one has gone. False: the speaker wants us no more.
bool wait_for_begin(Channel& speaker, std::uint8_t format) {
    if (auto table = ipvs::KernelDatapath::open()) (void)(*table)->read();
    if (!say(speaker, link::Hello{link::formats, koi::version(), true}, format)) return false;
    for (;;) {
        pollfd ready{speaker.fd(), POLLIN, 0};
        (void)::poll(&ready, 1, -1);
        speaker.flush();
        for (const auto& bytes : speaker.receive(1))
            if (const auto message = link::decode(bytes))
                if (std::holds_alternative<link::Begin>(*message)) return true;
        if (speaker.closed()) return false;
    }
}

}  // namespace

int run_worker(const WorkerSetup& setup) {
    log::speak_as("worker");
    const char* told = std::getenv(link::formats_variable);
    const auto theirs = told ? Formats::parse(told).value_or(link::formats_of_silence) : link::formats_of_silence;
    const auto format = common(link::formats, theirs);
    if (!format) {
        log::note(log::Level::error, "start",
                  "this koid-worker, " + std::string(version()) + ", speaks the formats " + link::formats.text() +
                      " and the koid that started it " + theirs.text() +
                      ": their releases are too far apart; hand over and start all of Koi anew: systemctl restart "
                      "koi");
        return link::no_common_format;
    }
    auto loop = Loop::open();
    if (!loop) return 1;
    const auto read_from = identity(applied_path(setup));
    auto configuration = first_configuration(setup);
    if (!configuration) return bad_configuration;
    if (auto kept =
            keep_only({Capability::net_admin}, false, {Capability::setuid, Capability::setgid, Capability::setpcap});
        !kept) {
        log::note(log::Level::error, "start", "the worker " + kept.error().story);
        return 1;
    }
    Channel speaker{Fd(setup.channel_fd)};
    if (setup.beside) {
        if (!wait_for_begin(speaker, *format)) return 0;
        if (identity(applied_path(setup)) != read_from) configuration = first_configuration(setup);  // a reload
        if (!configuration) return bad_configuration;
    } else if (link::is_spoken(link::Hello{}, *format)) {
        (void)say(speaker, link::Hello{link::formats, koi::version()}, *format);
    }
    log::settled();
    Worker worker(*loop, setup, std::move(*configuration), std::move(speaker), *format);
    if (auto started = worker.start(); !started) {
        log::note(log::Level::error, "start", started.error().story);
        return 1;
    }
    return loop->run();
}

Worker::Worker(Loop& loop, WorkerSetup setup, config::Config configuration, Channel speaker, std::uint8_t format)
    : loop_(loop),
      setup_(std::move(setup)),
      config_(std::move(configuration)),
      event_file_(setup_.runtime_directory),
      speaker_end_(std::move(speaker)),
      format_(format) {}

Outcome Worker::start() {
    started_ = configured_ = loop_.now();
    events_.go_on(event_file_.read());
    // What ends us is the speaker's word or the end of its channel, not a key pressed on its terminal.
    for (const int signal : {SIGTERM, SIGINT, SIGHUP})
        signals_.push_back(loop_.on_signal(signal, Priority::facts, "signal", [] {}));
    speaker_ = std::make_unique<ChannelOnLoop>(
        loop_, std::move(speaker_end_), Priority::facts, "speaker", [this](auto bytes) { heard(bytes); },
        [this](const std::string&) {
            loop_.stop(0);
        });  // the speaker is gone: leave everything as it is for the next

    auto owned = read_owned(setup_.state_directory);
    if (!owned)
        happened(4, "owned", owned.error().story);
    else
        facts_.owned = recorded_ = std::move(*owned);

    open_datapath();
    for (const auto& pool : config_.pools) {
        const auto known = discovery::last_known::load(pool.name);
        if (!known) continue;
        auto& state = facts_.pools[pool.name];
        state.members = *known;
        state.from_disk = true;
        state.changed = loop_.now();
    }
    control_ = [&]() -> std::unique_ptr<control::ControlServer> {
        auto server =
            control::ControlServer::open(loop_, setup_.runtime_directory + "/koi.sock",
                                         [this](const auto& request, auto reply) { answer(request, reply); });
        if (server) return std::move(*server);
        happened(3, "control", server.error().story + "; koi(1) will not work");
        return nullptr;
    }();
    scout_ = std::make_unique<ScoutProcess>(
        loop_, setup_.scout_program,
        ScoutProcess::Told{.message = [this](const discovery::Message& message) { heard(message); },
                           .gone =
                               [this](const std::string& because) {
                                   facts_.scout_missing = because;
                                   dirty();
                               }});
    // The election begins with the settings, and the next advert heard may lead to a role (plan.h, rules 6 and 7).
    const bool newcomer =
        std::ranges::any_of(config_.services, [&](const auto& s) { return !heard_of(facts_, s.pool); });
    demotion_told_ =
        newcomer && !setup_.again ? *Demotion::of(Demotion::max) : plan(config_, facts_, loop_.now()).demotion;
    tell(link::Demote{*demotion_told_});
    adopt_configuration(std::move(config_));
    tell_settings();  // at once: nothing is led yet, or it stands

    turn_ = loop_.after_each_turn(Priority::settle, "settle", [this] { turn(); });
    alive_ = loop_.at(loop_.now(), Priority::facts, "alive", [this] { pass_time(); });
    kernel_beat_ = loop_.at(loop_.now() + kernel_beat, Priority::facts, "kernel", [this] { look_at_kernel(); });
    host_beat_ = loop_.at(loop_.now() + 1s, Priority::idle, "host", [this] { look_at_host(); });
    drain_timer_ = loop_.at(loop_.now() + drain_beat, Priority::facts, "drains", [this] { look_at_drains(); });
    pool_timer_ = loop_.at(Instant::max(), Priority::facts, "pools", [this] {
        for (const auto& pool : config_.pools)
            change_pool(pool.name, [this](auto state, const auto& settings) {
                return discovery::pass_time(std::move(state), settings, loop_.now());
            });
    });
    Loop::move(pool_timer_, Instant::max());
    return Done{};
}

void Worker::adopt_configuration(config::Config configuration) {
    config_ = std::move(configuration);
    configured_ = loop_.now();
    facts_.configuration = config::digest(config_);
    std::erase_if(facts_.pools, [&](const auto& pool) { return !config_.pool(pool.first); });
    facts_.refused.clear();
    facts_.reload_refused.reset();
    if (auto kept = write_whole(applied_path(setup_), config::print(config_), 0600, false); !kept)
        happened(4, "configuration",
                 kept.error().story + "; a worker that is started anew will read the operator's file");

    tables_told_.clear();
    scout_->watch(config_.pools);
    look_at_host_soon(100ms);
    dirty();
}

// ---- Events change facts ----

void Worker::heard(std::span<const std::uint8_t> bytes) {
    const auto message = link::decode(bytes);
    if (!message) return log::note(log::Level::error, "speaker", "the speaker said something that makes no sense");
    if (const auto* role = std::get_if<link::RoleTold>(&*message))
        take(*role);
    else if (const auto* report = std::get_if<link::Report>(&*message))
        take(*report);
    else if (const auto* event = std::get_if<link::Happened>(&*message))
        happened(event->level, event->event, event->sentence, event->fields, false);
    else if (std::holds_alternative<link::Reload>(*message))
        (void)reload();
    else if (std::holds_alternative<link::Leave>(*message))
        leave();
    else if (const auto* hello = std::get_if<link::Hello>(&*message)) {
        // The speaker has replaced itself, and may speak a format that the one before did not.
        format_ = common(link::formats, hello->formats).value_or(format_);
        tell(link::Hello{link::formats, koi::version()});
    }
}

void Worker::take(const link::RoleTold& role) {
    facts_.roles.insert_or_assign(role.vhid, role);
    if (facts_.speaker)  // the report that shows it comes later; what is said of it (STATUS=) must not stay behind
        for (auto& vhid : facts_.speaker->vhids)
            if (vhid.vhid == role.vhid && !role.prepares)
                vhid.role = role.role, vhid.since = role.since, vhid.because = role.because;
    dirty();
    settle();  // a role waits for nothing: the addresses wait for it
}

void Worker::take(const link::Report& report) {
    if (!facts_.roles_known) dirty();
    facts_.roles_known = true;
    for (const auto& vhid : report.vhids) {
        if (vhid.demotion.value() > 0)
            facts_.demoted_since.try_emplace(vhid.vhid, loop_.now());
        else
            facts_.demoted_since.erase(vhid.vhid);
    }
    for (const auto& peer : report.peers) {
        if (!peer.standby) continue;
        auto& heard = facts_.standby_heard[peer.vhid];
        heard = std::max(heard, peer.last_heard);
    }
    const auto is_gone = [&](const auto& of_vhid) {
        return std::ranges::find(report.vhids, of_vhid.first, &link::VhidReport::vhid) == report.vhids.end();
    };
    std::erase_if(facts_.demoted_since, is_gone);
    std::erase_if(facts_.standby_heard, is_gone);
    // What goes after its address (plan.h, rule 8) goes now.
    if (facts_.speaker && present(*facts_.speaker) != present(report)) dirty();
    facts_.speaker = report;
    report_new_ = true;
    look_at_versions();
}

void Worker::look_at_versions() {
    facts_.scout_version = scout_->version();
    facts_.installed_version.clear();
    auto text = read_whole(setup_.version_file, 64);
    if (!text) return;  // a build tree without one
    facts_.installed_version = text->substr(0, text->find('\n'));
    if (!outdated(facts_))
        facts_.outdated_since.reset();
    else if (!facts_.outdated_since)
        facts_.outdated_since = loop_.now();
}

void Worker::heard(const discovery::Message& message) {
    facts_.scout_missing.reset();
    if (const auto* snapshot = std::get_if<discovery::PoolSnapshot>(&message)) {
        take(*snapshot);
    } else if (const auto* failed = std::get_if<discovery::SourceFailed>(&message)) {
        const auto known = facts_.pools.find(failed->pool);
        // That it began to fail is told as a trouble.
        const bool fails_otherwise =
            known != facts_.pools.end() && known->second.failure && known->second.failure != failed->story;
        if (fails_otherwise && config_.pool(failed->pool))
            happened(4, "source", "pool " + failed->pool + ": " + failed->story, {{"pool", failed->pool}});
        change_pool(failed->pool, [&](auto pool, const auto&) {
            return discovery::fail(std::move(pool), failed->story, loop_.now());
        });
    }
}

void Worker::take(const discovery::PoolSnapshot& snapshot) {
    const auto known = facts_.pools.find(snapshot.pool);
    const bool failing = known != facts_.pools.end() && known->second.failure;
    if (failing)
        happened(5, "source", "pool " + snapshot.pool + ": the source answers again", {{"pool", snapshot.pool}});
    change_pool(snapshot.pool, [&](auto pool, const auto& settings) {
        return discovery::believe(std::move(pool), snapshot.members, settings, loop_.now());
    });
}

// Every change of a pool goes through here, so that what joined and left is told once, whatever the reason.
void Worker::change_pool(
    const std::string& name,
    const std::function<discovery::Pool(discovery::Pool, const discovery::PoolSettings&)>& change) {
    const auto* settings = config_.pool(name);
    if (!settings) return;  // a word about a pool that a reload has taken away
    auto& pool = facts_.pools[name];
    const auto before = pool;
    pool = change(std::move(pool), *settings);
    const auto tell_change = [&](const Endpoint& backend, const std::string& what) {
        happened(6, "backend", "pool " + name + ": " + backend.text() + " " + what,
                 {{"pool", name}, {"backend", backend.text()}});
    };
    const auto old_members = before.members.value_or(discovery::Snapshot{});
    const auto new_members = pool.members.value_or(discovery::Snapshot{});
    for (const auto& [backend, weight] : new_members) {
        const auto old = old_members.find(backend);
        if (old == old_members.end())
            tell_change(backend, "joined with weight " + std::to_string(weight.value()));
        else if (old->second != weight)
            tell_change(backend, "has weight " + std::to_string(weight.value()) + " now, was " +
                                     std::to_string(old->second.value()));
    }
    for (const auto& [backend, weight] : old_members)
        if (!new_members.contains(backend))
            tell_change(backend, pool.draining.contains(backend) ? "left and drains" : "left");
    for (const auto& [backend, until] : pool.draining)
        if (!before.draining.contains(backend) && !old_members.contains(backend))
            tell_change(backend, "is no member, but stands: it drains");
    for (const auto& [backend, until] : before.draining)
        if (!pool.draining.contains(backend) && !new_members.contains(backend)) tell_change(backend, "is drained");
    if (pool.members && (pool.members != before.members || before.from_disk))
        if (auto saved = discovery::last_known::save(name, *pool.members); !saved)
            log::note(log::Level::warning, "source", saved.error().story);

    Instant next = Instant::max();
    for (const auto& one : config_.pools)
        if (const auto state = facts_.pools.find(one.name); state != facts_.pools.end())
            next = std::min(next, discovery::next_deadline(state->second, one));
    if (pool_timer_) Loop::move(pool_timer_, next);
    look_at_host_soon(1s);
    dirty();
}

void Worker::open_datapath() {
    auto opened = ipvs::KernelDatapath::open();
    if (!opened) {
        facts_.datapath_missing = opened.error().story;  // told as a trouble
        datapath_retry_ = loop_.now() + 5s;
        return;
    }
    datapath_ = std::move(*opened);
    facts_.datapath_missing.reset();
    observed_stale_ = true;
    dirty();
}

void Worker::look_at_kernel() {
    kernel_beat_ = loop_.at(loop_.now() + kernel_beat, Priority::facts, "kernel", [this] { look_at_kernel(); });
    if (!datapath_) {
        if (loop_.now() >= datapath_retry_ && !config_.services.empty()) open_datapath();
        return;
    }
    if (observed_stale_) return dirty();  // a change was refused or failed: read, and try again
    // /proc shows all but flags, thresholds and tunnels; those only a full read does, which a large table makes dear.
    if (loop_.now() < full_look_ && datapath_->looks_like(facts_.observed)) return;
    full_look_ = loop_.now() + (facts_.observed.size() <= large_table ? full_look : 10 * full_look);
    const auto there = datapath_->read();
    if (!there) {
        happened(3, "ipvs", there.error().story);
        observed_stale_ = true;
        dirty();
        return;
    }
    const auto changes = ipvs::diff(ipvs::only(*there, facts_.owned), ipvs::only(facts_.observed, facts_.owned));
    if (!changes.empty()) {
        facts_.repairs += changes.size();
        happened(4, "repair",
                 "somebody else changed our virtual servers; putting right " + std::to_string(changes.size()) +
                     (changes.size() == 1 ? " thing: " : " things, first: ") + ipvs::text(changes.front()),
                 {{"changes", std::to_string(changes.size())}});
    }
    facts_.observed = *there;
    dirty();
}

void Worker::look_at_drains() {
    drain_timer_ = loop_.at(loop_.now() + drain_beat, Priority::facts, "drains", [this] { look_at_drains(); });
    const bool any =
        std::ranges::any_of(facts_.pools, [](const auto& pool) { return !pool.second.draining.empty(); });
    if (!any || !datapath_) return;
    const auto counters = datapath_->counters();
    if (!counters) return;
    for (const auto& pool : config_.pools) {
        const auto state = facts_.pools.find(pool.name);
        if (state == facts_.pools.end()) continue;
        const auto draining = state->second.draining;  // a copy: the loop changes it
        for (const auto& [member, until] : draining) {
            // `until` minus the pool's drain is when it began; give connections on their way a moment to be counted.
            if (loop_.now() - (until - pool.drain) < drain_beat) continue;
            std::uint64_t connections = 0;
            for (const auto& service : config_.services) {
                if (service.pool != pool.name) continue;
                const auto counted = counters->find(service.at);
                if (counted == counters->end()) continue;
                const auto backend = counted->second.backends.find(backend_key(service, member));
                if (backend == counted->second.backends.end()) continue;
                connections += backend->second.active + backend->second.persistent;
            }
            if (connections == 0)
                change_pool(pool.name, [&, gone = member](auto s, const auto&) {
                    return discovery::drained(std::move(s), gone);
                });
        }
    }
}

void Worker::look_at_host_soon(Duration wait) {
    if (host_beat_) Loop::move(host_beat_, loop_.now() + wait);
}

void Worker::look_at_host() {
    look_at_host_soon(host_beat);
    ipvs::Table all;  // what would stand here if this node led everything: a standby must be fit, too
    Facts as_master = facts_;
    as_master.roles_known = true;
    for (const auto& group : config_.vips)
        as_master.roles.insert_or_assign(group.carp.vhid,
                                         link::RoleTold{group.carp.vhid, carp::Role::master, {}, {}, false});
    auto advice = ipvs::needs(plan(config_, as_master, loop_.now()).table, config_.vips.front().carp.interface,
                              ipvs::this_host());
    if (advice == facts_.advice) return;
    facts_.advice = std::move(advice);
    dirty();
}

void Worker::pass_time() {
    alive_ = loop_.at(loop_.now() + 1s, Priority::facts, "alive", [this] { pass_time(); });
    tell(link::Alive{});
}

// ---- The operator's file ----

Worker::ReloadOutcome Worker::reload() {
    tell(link::Reloading{true});
    auto reading = config::load(setup_.configuration);
    ReloadOutcome outcome;
    for (const auto& warning : reading.warnings) happened(4, "configuration", warning.text());
    if (!reading.config) {
        outcome = {"refused", reading.complaints};
        for (const auto& complaint : reading.complaints) happened(3, "configuration", complaint.text());
        happened(3, "reload",
                 "the configuration was refused with " + std::to_string(reading.complaints.size()) +
                     (reading.complaints.size() == 1 ? " complaint" : " complaints") + "; nothing was changed");
        facts_.reload_refused = reading.complaints.front().text();
        dirty();
    } else if (*reading.config == config_) {
        outcome.outcome = "unchanged";
        facts_.reload_refused.reset();
        happened(5, "reload", "the configuration is as it was");
        dirty();
    } else {
        outcome.outcome = "applied";
        adopt_configuration(std::move(*reading.config));
        settle();
        happened(5, "reload", "the configuration was applied");
    }
    tell(link::Reloading{false});
    return outcome;
}

void Worker::leave() {
    left_ = true;
    dirty();
    settle();
    tell(link::Left{});
    end_ = loop_.at(loop_.now() + 50ms, Priority::idle, "end", [this] { loop_.stop(0); });
}

void Worker::tell(const link::Message& message) {
    if (!link::is_spoken(message, format_)) return;
    if (auto done = speaker_->send(link::encode(message, format_)); !done)
        log::note(log::Level::error, "speaker", "the speaker does not listen: " + done.error().story);
}

void Worker::happened(int level, std::string_view event, std::string_view sentence,
                      std::vector<std::pair<std::string, std::string>> fields, bool log_it) {
    if (log_it) log::note(static_cast<log::Level>(level), event, sentence, fields);
    const auto& kept =
        events_.add({0, loop_.now(), level, std::string(event), std::string(sentence), std::move(fields)});
    if (auto written = event_file_.write(events_); !written)
        log::note(log::Level::warning, "events", written.error().story);
    if (!control_) return;
    status::Status times;  // an event needs no more than the time of day
    times.at = loop_.now();
    times.wall = std::chrono::system_clock::now();
    control_->publish(status::event_json(kept, times));
}

}  // namespace koi
