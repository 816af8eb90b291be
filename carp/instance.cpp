#include "carp/instance.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "supervisor/base/check.h"

namespace koi::carp {

namespace {

constexpr Duration unspoken = 50ms;

Seal seal_of(const Settings& s) { return Seal(s.vhid, s.addresses, s.password, s.link_local); }

std::uint32_t low_half(std::uint64_t id) { return static_cast<std::uint32_t>(id); }

bool same_seal(const Settings& a, const Settings& b) {
    return a.addresses == b.addresses && a.password == b.password && a.link_local == b.link_local;
}

}  // namespace

Instance::Instance(Settings settings, Counter& counter)
    : settings_(std::move(settings)),
      seal_(seal_of(settings_)),
      counter_(counter),
      guard_(settings_.auth, counter.sender()) {}

std::vector<Deed> Instance::resume(Instant now) { return perform(carp::resume(settings_, state_, now), now); }

std::vector<Deed> Instance::take(const Event& event, Instant now) {
    auto deeds = wake(now);
    std::ranges::move(perform(step(settings_, own_, state_, event, now), now), std::back_inserter(deeds));
    return deeds;
}

std::vector<Deed> Instance::wake(Instant now) {
    if (!overslept(now)) return {};
    return perform(step(settings_, own_, state_, Slept{now - last_left_}, now), now);
}

Instance::Reception Instance::hear(const Advert& advert, const Packet& packet, Instant now, WallTime wall) {
    Reception heard;
    const auto& source = packet.envelope.source;
    heard.refused = objection(advert, source);
    if (!heard.refused) {
        auto verdict = guard_.check(packet.payload, advert, packet.envelope, now, wall);
        heard.refused = verdict.refused;
        heard.doubt = verdict.doubt;
        heard.trailer = verdict.trailer;
        heard.news = verdict.news;
    }
    if (!heard.refused && !digest_fits(advert, now)) {
        if (heard.trailer)
            heard.other_vips = true;
        else
            heard.refused = Refusal::wrong_digest;
    }
    if (heard.refused) {
        refuse(*heard.refused);
        return heard;
    }
    if (advert.presence) {
        const auto& t = *heard.trailer;  // the guard lets none pass without
        heard.deeds = take(Present{source, t.sender, claim_of(advert), t.asks, t.ready}, now);
        return heard;
    }
    ++counters_.accepted;
    Heard what{.advert = advert, .source = source};
    if (const auto& t = heard.trailer) {
        what.interval = std::chrono::milliseconds(t->interval_ms);
        what.sender = t->sender;
        what.leaving = t->leaving;
        what.go = t->go;
        what.to_us = t->to == low_half(counter_.sender());
    }
    heard.deeds = take(what, now);
    return heard;
}

std::vector<std::uint8_t> Instance::bytes(const Send& what, const Envelope& way, Instant now, WallTime wall) {
    Advert advert = what.advert;
    advert.counter = counter_.next(wall);
    advert.digest = seal_.sign(advert.counter);
    const bool pseudo = settings_.v6_checksum == V6Checksum::pseudo;
    const auto head = pseudo ? encode_pseudo(advert, way) : encode(advert);
    if (!guard_.signs(now)) return {head.begin(), head.end()};
    Trailer t;
    t.clock = Counter::tells_time(advert.counter, wall);
    if (settings_.interval > 0us)
        t.interval_ms = static_cast<std::uint16_t>(beat(settings_, settings_.advskew) / 1ms);
    t.session = counter_.session();
    t.sender = counter_.sender();
    t.configuration = condition_.configuration;
    t.healthy = condition_.healthy;
    t.backends = condition_.backends;
    t.leaving = what.leaving;
    t.asks = what.asks;
    t.ready = what.ready;
    t.go = what.go_to != 0;
    t.to = low_half(what.go_to);
    return guard_.sign(head, t, way, now);
}

std::vector<Deed> Instance::change(Settings settings, Instant now) {
    KOI_CHECK(settings.vhid == settings_.vhid);
    if (!same_seal(settings, settings_)) {
        previous_seal_ = std::move(seal_);
        previous_ = settings_;
        previous_until_ = now + grace;
        seal_ = seal_of(settings);
    }
    if (settings.auth != settings_.auth) guard_.change(settings.auth, now);
    auto deeds = wake(now);  // by the old lease
    const Settings before = std::exchange(settings_, std::move(settings));
    std::ranges::move(perform(carp::change(before, settings_, state_, now), now), std::back_inserter(deeds));
    return deeds;
}

Instance::Whole Instance::whole() const {
    return {state_, last_left_, counters_, previous_, previous_until_, guard_.whole()};
}

void Instance::restore(const Whole& w) {
    state_ = w.state;
    last_left_ = w.last_left;
    counters_ = w.counters;
    previous_ = w.previous;
    if (previous_) previous_seal_ = seal_of(*previous_);
    previous_until_ = w.previous_until;
    guard_.restore(w.guard);
}

// The cheap questions come before the digests, so that a flood of strangers costs little.
std::optional<Refusal> Instance::objection(const Advert& advert, const IpAddress& source) const {
    if (advert.vhid != settings_.vhid) return Refusal::unknown_vhid;
    if (own_.of(source.family()) == source) return Refusal::own_echo;
    const auto& peers = settings_.peers;
    if (!peers.empty() && std::ranges::find(peers, source) == peers.end()) return Refusal::not_a_peer;
    if (advert.presence && !guard_.reads_trailers()) return Refusal::wrong_version;
    return std::nullopt;
}

bool Instance::digest_fits(const Advert& advert, Instant now) const {
    const bool in_grace = previous_seal_ && now < previous_until_;
    return seal_.accepts(advert) || (in_grace && previous_seal_->accepts(advert));
}

std::vector<Deed> Instance::perform(Step next, Instant now) {
    // A new master's first advert leaves in this turn. If it does not, silence counts from here.
    const bool takes_over = state_.role != Role::master && next.next.role == Role::master;
    state_ = std::move(next.next);
    if (takes_over) last_left_ = now;
    // Rule 15: it has the addresses before it has spoken. If it hangs in between, they end long before anybody else
    // takes them.
    const bool agreed = takes_over && std::holds_alternative<RoleChanged>(next.actions.front());
    if (agreed) last_left_ = now - lease() + std::min(lease(), unspoken);
    std::vector<Deed> deeds;
    for (auto& action : next.actions) {
        if (std::holds_alternative<SendAdvert>(action)) {
            ++counters_.sent;
            deeds.emplace_back(Send{.advert = claim_advert(settings_, state_), .leaving = !state_.leaving.empty()});
        } else if (std::holds_alternative<SendBowOut>(action)) {
            ++counters_.bow_outs_sent;
            deeds.emplace_back(
                Send{.advert = bow_out_advert(settings_), .copies = 2});  // 10: it has no successor to make up for it
        } else if (const auto* go = std::get_if<SendGo>(&action)) {
            deeds.emplace_back(HandingOver{});
            ++counters_.sent;
            deeds.emplace_back(Send{.advert = claim_advert(settings_, state_), .copies = 2, .go_to = go->to});
        } else if (const auto* presence = std::get_if<SendPresence>(&action)) {
            Send word{.advert = claim_advert(settings_, state_), .only = state_.master};
            word.advert.presence = true;
            word.asks = presence->asks;
            word.ready = state_.prepared;
            if (state_.master) deeds.emplace_back(std::move(word));
        } else if (const auto* prepare = std::get_if<Prepare>(&action)) {
            deeds.emplace_back(*prepare);
        } else if (auto* role = std::get_if<RoleChanged>(&action)) {
            if (role->to == Role::master) ++counters_.became_master;
            deeds.emplace_back(std::move(*role));
        } else {
            deeds.emplace_back(std::get<AnnounceAgain>(std::move(action)));
        }
    }
    return deeds;
}

}  // namespace koi::carp
