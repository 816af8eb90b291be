#include "supervisor/speaker/speaker.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <thread>

#include "supervisor/base/check.h"
#include "supervisor/base/privileges.h"
#include "supervisor/base/version.h"
#include "supervisor/speaker/estate.h"
#include "supervisor/speaker/lives.h"
#include "supervisor/speaker/reports.h"

namespace koi::speaker {

namespace {

constexpr std::size_t most_untold = 100;  // events that wait for a worker
constexpr Duration worker_grace = 10s;    // without a worker for longer: demoted
constexpr Duration table_patience = 2s;   // a master whose table is not ready by then is demoted
constexpr Duration heard_pause = 30s;     // between two writings of what was heard
constexpr Duration last_writing = 1s;     // a disk may take that long when we end
constexpr Duration leave_patience = 5s;   // how long the worker may take to let go of the tables

}  // namespace

bool wants_leases(const link::Settings& settings) {
    return std::ranges::any_of(settings.vhids,
                               [](const auto& v) { return v.carp.lease.kind != carp::Lease::Kind::off; });
}

Speaker::Speaker(Loop& loop, vip::KernelAddresses kernel, Notes notes, Memory memory, Fd lock,
                 const carp::Counter& counter, const Setup& setup)
    : loop_(loop),
      setup_(setup),
      lock_(std::move(lock)),
      kernel_(std::move(kernel)),
      notes_(std::move(notes)),
      memory_(std::move(memory)),
      counter_(counter),
      holder_(loop, kernel_, setup.runtime_directory,
              [this](auto level, auto event, auto sentence, const auto& fields) {
                  tell(level, event, sentence, fields);
                  report_soon();
              }),
      worker_(loop, setup.worker_program, setup.configuration,
              {.message = [this](const auto& message) { heard(message); },
               .started = [this] { brief_worker(); },
               .gone = [this](const auto& because) { worker_gone(because); },
               .hopeless = [this](int code) { loop_.stop(code); }}),
      watchdog_(loop) {}

void Speaker::start(std::vector<std::string> problems) {
    for (auto& problem : problems)
        tell_worker({static_cast<int>(log::Level::warning), "memory", std::move(problem), {}});
    watch_everything();
    worker_.start();
}

void Speaker::watch_everything() {
    kernel_watch_ =
        loop_.on_io(kernel_.event_fd(), EPOLLIN, Priority::address, "kernel", [this](auto) { kernel_events(); });
    for (const int signal : {SIGTERM, SIGINT})
        signals_.push_back(loop_.on_signal(signal, Priority::facts, "stop", [this] { stop(); }));
    signals_.push_back(loop_.on_signal(SIGHUP, Priority::facts, "reload", [this] { worker_.send(link::Reload{}); }));
    beat_timer_ = loop_.at(loop_.now() + 1s, Priority::facts, "beat", [this] { beat(); });
    report_timer_ = loop_.at(Instant::max(), Priority::idle, "report", [this] { report(); });
    Loop::move(report_timer_, Instant::max());
    settle_timer_ = loop_.at(Instant::max(), Priority::carp, "settle", [this] { settle_demotion(); });
    Loop::move(settle_timer_, Instant::max());
    tell_role_timer_ = loop_.at(Instant::max(), Priority::carp, "tell role", [this] { tell_waiting_role(); });
    Loop::move(tell_role_timer_, Instant::max());
    look_timer_ = loop_.at(Instant::max(), Priority::address, "look", [this] { look(false); });
    Loop::move(look_timer_, Instant::max());
    watchdog_.start();
}

// ---- From the worker ----

void Speaker::heard(const link::Message& message) {
    if (const auto* settings = std::get_if<link::Settings>(&message)) {
        apply(*settings);
    } else if (const auto* table = std::get_if<link::TableReady>(&message)) {
        tables_.insert_or_assign(table->vhid, *table);
        if (Group* g = group(table->vhid)) {
            hold_if_ready(*g);
            tell_if_prepared(*g);
        }
    } else if (const auto* condition = std::get_if<link::Condition>(&message)) {
        condition_ = condition->carp;
        for (auto& [vhid, g] : groups_) g->tell(condition_);
    } else if (const auto* demote = std::get_if<link::Demote>(&message)) {
        worker_demotion_ = demote->demotion;
        settle_demotion();
    } else if (const auto* down = std::get_if<link::StepDown>(&message)) {
        if (Group* g = group(down->vhid)) g->take(carp::SteppedDown{down->because});
        report_soon();
    } else if (const auto* up = std::get_if<link::StepUp>(&message)) {
        if (Group* g = group(up->vhid)) g->take(carp::SteppedUp{});
        report_soon();
    } else if (const auto* say = std::get_if<link::Say>(&message)) {
        if (say->ready && !ready_told_ && !stopping_) {
            ready_told_ = true;
            sd_notify(0, "READY=1");
        }
        if (say->status != status_ && !stopping_) sd_notifyf(0, "STATUS=%s", say->status.c_str());
        status_ = say->status;
        if (say->ready) upgrade_self();
    } else if (const auto* reloading = std::get_if<link::Reloading>(&message)) {
        // The service manager's clock stands still while the machine sleeps; ours does not.
        std::uint64_t monotonic = 0;
        (void)sd_event_now(loop_.raw(), CLOCK_MONOTONIC, &monotonic);
        if (reloading->begins)
            sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%llu", static_cast<unsigned long long>(monotonic));
        else if (ready_told_)
            sd_notify(0, "READY=1");
    } else if (std::holds_alternative<link::Upgrade>(message)) {
        begin_upgrade();
    } else if (std::holds_alternative<link::Left>(message)) {
        if (stopping_) loop_.stop(0);
    }
}

std::set<vip::Held> Speaker::held_of(const link::VhidSettings& settings) const {
    std::set<vip::Held> held;
    for (const auto& prefix : settings.addresses) held.insert({settings.carp.interface, prefix});
    return held;
}

void Speaker::apply(const link::Settings& settings) {
    if (stopping_ || (settings == settings_ && settled_once_)) return;
    std::set<Vhid> stay;
    for (const auto& one : settings.vhids) stay.insert(one.carp.vhid);
    for (auto it = groups_.begin(); it != groups_.end();) {
        if (stay.contains(it->first)) {
            ++it;
            continue;
        }
        it->second->take(carp::Stopped{.at_once = true});
        keep_heard();
        notes_.forget(it->first);
        tables_.erase(it->first);
        prepared_since_.erase(it->first);
        last_refusals_.forget(it->first);
        it = groups_.erase(it);
    }

    holder_.want_leases(wants_leases(settings));
    if (!settled_once_) {
        std::map<Vhid, std::set<vip::Held>> kept;
        for (const auto& one : settings.vhids)
            if (const auto note = notes_.of(one.carp.vhid); note && may_resume(*note, one.carp, loop_.now()))
                kept[one.carp.vhid] = held_of(one);
        holder_.adopt(kept);
    }
    for (const auto& one : settings.vhids) {
        Group* known = group(one.carp.vhid);
        if (!known) {
            groups_.emplace(one.carp.vhid, make_group(one));
        } else if (known->settings() != one) {
            known->move_to(wire(one.carp.interface));
            known->change(one);
            if (known->role() == carp::Role::master) hold_if_ready(*known);
        }
    }
    const bool first = !settled_once_;
    settings_ = settings;
    settled_once_ = true;
    std::erase_if(wires_, [&](const auto& w) {
        return std::ranges::none_of(groups_,
                                    [&](const auto& g) { return g.second->settings().carp.interface == w.first; });
    });
    look(first);
    if (first)
        for (const auto& [vhid, g] : groups_)
            if (g->role() != carp::Role::master) holder_.let_go(vhid);
    settle_demotion();
    settle_watchdog();
    report_soon();
}

// A speaker that hangs is to be back before the least patient peer of any vhid leads.
void Speaker::settle_watchdog() {
    std::optional<Duration> least;
    for (const auto& vhid : settings_.vhids) {
        const auto patience = carp::least_patience(vhid.carp, vhid.carp.advskew);
        least = std::min(least.value_or(patience), patience);
    }
    if (least) watchdog_.set(watchdog_time(*least));
}

void Speaker::brief_worker() {
    // A reload that the worker before has begun is over. Said twice it changes nothing.
    if (ready_told_ && !stopping_) sd_notify(0, "READY=1");
    for (const auto& happened : std::exchange(untold_, {})) worker_.send(happened);
    tell_waiting_role();
    for (const auto& [vhid, g] : groups_) worker_.send(told(*g));
    if (settled_once_) report();
    if (stopping_ && is_free()) worker_.send(link::Leave{});
}

void Speaker::worker_gone(const std::string& because) {
    if (stopping_) return leave_when_free();
    tell(log::Level::error, "worker", because + "; adverts and forwarding go on, starting it again", {});
}

// ---- From the kernel ----

void Speaker::kernel_events() {
    // An address that ended while we slept was not taken away by somebody else.
    for (auto& [vhid, g] : groups_) g->wake();
    bool ground_changed = false;
    for (const auto& event : kernel_.listen()) {
        if (const auto* gone = std::get_if<vip::KernelAddresses::AddressGone>(&event)) {
            holder_.address_gone(gone->held);
            ground_changed = true;
        } else if (const auto* came = std::get_if<vip::KernelAddresses::AddressCame>(&event)) {
            holder_.address_came(came->held);
            ground_changed |= !came->ours;
        } else if (const auto* link = std::get_if<vip::KernelAddresses::LinkChanged>(&event)) {
            holder_.link_changed(link->link);
            ground_changed = true;
        } else if (const auto* lost = std::get_if<vip::KernelAddresses::LinkGone>(&event)) {
            holder_.link_gone(lost->name);
            ground_changed = true;
        } else {
            holder_.look_again();
            ground_changed = true;
        }
    }
    if (ground_changed) look(false);
}

void Speaker::look(bool resume) {
    if (!settled_once_ || stopping_) return;
    const auto found = kernel_.addresses();
    if (!found) return tell(log::Level::error, "address", found.error().story, {});
    std::set<IpAddress> vips;
    std::set<std::string> global;  // interfaces whose IPv6 peers need more than a link-local source
    for (const auto& [vhid, g] : groups_) {
        for (const auto& prefix : g->settings().addresses) vips.insert(prefix.address);
        for (const auto& peer : g->settings().carp.peers)
            if (!peer.is_v4() && !peer.is_link_local()) global.insert(g->settings().carp.interface);
    }
    for (auto& [interface, w] : wires_) {
        const bool worked = w->worked();
        const auto link = kernel_.link(interface);
        const auto done = w->look(link ? *link : std::nullopt, *found, vips, global.contains(interface));
        if (!done) tell(log::Level::error, "link", done.error().story, {{"interface", interface}});
        if (worked != w->works())
            tell(log::Level::notice, "link",
                 interface + (w->works()      ? " is up"
                              : link && *link ? " is down"
                                              : " is gone"),
                 {{"interface", interface}});
    }
    for (auto& [vhid, g] : groups_) g->look(resume);
    settle_demotion();
    report_soon();
}

// ---- By itself ----

void Speaker::beat() {
    beat_timer_ = loop_.at(loop_.now() + 1s, Priority::facts, "beat", [this] { beat(); });
    for (auto& [vhid, g] : groups_) worst_slip_ = std::max(worst_slip_, g->take_worst_slip());
    if (loop_.now() - slip_since_ >= 60s) {
        last_minute_slip_ = worst_slip_;
        worst_slip_ = {};
        slip_since_ = loop_.now();
    }
    settle_demotion();
    holder_.try_lease_again();
    remember();
    report();
}

// Adverts go on whatever the disk does; what it could not take is said once.
void Speaker::remember() {
    if (counter_.wants_keeping()) memory_.keep(counter_.reserve());
    if (loop_.now() - heard_kept_ >= heard_pause) keep_heard();
    const auto trouble = memory_.trouble();
    if (trouble != memory_trouble_ && !trouble.empty())
        tell(log::Level::warning, "memory",
             trouble + "; replays are still refused, but not across a restart of this node", {});
    memory_trouble_ = trouble;
}

// A vhid that is not served now, or not yet, keeps what is known of it.
void Speaker::keep_heard() {
    heard_kept_ = loop_.now();
    HeardLines all = memory_.heard();
    for (const auto& [vhid, g] : groups_) all[vhid] = g->heard_counters();
    memory_.keep(all);
}

Demotion Speaker::demotion_of(const Group& g) const {
    const Instant now = loop_.now();
    int sum = worker_demotion_.value();
    for (const auto& [interface, w] : wires_)
        if (!w->works() && interface != g.settings().carp.interface) sum += settings_.demote_link.value();
    if (const auto missing = worker_.missing_since(); missing && now - *missing > worker_grace) sum += Demotion::max;
    if (unready_until_ && now < *unready_until_) sum += Demotion::max;
    if (slipped_until_ && now < *slipped_until_) sum += Demotion::max;
    if (holder_.failed_lately(now)) sum += Demotion::max;
    return *Demotion::of(std::min<int>(sum, Demotion::max));
}

void Speaker::settle_demotion() {
    const Instant now = loop_.now();
    for (const auto& [vhid, g] : groups_) {
        if (g->role() != carp::Role::master) continue;
        const auto reports = holder_.report(vhid, held_of(g->settings()));
        const bool holds = std::ranges::all_of(reports, [](const auto& vip) { return vip.desired; });
        if (!holds && now - g->instance().state().since > table_patience) unready_until_ = now + memory_of_failure;
    }
    for (auto& [vhid, g] : groups_) {
        const auto demotion = demotion_of(*g);
        if (demotion == g->instance().state().demotion) continue;
        tell(log::Level::notice, "demotion",
             "vhid " + std::to_string(vhid.value()) +
                 (demotion.value() > 0 ? " is demoted by " + std::to_string(demotion.value())
                                       : " is no longer demoted"),
             {{"vhid", std::to_string(vhid.value())}, {"demotion", std::to_string(demotion.value())}});
        g->take(carp::Demoted{demotion});
    }
}

void Speaker::report_soon() {
    if (report_timer_) Loop::move(report_timer_, loop_.now());
}

void Speaker::report() {
    if (stopping_) return;
    link::Report all;
    all.worker_restarts = worker_.restarts();
    all.worst_slip = std::max(worst_slip_, last_minute_slip_);
    all.strangers = holder_.strangers();
    all.lease_missing = holder_.lease_missing();
    all.leases = wants_leases(settings_);
    all.memory_missing = memory_trouble_;
    all.version = version();
    all.upgrade = upgrade_;
    for (const auto& [vhid, g] : groups_) {
        auto one = report_of(*g, holder_.report(vhid, held_of(g->settings())));
        if (const auto taken = takeovers_.find(vhid); taken != takeovers_.end()) {
            one.unplanned_takeovers = taken->second.unplanned;
            one.last_silence = taken->second.last_silence;
        }
        one.refusals = last_refusals_.of(vhid, g->settings().carp.interface);
        all.vhids.push_back(std::move(one));
        std::ranges::move(reports_of_peers(*g, loop_.now()), std::back_inserter(all.peers));
    }
    worker_.send(all);
}

void Speaker::tell(log::Level level, std::string_view event, std::string_view sentence, const log::Fields& fields) {
    log::note(level, event, sentence, fields);
    tell_worker({static_cast<int>(level), std::string(event), std::string(sentence), fields});
}

void Speaker::tell_worker(link::Happened happened) {
    if (worker_.listens()) return worker_.send(happened);
    untold_.push_back(std::move(happened));
    if (untold_.size() > most_untold) untold_.pop_front();
}

void Speaker::finish() {
    if (stopping_ && settled_once_) holder_.finish();
    memory_.keep(counter_.close());
    keep_heard();
    memory_.finish(last_writing);
}

void Speaker::stop() {
    if (stopping_) return loop_.stop(0);  // asked twice: at once
    stopping_ = true;
    sd_notify(0, "STOPPING=1\nSTATUS=letting go of everything");
    for (auto& [vhid, g] : groups_) g->take(carp::Stopped{});
    leave_when_free();
}

bool Speaker::is_free() const {
    return std::ranges::none_of(groups_, [](const auto& g) { return g.second->role() == carp::Role::master; });
}

// Until a successor has taken over, a master goes on serving.
void Speaker::leave_when_free() {
    if (!is_free() || stop_timer_) return;
    for (auto& [vhid, g] : groups_) notes_.forget(vhid);
    if (!worker_.runs()) return loop_.stop(0);
    worker_.expect_end();
    worker_.send(link::Leave{});
    stop_timer_ = loop_.at(loop_.now() + leave_patience, Priority::facts, "leave", [this] {
        log::note(log::Level::error, "stop",
                  "the worker did not let go of the tables in time; see what is left with: ipvsadm -Ln");
        loop_.stop(1);
    });
}

namespace {

// An installed but unconfigured koid is nothing that could be mended by starting it again.
bool says_that_nothing_is_configured(const std::string& path) {
    if (::access(path.c_str(), F_OK) == 0 || errno != ENOENT) return false;
    log::note(
        log::Level::error, "configuration",
        "there is no " + path +
            "; copy /usr/share/doc/koi/examples/koi.yaml there, fit it to this host (man koi.yaml), test it with "
            "koid -t and start koid again");
    return true;
}

const std::set<Capability> ours = {Capability::net_admin, Capability::net_raw};
const std::set<Capability> of_the_worker = {Capability::setuid, Capability::setgid, Capability::setpcap};

// What an earlier program of this process has left. If it cannot be used nothing of it may stay open, the lock least
// of all, and this program starts as after a crash.
std::optional<Estate> inherited(const Setup& setup) {
    if (setup.estate < 0) return std::nullopt;
    auto estate = inherit(setup.estate);
    if (estate) return std::move(*estate);
    log::note(log::Level::error, "upgrade", estate.error().story + "; starting as after a crash");
    ::syscall(SYS_close_range, 3u, ~0u, 0u);
    // Its worker hears the end of the channel. Two of them would change one table.
    for (int n = 0; n < 100 && ::waitpid(-1, nullptr, WNOHANG) == 0; ++n) std::this_thread::sleep_for(5ms);
    return std::nullopt;
}

HeardLines heard_lines(const Estate& estate) {
    HeardLines all;
    for (const auto& one : estate.heard) all[one.vhid] = one.lines;
    return all;
}

int live(const Setup& setup, Fd lock, const Estate* estate) {
    auto loop = Loop::open();
    auto kernel = loop ? vip::KernelAddresses::open() : Result<vip::KernelAddresses>(loop.error());
    if (!kernel) {
        log::note(log::Level::error, "start", kernel.error().story);
        return 1;
    }
    if (auto kept = keep_only(ours, false, of_the_worker); !kept) {
        log::note(log::Level::error, "start", "koid " + kept.error().story);
        return 1;
    }
    if (const auto names = lacking(of_the_worker); !names.empty())
        log::note(log::Level::warning, "start",
                  "the scout, which talks with strangers, cannot run as a user of its own: koid lacks " + names);
    log::settled();
    std::string problem;
    auto notes = Notes::open(setup.runtime_directory, problem);
    if (!problem.empty()) log::note(log::Level::warning, "start", problem);
    if (estate) {
        auto memory = Memory::go_on(setup.state_directory, estate->counter.kept, heard_lines(*estate));
        Speaker speaker(*loop, std::move(*kernel), std::move(notes), std::move(memory), std::move(lock),
                        carp::Counter::go_on(estate->counter), setup);
        speaker.go_on(*estate);
        const int code = loop->run();
        speaker.finish();
        return code;
    }
    std::vector<std::string> problems;
    auto memory = Memory::open(setup.state_directory, random_sender(), [&](const auto& sentence) {
        log::note(log::Level::warning, "memory", sentence);
        problems.push_back(sentence);
    });
    const carp::Counter counter(memory.counter());
    Speaker speaker(*loop, std::move(*kernel), std::move(notes), std::move(memory), std::move(lock), counter, setup);
    speaker.start(std::move(problems));
    const int code = loop->run();
    speaker.finish();
    return code;
}

}  // namespace

int run(const Setup& setup) {
    log::speak_as("speaker");
    if (auto estate = inherited(setup)) {  // the same life, in another program
        const int lasted = live(setup, Fd(estate->lock), &*estate);
        if (lasted == 0 || lasted == bad_configuration) end_life(setup.runtime_directory);
        return lasted;
    }
    if (says_that_nothing_is_configured(setup.configuration)) return bad_configuration;
    auto claimed = claim(setup.runtime_directory);
    if (!claimed) {
        log::note(log::Level::error, "start", claimed.error().story);
        return 1;
    }
    if (!begin_life(setup.runtime_directory)) return 0;
    const int code = live(setup, std::move(*claimed), nullptr);
    if (code == 0 || code == bad_configuration) end_life(setup.runtime_directory);
    return code;
}

}  // namespace koi::speaker
