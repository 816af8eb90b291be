#include "supervisor/speaker/group.h"

#include <algorithm>

#include "supervisor/base/log.h"

namespace koi::speaker {

namespace {

// After that many adverts in a row that did not leave, nobody hears us, and the peers take over: let go before they
// do.
constexpr unsigned most_failures = 3;
// It takes no part for so long then: to try again each second would only make noise.
constexpr Duration mute_for = 10s;
// A segment may carry many speakers of one vhid, a flood more than any: only so many are remembered.
constexpr std::size_t most_peers = 32;

bool has_family(const carp::Settings& settings, Family family) {
    return std::ranges::any_of(settings.addresses, [&](const auto& a) { return a.family() == family; });
}

}  // namespace

Group::Group(Loop& loop, link::VhidSettings settings, Wire& wire, Notes& notes, Told told, carp::Counter& counter)
    : loop_(loop),
      settings_(std::move(settings)),
      wire_(&wire),
      notes_(notes),
      told_(std::move(told)),
      instance_(settings_.carp, counter) {
    timer_ = loop_.at(Instant::max(), Priority::carp, "advert", [this] { due(); });
    Loop::move(timer_, Instant::max());
}

Group::Whole Group::whole() const {
    return {instance_.whole(),
            because_,
            mute_until_,
            {peers_.begin(), peers_.end()},
            {standbys_.begin(), standbys_.end()}};
}

void Group::restore(const Whole& w) {
    instance_.restore(w.instance);
    because_ = w.because;
    mute_until_ = w.mute_until;
    peers_ = {w.peers.begin(), w.peers.end()};
    standbys_ = {w.standbys.begin(), w.standbys.end()};
    arm();
}

std::optional<IpAddress> Group::own_address() const {
    for (const auto family : {Family::ipv4, Family::ipv6})
        if (has_family(settings_.carp, family) && wire_->can_speak(family)) return wire_->own_address(family);
    return std::nullopt;
}

bool Group::can_speak() const { return own_address().has_value(); }

void Group::look(bool resume) {
    const auto own = own_address();
    for (const auto family : {Family::ipv4, Family::ipv6}) {
        // Only the families we speak: over the other one no tie can be decided.
        const bool speaks = has_family(settings_.carp, family) && wire_->can_speak(family);
        const auto address = speaks ? wire_->own_address(family) : std::nullopt;
        if (address)
            instance_.own_address(*address);
        else
            instance_.forget_own_address(family);
    }
    if (own && role() == carp::Role::init) {
        if (loop_.now() < mute_until_) return;
        failures_ = 0;
        const auto note = resume ? notes_.of(vhid()) : std::nullopt;
        const bool goes_on = note && may_resume(*note, settings_.carp, loop_.now());
        perform(goes_on ? instance_.resume(loop_.now()) : instance_.start(loop_.now()));
    } else if (!own) {
        const auto& link = wire_->link();
        const std::string& name = settings_.carp.interface;
        const std::string because = !link            ? "there is no interface " + name
                                    : !link->works() ? name + " is down"
                                                     : name + " has no address of its own to speak from";
        if (role() != carp::Role::init) take(carp::LinkLost{because});
        because_ = because;
    }
}

void Group::hear(const carp::Advert& advert, const carp::Packet& packet) {
    const auto& source = packet.envelope.source;
    const auto heard = instance_.hear(advert, packet, loop_.now(), Loop::wall());
    if (heard.refused) {
        if (on_refusal) on_refusal(*heard.refused, source);
        return;
    }
    auto& known = advert.presence ? standbys_ : peers_;
    (advert.presence ? peers_ : standbys_).erase(source);
    if (known.size() < most_peers || known.contains(source))
        known[source] = {advert, loop_.now(), heard.trailer, heard.doubt, heard.other_vips};
    if (heard.news != carp::Replay::News::nothing && on_news) on_news(heard.news, source, *heard.trailer);
    perform(heard.deeds);
}

void Group::wake() {
    if (instance_.overslept(loop_.now())) perform(instance_.wake(loop_.now()));
}

void Group::take(const carp::Event& event) { perform(instance_.take(event, loop_.now())); }

void Group::change(link::VhidSettings settings) {
    settings_ = std::move(settings);
    perform(instance_.change(settings_.carp, loop_.now()));
    look(false);
}

void Group::due() {
    const Duration slip = loop_.now() - instance_.deadline();
    worst_slip_ = std::max(worst_slip_, slip);
    const auto& us = settings_.carp;
    const auto sent = carp::sent_skew(us, instance_.state().demotion);
    if (role() == carp::Role::master && slip > carp::least_patience(us, sent) / 2) told_.slipped(*this, slip);
    // An advert that has arrived counts before a patience that has ended: the loop does not promise their order.
    wire_->hear_what_waits();
    if (loop_.now() < instance_.deadline()) return arm();
    take(carp::DeadlinePassed{});
}

void Group::perform(const std::vector<carp::Deed>& deeds) {
    for (const auto& deed : deeds) {
        if (const auto* advert = std::get_if<carp::Send>(&deed)) {
            const auto* next = &deed == &deeds.back() ? nullptr : std::get_if<carp::RoleChanged>(&deed + 1);
            const bool takes_over = next && next->to == carp::Role::master;
            bool left = send(*advert);
            for (unsigned n = 1; takes_over && !left && n < most_failures; ++n) left = send(*advert);
            if (takes_over && !left) break;  // nobody can have heard of it: nothing is taken
        } else if (const auto* change = std::get_if<carp::RoleChanged>(&deed)) {
            because_ = change->because;
            notes_.note(vhid(), {change->to, change->to == carp::Role::master ? loop_.now() : Instant{}});
            told_.role(*this, *change);
        } else if (std::holds_alternative<carp::HandingOver>(deed)) {
            notes_.note(vhid(), {carp::Role::backup, {}});
            told_.leased(*this);
        } else if (const auto* prepare = std::get_if<carp::Prepare>(&deed)) {
            told_.prepare(*this, prepare->wanted);
        } else {
            told_.announce_again(*this, std::get<carp::AnnounceAgain>(deed).because);
        }
    }
    // Stopped in the middle of this very turn: what was decided before it counts no more.
    if (instance_.overslept(Loop::clock())) return perform(instance_.wake(Loop::clock()));
    arm();
}

// Whether anybody can have heard it.
bool Group::send(const carp::Send& what) {
    const Instant said = Loop::clock();
    if (instance_.overslept(said)) return true;  // perform() sees to it
    if (what.only) {
        speak_to(*what.only, what);
        return true;
    }
    bool left = false;
    unsent_ = "no address to speak from";
    for (int copy = 0; copy < what.copies; ++copy) {
        for (const auto family : {Family::ipv4, Family::ipv6}) {
            if (!has_family(settings_.carp, family) || !wire_->can_speak(family)) continue;
            const auto done = wire_->send(family, settings_.carp.peers, [&](const carp::Envelope& way) {
                return instance_.bytes(what, way, said, Loop::wall());
            });
            left |= done.has_value();
            if (!done) unsent_ = done.error().story;
        }
    }
    if (left) {
        failures_ = 0;
        if (role() != carp::Role::master) return true;
        instance_.advert_left(said);
        if (instance_.state().handing_to == 0) notes_.note(vhid(), {carp::Role::master, said});
        told_.leased(*this);
        return true;
    }
    // Told from the loop and not from here: the answer may be to leave, and we are in the middle of a list of deeds.
    if (++failures_ < most_failures) return false;
    mute_until_ = loop_.now() + mute_for;
    told_.silent(*this, unsent_);
    return false;
}

// A backup's word to its master. If it does not arrive, the next one will.
void Group::speak_to(const IpAddress& peer, const carp::Send& what) {
    if (!wire_->can_speak(peer.family())) return;
    (void)wire_->send(peer.family(), {peer}, [&](const carp::Envelope& way) {
        return instance_.bytes(what, way, Loop::clock(), Loop::wall());
    });
}

void Group::arm() { Loop::move(timer_, instance_.deadline()); }

}  // namespace koi::speaker
