#include "supervisor/speaker/speaker.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <systemd/sd-daemon.h>

#include <algorithm>

#include "supervisor/base/check.h"
#include "supervisor/base/privileges.h"
#include "supervisor/speaker/reports.h"

namespace koi::speaker {

namespace {

constexpr Duration worker_grace = 10s;   // without a worker for longer: demoted
constexpr Duration table_patience = 2s;  // a master whose table is not ready by then is demoted
constexpr Duration memory_of_failure = 60s;
constexpr Duration heard_pause = 30s;    // between two writings of what was heard
constexpr Duration last_writing = 1s;    // a disk may take that long when we end
constexpr Duration leave_patience = 5s;  // how long the worker may take to let go of the tables

std::uint64_t random_number() {
    std::uint64_t n = 0;
    KOI_CHECK(::getrandom(&n, sizeof n, 0) == sizeof n);
    return n;
}

std::string milliseconds(Duration d) { return std::to_string((d + 500us) / 1ms) + " ms"; }

bool leases(const link::Settings& settings) {
    return std::ranges::any_of(settings.vhids,
                               [](const auto& v) { return v.carp.lease.kind != carp::Lease::Kind::off; });
}

// How long the vips may answer and stay after the last advert. The kernel counts lifetimes in whole seconds. Where
// the packet filter ends the lease on time the address only has to go some time after it. Where it does not, the
// lifetime is the lease: rounded down, so that it ends in time, unless that would not outlast the next advert.
Holder::Term term_of(const Group& g, Holder& holder) {
    const auto& us = g.instance().settings();
    if (us.lease.kind == carp::Lease::Kind::off) return {};
    const bool enforced = holder.enforces_leases();
    const auto sent = carp::sent_skew(us, g.instance().state().demotion);
    const Duration lease = carp::lease_length(us, sent), beat = carp::beat(us, sent);
    auto lifetime = std::chrono::floor<std::chrono::seconds>(lease);
    if (enforced || lifetime < beat * 3 / 2) lifetime = std::chrono::ceil<std::chrono::seconds>(lease);
    return {g.leased_until(), std::max(lifetime, std::chrono::seconds(1))};
}

}  // namespace

Speaker::Speaker(Loop& loop, vip::KernelAddresses kernel, Notes notes, Memory memory, const Setup& setup)
    : loop_(loop),
      kernel_(std::move(kernel)),
      notes_(std::move(notes)),
      memory_(std::move(memory)),
      counter_(memory_.counter()),
      holder_(loop, kernel_, setup.runtime_directory,
              [this](auto level, auto event, auto sentence, const auto& fields) {
                  tell(level, event, sentence, fields);
                  report_soon();
              }),
      worker_(loop, setup.worker_program, setup.configuration,
              {.message = [this](const auto& message) { heard(message); },
               .started = [this] { brief_worker(); },
               .gone = [this](const auto& because) { worker_gone(because); },
               .hopeless = [this](int code) { loop_.stop(code); }}) {}

void Speaker::start(std::vector<std::string> problems) {
    problems_ = std::move(problems);
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
    look_timer_ = loop_.at(Instant::max(), Priority::address, "look", [this] { look(false); });
    Loop::move(look_timer_, Instant::max());
    loop_.answer_watchdog();
    worker_.start();
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
    } else if (const auto* reloading = std::get_if<link::Reloading>(&message)) {
        // The service manager's clock stands still while the machine sleeps; ours does not.
        std::uint64_t monotonic = 0;
        (void)sd_event_now(loop_.raw(), CLOCK_MONOTONIC, &monotonic);
        if (reloading->begins)
            sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%llu", static_cast<unsigned long long>(monotonic));
        else if (ready_told_)
            sd_notify(0, "READY=1");
    } else if (std::holds_alternative<link::Left>(message)) {
        if (stopping_) loop_.stop(0);
    }
}

std::set<vip::Held> Speaker::held_of(const link::VhidSettings& settings) const {
    std::set<vip::Held> held;
    for (const auto& prefix : settings.addresses) held.insert({settings.carp.interface, prefix});
    return held;
}

