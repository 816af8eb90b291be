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

Instance::Instance(Settings settings, std::uint64_t first_counter)
    : settings_(std::move(settings)), seal_(seal_of(settings_)), counter_(first_counter) {}

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

std::vector<Deed> Instance::hear(const Advert& advert, const IpAddress& source, Instant now,
                                 std::optional<Refusal>& why) {
    why = objection(advert, source, now);
    if (why) {
        refuse(*why);
        return {};
    }
    ++counters_.accepted;
    return take(Heard{advert, source}, now);
}

std::vector<Deed> Instance::change(Settings settings, Instant now) {
    KOI_CHECK(settings.vhid == settings_.vhid);
    if (!same_seal(settings, settings_)) {
        previous_seal_ = std::move(seal_);
        previous_until_ = now + grace;
        seal_ = seal_of(settings);
    }
    auto deeds = wake(now);  // by the old lease
    const Settings before = std::exchange(settings_, std::move(settings));
    std::ranges::move(perform(carp::change(before, settings_, state_, now), now), std::back_inserter(deeds));
    return deeds;
}

// The cheap questions come before the digest, so that a flood of strangers costs little.
std::optional<Refusal> Instance::objection(const Advert& advert, const IpAddress& source, Instant now) const {
    if (advert.vhid != settings_.vhid) return Refusal::unknown_vhid;
    if (own_.of(source.family()) == source) return Refusal::own_echo;
    const auto& peers = settings_.peers;
    if (!peers.empty() && std::ranges::find(peers, source) == peers.end()) return Refusal::not_a_peer;
    const bool in_grace = previous_seal_ && now < previous_until_;
    if (seal_.accepts(advert) || (in_grace && previous_seal_->accepts(advert))) return std::nullopt;
    return Refusal::wrong_digest;
}

std::vector<Deed> Instance::perform(Step next, Instant now) {
    // A new master's first advert leaves in this turn. If it does not, silence counts from here.
    if (state_.role != Role::master && next.next.role == Role::master) last_left_ = now;
    state_ = std::move(next.next);
    std::vector<Deed> deeds;
    for (auto& action : next.actions) {
        if (std::holds_alternative<SendAdvert>(action)) {
            ++counters_.sent;
            deeds.emplace_back(sealed(claim_advert(settings_, state_), 1));
        } else if (std::holds_alternative<SendBowOut>(action)) {
            ++counters_.bow_outs_sent;
            deeds.emplace_back(
                sealed(bow_out_advert(settings_), 2));  // rule 10: it has no successor that could make up for it
        } else if (auto* role = std::get_if<RoleChanged>(&action)) {
            if (role->to == Role::master) ++counters_.became_master;
            deeds.emplace_back(std::move(*role));
        } else {
            deeds.emplace_back(std::get<AnnounceAgain>(std::move(action)));
        }
    }
    return deeds;
}

Send Instance::sealed(Advert advert, int copies) {
    advert.counter = counter_++;
    advert.digest = seal_.sign(advert.counter);
    return {advert, copies};
}

}  // namespace koi::carp
