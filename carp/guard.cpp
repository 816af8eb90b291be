#include "carp/guard.h"

#include <algorithm>

#include "supervisor/base/check.h"

namespace koi::carp {

namespace {

constexpr Duration pinned_for = 24h;
constexpr std::size_t most_pins = 64;

// One of ours said this, at another time or with our own voice: that is no plain advert.
bool was_ours(Refusal why) {
    return why == Refusal::replayed || why == Refusal::cloned || why == Refusal::stale_clock ||
           why == Refusal::table_full;
}

Guard::Verdict accepted(const Trailer& t) {
    Guard::Verdict verdict;
    verdict.trailer = t;
    return verdict;
}

}  // namespace

Guard::Rules::Rules(const Auth& a) : auth(a) {
    for (const auto& [id, key] : a.keys) keys.try_emplace(id, Hash::sha256, key);
    KOI_CHECK(a.mode == Auth::Mode::off || !keys.empty());
}

Guard::Guard(const Auth& auth, std::uint64_t sender) : sender_(sender) { rules_.emplace_back(auth); }

void Guard::change(const Auth& auth, Instant now) {
    const auto& before = rules_.back().auth;
    if (auth == before) return;
    // Whoever goes on to require has no plain adverts to fear; else an address that signed may stop to do so.
    if (auth.mode != before.mode && auth.mode != Auth::Mode::require) pins_.clear();
    std::erase_if(rules_, [&](const auto& r) { return r.counts_until <= now; });
    rules_.back().signs_until = now + grace;
    rules_.back().counts_until = now + 2 * grace;
    rules_.emplace_back(auth);
}

Guard::Whole Guard::whole() const {
    Whole all;
    for (const auto& r : rules_) all.rules.push_back({r.auth, r.signs_until, r.counts_until});
    all.pins.assign(pins_.begin(), pins_.end());
    all.heard = replay_.whole();
    return all;
}

void Guard::restore(const Whole& all) {
    rules_.clear();
    for (const auto& r : all.rules) {
        rules_.emplace_back(r.auth);
        rules_.back().signs_until = r.signs_until;
        rules_.back().counts_until = r.counts_until;
    }
    KOI_CHECK(!rules_.empty());
    pins_ = {all.pins.begin(), all.pins.end()};
    replay_.restore(all.heard);
}

const Guard::Rules* Guard::signer(Instant now) const {
    const auto found = std::ranges::find_if(
        rules_, [&](const auto& r) { return r.signs_until > now && r.auth.mode != Auth::Mode::off; });
    return found == rules_.end() ? nullptr : &*found;
}

std::vector<std::uint8_t> Guard::sign(std::span<const std::uint8_t> advert, Trailer t, const Envelope& way,
                                      Instant now) const {
    const auto& [id, key] = *signer(now)->keys.rbegin();
    t.key = id;
    return with_trailer(advert, t, key, way);
}

std::variant<Trailer, Refusal> Guard::validate(const Rules& rules, std::span<const std::uint8_t> payload,
                                               const Advert& advert, const Envelope& way, Instant now,
                                               WallTime wall) const {
    const auto read = read_trailer(payload);
    if (std::holds_alternative<std::monostate>(read)) return Refusal::no_trailer;
    if (const auto* refusal = std::get_if<Refusal>(&read)) return *refusal;
    const auto& trailer = std::get<Trailer>(read);
    const auto key = rules.keys.find(trailer.key);
    if (key == rules.keys.end()) return Refusal::unknown_key;
    const bool is_us = trailer.sender == sender_;
    if (!is_us)
        if (const auto refusal = replay_.judge(trailer, advert.counter, way.source.family(), now, wall))
            return *refusal;
    if (!tag_fits(payload, key->second, way)) return Refusal::wrong_tag;
    if (is_us) return Refusal::cloned;
    return trailer;
}

Guard::Verdict Guard::check(std::span<const std::uint8_t> payload, const Advert& advert, const Envelope& way,
                            Instant now, WallTime wall) {
    Verdict verdict = judge(rules_.back(), payload, advert, way, now, wall);
    for (auto before = rules_.rbegin() + 1; before != rules_.rend(); ++before) {
        const bool another_key = verdict.refused == Refusal::unknown_key || verdict.refused == Refusal::wrong_tag;
        if (!another_key) break;
        if (before->counts_until <= now) continue;
        const auto found = validate(*before, payload, advert, way, now, wall);
        if (const auto* trailer = std::get_if<Trailer>(&found))
            verdict = accepted(*trailer);
        else if (was_ours(std::get<Refusal>(found)))
            verdict.refused = std::get<Refusal>(found);
    }
    if (!verdict.trailer) return verdict;
    verdict.news = replay_.remember(*verdict.trailer, advert.counter, way.source.family(), now);
    pin(way.source, now);
    return verdict;
}

Guard::Verdict Guard::judge(const Rules& rules, std::span<const std::uint8_t> payload, const Advert& advert,
                            const Envelope& way, Instant now, WallTime wall) const {
    Verdict verdict;
    const auto& auth = rules.auth;
    if (auth.mode == Auth::Mode::off) {
        if (advert.presence) verdict.refused = Refusal::wrong_version;  // plain CARP knows none
        return verdict;
    }
    const auto found = validate(rules, payload, advert, way, now, wall);
    if (const auto* trailer = std::get_if<Trailer>(&found)) return accepted(*trailer);
    const Refusal refusal = std::get<Refusal>(found);
    const bool listed =
        auth.legacy_peers.empty() || std::ranges::find(auth.legacy_peers, way.source) != auth.legacy_peers.end();
    const bool plain = auth.mode == Auth::Mode::prefer && listed && !advert.presence && !was_ours(refusal);
    if (!plain || is_pinned(way.source, now)) {
        verdict.refused = refusal;
    } else if (refusal != Refusal::no_trailer) {
        verdict.doubt = refusal;
    }
    return verdict;
}

bool Guard::is_pinned(const IpAddress& source, Instant now) const {
    const auto at = pins_.find(source);
    return at != pins_.end() && now - at->second < pinned_for;
}

void Guard::pin(const IpAddress& source, Instant now) {
    const auto& legacy = rules_.back().auth.legacy_peers;
    if (std::ranges::find(legacy, source) != legacy.end()) return;
    std::erase_if(pins_, [&](const auto& p) { return now - p.second >= pinned_for; });
    if (pins_.size() < most_pins || pins_.contains(source)) pins_[source] = now;
}

}  // namespace koi::carp