Wire& Speaker::wire(const std::string& interface) {
    auto& here = wires_[interface];
    if (!here)
        here = std::make_unique<Wire>(
            loop_, interface,
            Wire::Ears{.advert = [this, interface](const auto& advert,
                                                   const auto& packet) { advert_heard(interface, advert, packet); },
                       .refusal = [this, interface](auto why, const auto& source,
                                                    auto vhid) { refused(interface, why, source, vhid); }});
    return *here;
}

std::unique_ptr<Group> Speaker::make_group(const link::VhidSettings& settings) {
    const std::string interface = settings.carp.interface;
    auto made = std::make_unique<Group>(
        loop_, settings, wire(interface), notes_,
        Group::Told{
            .role = [this](Group& g, const auto& change) { role_changed(g, change); },
            .announce_again = [this](Group& g, const auto&) { holder_.announce_again(g.vhid(), loop_.now()); },
            .silent =
                [this](Group& g, const std::string& because) {
                    if (silent_limit_.allows(loop_.now()))
                        tell(log::Level::error, "advert",
                             "adverts of vhid " + std::to_string(g.vhid().value()) + " cannot be sent: " + because,
                             {{"vhid", std::to_string(g.vhid().value())}});
                    // Later, because the group is in the middle of its deeds; and look() starts it again.
                    silent_[g.vhid()] = because;
                    silent_timer_ = loop_.at(loop_.now(), Priority::carp, "silent", [this] { let_go_of_silent(); });
                },
            .leased =
                [this](Group& g) {
                    holder_.renew(g.vhid(), term_of(g, holder_));
                    // Asked for right after we spoke: a crash must not meet numbers above those on disk.
                    if (counter_.wants_keeping()) memory_.keep(counter_.reserve());
                },
            .slipped = [this](Group& g, Duration slip) { slipped(g, slip); },
            .prepare = [this](Group& g, bool wanted) { prepare(g, wanted); }},
        counter_);
    made->recall(memory_.heard(settings.carp.vhid));
    made->tell(condition_);
    made->on_refusal = [this, interface, vhid = settings.carp.vhid](auto why, const auto& source) {
        refused(interface, why, source, vhid.value(), true);
    };
    made->on_news = [this, vhid = settings.carp.vhid](auto news, const auto& source, const auto& trailer) {
        sender_heard(vhid, news, source, trailer.sender);
    };
    return made;
}

void Speaker::let_go_of_silent() {
    Instant again = loop_.now();
    for (const auto& [vhid, because] : std::exchange(silent_, {})) {
        Group* silent = group(vhid);
        if (!silent) continue;
        silent->take(carp::LinkLost{"adverts cannot be sent: " + because});
        again = std::max(again, silent->mute_until());
    }
    Loop::move(look_timer_, again);
}

void Speaker::sender_heard(Vhid vhid, carp::Replay::News news, const IpAddress& source, std::uint64_t sender) {
    if (!sender_limit_.allows(loop_.now())) return;
    char id[20];
    std::snprintf(id, sizeof id, "%016llx", static_cast<unsigned long long>(sender));
    const std::string who = source.text() + " (sender " + id + ")", group = "vhid " + std::to_string(vhid.value());
    const log::Fields fields = {{"peer", source.text()}, {"sender", id}, {"vhid", std::to_string(vhid.value())}};
    if (news == carp::Replay::News::newcomer)
        return tell(log::Level::notice, "sender", who + " signs adverts for " + group + " with a key of ours",
                    fields);
    tell(log::Level::warning, "sender",
         "an advert from " + who + " for " + group +
             " came long after it was said: that machine was paused, or somebody held it back",
         fields);
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
        last_refusals_.forget(it->first);
        it = groups_.erase(it);
    }

    holder_.want_leases(leases(settings));
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
    report_soon();
}

void Speaker::brief_worker() {
    for (const auto& problem : std::exchange(problems_, {}))
        worker_.send(link::Happened{static_cast<int>(log::Level::warning), "memory", problem, {}});
    for (const auto& [vhid, g] : groups_) worker_.send(told(*g));
    if (settled_once_) report();
    if (stopping_ && is_free()) worker_.send(link::Leave{});
}

