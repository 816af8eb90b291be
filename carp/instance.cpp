#include "carp/instance.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "supervisor/base/check.h"

namespace koi::carp {

namespace {

Seal seal_of(const Settings& s) { return Seal(s.vhid, s.addresses, s.password, s.link_local); }

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
    ++counters_.accepted;
    const Duration interval = heard.trailer ? std::chrono::milliseconds(heard.trailer->interval_ms) : Duration{};
    heard.deeds = advert.presence ? wake(now) : take(Heard{advert, source, interval}, now);
    return heard;
}

std::vector<std::uint8_t> Instance::bytes(const Send& what, const Envelope& way, Instant now, WallTime wall) {
    Advert advert = what.advert;
    advert.counter = counter_.next(wall);
    advert.digest = seal_.sign(advert.counter);
    const bool pseudo = settings_.v6_checksum == V6Checksum::pseudo;
    const auto head = pseudo ? encode_pseudo(advert, way) : encode(advert);
    if (!guard_.signs()) return {head.begin(), head.end()};
    Trailer t;
    t.clock = Counter::tells_time(advert.counter, wall);
    if (settings_.interval > 0us)
        t.interval_ms = static_cast<std::uint16_t>(beat(settings_, settings_.advskew) / 1ms);
    t.session = counter_.session();
    t.sender = counter_.sender();
    t.configuration = condition_.configuration;
    t.healthy = condition_.healthy;
    t.backends = condition_.backends;
    return guard_.sign(head, t, way, now);
}

std::vector<Deed> Instance::change(Settings settings, Instant now) {
    KOI_CHECK(settings.vhid == settings_.vhid);
    if (!same_seal(settings, settings_)) {
        previous_seal_ = std::move(seal_);
        previous_until_ = now + grace;
        seal_ = seal_of(settings);
    }
    if (settings.auth != settings_.auth) guard_.change(settings.auth, now);
    auto deeds = wake(now);  // by the old lease
    const Settings before = std::exchange(settings_, std::move(settings));
    std::ranges::move(perform(carp::change(before, settings_, state_, now), now), std::back_inserter(deeds));
    return deeds;
}

// The cheap questions come before the digests, so that a flood of strangers costs little.
std::optional<Refusal> Instance::objection(const Advert& advert, const IpAddress& source) const {
    if (advert.vhid != settings_.vhid) return Refusal::unknown_vhid;
    if (own_.of(source.family()) == source) return Refusal::own_echo;
    const auto& peers = settings_.peers;
    if (!peers.empty() && std::ranges::find(peers, source) == peers.end()) return Refusal::not_a_peer;
    if (advert.presence && !guard_.signs()) return Refusal::wrong_version;
    return std::nullopt;
}

bool Instance::digest_fits(const Advert& advert, Instant now) const {
    const bool in_grace = previous_seal_ && now < previous_until_;
    return seal_.accepts(advert) || (in_grace && previous_seal_->accepts(advert));
}

std::vector<Deed> Instance::perform(Step next, Instant now) {
    // A new master's first advert leaves in this turn. If it does not, silence counts from here.
    if (state_.role != Role::master && next.next.role == Role::master) last_left_ = now;
    state_ = std::move(next.next);
    std::vector<Deed> deeds;
    for (auto& action : next.actions) {
        if (std::holds_alternative<SendAdvert>(action)) {
            ++counters_.sent;
            deeds.emplace_back(Send{claim_advert(settings_, state_), 1});
        } else if (std::holds_alternative<SendBowOut>(action)) {
            ++counters_.bow_outs_sent;
            deeds.emplace_back(Send{bow_out_advert(settings_), 2});  // 10: it has no successor to make up for it
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
