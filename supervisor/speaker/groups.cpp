// The speaker and its groups: how one is made, what it says and what it hears. The rest of the speaker is in
// speaker.cpp.
#include <algorithm>

#include "supervisor/speaker/speaker.h"

namespace koi::speaker {

namespace {

std::string milliseconds(Duration d) { return std::to_string((d + 500us) / 1ms) + " ms"; }

// How long the vips may answer and stay after the last advert. The kernel counts lifetimes in whole seconds. Where
// the packet filter ends the lease on time the address only has to go some time after it. Where it does not, the
// lifetime is the lease: rounded down, so that it ends in time, unless that would not outlast the next advert.
Holder::Term term_of(const Group& g, Holder& holder) {
    const auto& us = g.instance().settings();
    const bool handing_over = g.instance().state().handing_to != 0;
    if (us.lease.kind == carp::Lease::Kind::off) return {{}, {}, handing_over};
    const bool enforced = holder.enforces_leases();
    const auto sent = carp::sent_skew(us, g.instance().state().demotion);
    const Duration lease = carp::lease_length(us, sent), beat = carp::beat(us, sent);
    auto lifetime = std::chrono::floor<std::chrono::seconds>(lease);
    if (enforced || lifetime < beat * 3 / 2) lifetime = std::chrono::ceil<std::chrono::seconds>(lease);
    return {g.leased_until(), std::max(lifetime, std::chrono::seconds(1)), handing_over};
}

}  // namespace

// ---- How they are made ----

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

// ---- What they say ----

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
    counter_.become(random_sender());
    for (auto& [vhid, g] : groups_) g->become(counter_.sender());
    memory_.keep(counter_.reserve());
}

void Speaker::role_changed(Group& g, const carp::RoleChanged& change) {
    const Vhid vhid = g.vhid();
    if (change.from == carp::Role::master) holder_.let_go(vhid);
    silences_.erase(vhid);
    if (change.silence > 0us) silences_[vhid] = loop_.now() - change.silence;
    // What was prepared is there, whatever role it was told for.
    const bool agreed = change.to == carp::Role::master && is_prepared(vhid) && !stopping_;
    if (!agreed) return tell_role(g, change);
    tables_.at(vhid).since = g.instance().state().since;
    hold_if_ready(g);
    // The one who hands over waits for an advert now, and whoever is told may take the processor first.
    tell_waiting_role();
    tell_role_ = {vhid, change};
    Loop::move(tell_role_timer_, loop_.now());
}

void Speaker::tell_role(Group& g, const carp::RoleChanged& change) {
    tell_waiting_role();
    const Vhid vhid = g.vhid();
    tell(log::Level::notice, "role",
         "vhid " + std::to_string(vhid.value()) + " is " + std::string(to_string(change.to)) +
             " now: " + change.because,
         {{"vhid", std::to_string(vhid.value())},
          {"old", std::string(to_string(change.from))},
          {"new", std::string(to_string(change.to))},
          {"reason", change.because}});
    if (stopping_) return leave_when_free();
    worker_.send(link::RoleTold{vhid, change.to, g.instance().state().since, change.because, false});
    if (change.to == carp::Role::master) hold_if_ready(g);
    report_soon();
}

void Speaker::tell_waiting_role() {
    const auto waiting = std::exchange(tell_role_, std::nullopt);
    if (!waiting) return;
    if (Group* g = group(waiting->first)) tell_role(*g, waiting->second);
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

link::RoleTold Speaker::told(const Group& g) const {
    const auto& state = g.instance().state();
    const bool prepares = state.role == carp::Role::backup && !state.asking.empty();
    const auto wish = prepared_since_.find(g.vhid());
    const bool known = prepares && wish != prepared_since_.end();
    return {g.vhid(), state.role, known ? wish->second : state.since, g.because(), prepares};
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
    prepared_since_[g.vhid()] = loop_.now();  // an answer to an earlier wish is none to this one
    if (!wanted) holder_.let_go(g.vhid());
    tell_waiting_role();
    worker_.send(told(g));
    const bool leases = g.settings().carp.lease.kind != carp::Lease::Kind::off;
    if (wanted && leases) holder_.prepare(g.vhid(), held_of(g.settings()));
    if (wanted) tell_if_prepared(g);
    report_soon();
}

bool Speaker::is_prepared(Vhid vhid) const {
    const auto table = tables_.find(vhid);
    const auto since = prepared_since_.find(vhid);
    return table != tables_.end() && since != prepared_since_.end() && table->second.ready &&
           table->second.prepared && table->second.since == since->second;
}

void Speaker::tell_if_prepared(Group& g) {
    const auto table = tables_.find(g.vhid());
    if (table == tables_.end() || g.instance().state().asking.empty()) return;
    const auto& about = table->second;
    g.take(carp::Prepared{(about.ready && about.always) || is_prepared(g.vhid())});
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

}  // namespace koi::speaker