void Speaker::worker_gone(const std::string& because) {
    if (stopping_) return leave_when_free();
    log::note(log::Level::error, "worker", because + "; adverts and forwarding go on, starting it again");
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
        const bool worked = w->works();
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

// ---- From the groups ----

Group* Speaker::group(Vhid vhid) {
    const auto found = groups_.find(vhid);
    return found == groups_.end() ? nullptr : found->second.get();
}

void Speaker::advert_heard(const std::string& interface, const carp::Advert& advert, const carp::Packet& packet) {
    Group* g = group(advert.vhid);
    if (!g || g->settings().carp.interface != interface)
        return refused(interface, carp::Refusal::unknown_vhid, packet.envelope.source, advert.vhid.value());
    g->hear(advert, packet);
}

void Speaker::refused(const std::string& interface, carp::Refusal why, const IpAddress& source,
                      std::optional<unsigned> vhid, bool counted) {
    // Counted where it belongs; what belongs to nobody is counted by everybody who listens on this wire.
    Group* owner = nullptr;
    if (vhid)
        if (const auto number = Vhid::of(*vhid)) owner = group(*number);
    const bool ours = owner != nullptr;
    if (owner && !counted)
        owner->refuse(why);
    else if (!owner)
        for (auto& [number, g] : groups_)
            if (g->settings().carp.interface == interface) g->refuse(why);

    if (owner) last_refusals_.note(owner->vhid(), why, source, loop_.now());
    if (why == carp::Refusal::cloned) become_another();
    if (const auto line = refusal_lines_.say({why, source, interface, vhid, ours}, loop_.now()))
        tell(line->level, "advert_refused", line->sentence, line->fields);
}

// Somebody signs with our key and our identity, from elsewhere: one of the two is a copy of the other, and neither
// would hear the other one, so that both would lead. Once is enough for that; and once is all that a recording of
// what we said ourselves from another address of ours can make us do.
void Speaker::become_another() {
    if (std::exchange(is_another_, true)) return;
    counter_.become(random_number() | 1);
    for (auto& [vhid, g] : groups_) g->become(counter_.sender());
    memory_.keep(counter_.reserve());
}

void Speaker::role_changed(Group& g, const carp::RoleChanged& change) {
    const Vhid vhid = g.vhid();
    if (change.from == carp::Role::master) holder_.let_go(vhid);
    silences_.erase(vhid);
    if (change.silence > 0us) silences_[vhid] = loop_.now() - change.silence;
    tell(log::Level::notice, "role",
         "vhid " + std::to_string(vhid.value()) + " is " + std::string(to_string(change.to)) +
             " now: " + change.because,
         {{"vhid", std::to_string(vhid.value())},
          {"old", std::string(to_string(change.from))},
          {"new", std::string(to_string(change.to))},
          {"reason", change.because}});
    if (stopping_) return leave_when_free();
    // What was prepared is there, whatever role it was told for.
    const auto table = tables_.find(vhid);
    const bool prepared = table != tables_.end() && table->second.ready && table->second.prepared;
    if (change.to == carp::Role::master && prepared) table->second.since = g.instance().state().since;
    worker_.send(link::RoleTold{vhid, change.to, g.instance().state().since, change.because, false});
    if (change.to == carp::Role::master) hold_if_ready(g);
    report_soon();
}

// This machine cannot be relied on to speak in time. The demotion makes a peer relieve it, by agreement where there
// is one; without a peer it changes nothing.
void Speaker::slipped(Group& g, Duration slip) {
    const bool news = !slipped_until_ || loop_.now() >= *slipped_until_;
    slipped_until_ = loop_.now() + memory_of_failure;
    if (news)
        tell(log::Level::warning, "slip",
             "an advert of vhid " + std::to_string(g.vhid().value()) + " was late by " + milliseconds(slip) +
                 ", more than half of what peers wait for: this machine is too busy, or was stopped; demoted for a "
                 "minute so that a peer leads",
             {{"vhid", std::to_string(g.vhid().value())}, {"late_us", std::to_string(slip.count())}});
    // Not in the middle of the group's own turn.
    Loop::move(settle_timer_, loop_.now());
}

link::RoleTold Speaker::told(const Group& g) {
    const auto& state = g.instance().state();
    const bool prepares = state.role == carp::Role::backup && !state.asking.empty();
    return {g.vhid(), state.role, state.since, g.because(), prepares};
}

// How long nobody may have answered, as far as this node can know: from the last word of the master before to now.
void Speaker::note_takeover(Group& g) {
    const auto found = silences_.find(g.vhid());
    if (found == silences_.end()) return;
    const auto since = found->second;
    silences_.erase(found);
    const Duration dark = Loop::clock() - since;
    takeovers_[g.vhid()].last_silence = dark;
    ++takeovers_[g.vhid()].unplanned;
    tell(log::Level::notice, "takeover",
         "vhid " + std::to_string(g.vhid().value()) + ": our addresses answer " + milliseconds(dark) +
             " after the last advert of the master before; it answered for a part of that",
         {{"vhid", std::to_string(g.vhid().value())}, {"silence_us", std::to_string(dark.count())}});
}

// A backup wants to lead: its tables first.
void Speaker::prepare(Group& g, bool wanted) {
    worker_.send(told(g));
    const bool leases = g.settings().carp.lease.kind != carp::Lease::Kind::off;
    if (wanted && leases) holder_.prepare(g.vhid(), held_of(g.settings()));
    if (!wanted) holder_.let_go(g.vhid());
    const auto table = tables_.find(g.vhid());
    if (table == tables_.end()) return;
    table->second.prepared = false;  // until it is told anew
    if (wanted) tell_if_prepared(g);
}

void Speaker::tell_if_prepared(Group& g) {
    const auto table = tables_.find(g.vhid());
    if (table == tables_.end() || g.instance().state().asking.empty()) return;
    const auto& about = table->second;
    g.take(carp::Prepared{about.ready && (about.always || about.prepared)});
}

void Speaker::hold_if_ready(Group& g) {
    if (g.role() != carp::Role::master) return;
    const auto table = tables_.find(g.vhid());
    if (table == tables_.end()) return;
    const auto& told = table->second;
    const bool ready = told.ready && (told.always || told.since == g.instance().state().since);
    if (ready) {
        holder_.want(g.vhid(), held_of(g.settings()), term_of(g, holder_));
        note_takeover(g);
    }
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
    all.leases = leases(settings_);
    all.memory_missing = memory_trouble_;
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
    worker_.send(link::Happened{static_cast<int>(level), std::string(event), std::string(sentence), fields});
}

void Speaker::finish() {
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

int run(const Setup& setup) {
    log::speak_as("speaker");
    auto loop = Loop::open();
    auto kernel = loop ? vip::KernelAddresses::open() : Result<vip::KernelAddresses>(loop.error());
    if (!kernel) {
        log::note(log::Level::error, "start", kernel.error().story);
        return 1;
    }
    if (auto kept = keep_only({Capability::net_admin, Capability::net_raw}, false,
                              {Capability::setuid, Capability::setgid, Capability::setpcap});
        !kept) {
        log::note(log::Level::error, "start", "koid " + kept.error().story);
        return 1;
    }
    const auto claimed = claim(setup.runtime_directory);
    if (!claimed) {
        log::note(log::Level::error, "start", claimed.error().story);
        return 1;
    }
    std::string problem;
    auto notes = Notes::open(setup.runtime_directory, problem);
    if (!problem.empty()) log::note(log::Level::warning, "start", problem);
    std::vector<std::string> problems;
    auto memory = Memory::open(setup.state_directory, random_number(), [&](const auto& sentence) {
        log::note(log::Level::warning, "memory", sentence);
        problems.push_back(sentence);
    });
    Speaker speaker(*loop, std::move(*kernel), std::move(notes), std::move(memory), setup);
    speaker.start(std::move(problems));
    const int code = loop->run();
    speaker.finish();
    return code;
}

}  // namespace koi::speaker
