#include "carp/guard.h"

#include <algorithm>

#include "supervisor/base/check.h"

namespace koi::carp {

namespace {

constexpr Duration pinned_for = 24h;
constexpr std::size_t most_pins = 64;

}  // namespace

Guard::Guard(const Auth& auth, std::uint64_t sender) : sender_(sender) { learn(auth); }

void Guard::change(const Auth& auth, Instant now) {
    if (auth.mode != auth_.mode) pins_.clear();
    const bool led = signs() && !auth.keys.empty();
    const auto last = led ? *auth_.keys.rbegin() : std::pair<const std::uint8_t, std::string>{};
    const auto still = auth.keys.find(last.first);
    if (led && still != auth.keys.end() && still->second == last.second &&
        !auth_.keys.contains(auth.keys.rbegin()->first)) {
        before_ = last.first;
        before_until_ = now + grace;
    }
    learn(auth);
}

void Guard::learn(const Auth& auth) {
    auth_ = auth;
    keys_.clear();
    for (const auto& [id, key] : auth.keys) keys_.try_emplace(id, Hash::sha256, key);
    KOI_CHECK(!signs() || !keys_.empty());
}

std::vector<std::uint8_t> Guard::sign(std::span<const std::uint8_t> advert, Trailer t, const Envelope& way,
                                      Instant now) const {
    const auto before = now < before_until_ ? keys_.find(before_) : keys_.end();
    const auto& [id, key] = before != keys_.end() ? *before : *keys_.rbegin();
    t.key = id;
    return with_trailer(advert, t, key, way);
}

std::variant<Trailer, Refusal> Guard::validate(std::span<const std::uint8_t> payload, const Advert& advert,
                                               const Envelope& way, Instant now, WallTime wall) const {
    const auto read = read_trailer(payload);
    if (std::holds_alternative<std::monostate>(read)) return Refusal::no_trailer;
    if (const auto* refusal = std::get_if<Refusal>(&read)) return *refusal;
    const auto& trailer = std::get<Trailer>(read);
    const auto key = keys_.find(trailer.key);
    if (key == keys_.end()) return Refusal::unknown_key;
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
    if (auth_.mode == Auth::Mode::off) return {};
    Verdict verdict;
    const auto found = validate(payload, advert, way, now, wall);
    if (const auto* trailer = std::get_if<Trailer>(&found)) {
        verdict.trailer = *trailer;
        verdict.news = replay_.remember(*trailer, advert.counter, way.source.family(), now);
        pin(way.source, now);
        return verdict;
    }
    const Refusal refusal = std::get<Refusal>(found);
    // One of ours said this, at another time or with our own voice: that is no plain advert.
    const bool was_ours = refusal == Refusal::replayed || refusal == Refusal::cloned ||
                          refusal == Refusal::stale_clock || refusal == Refusal::table_full;
    const auto& legacy = auth_.legacy_peers;
    const bool listed = legacy.empty() || std::ranges::find(legacy, way.source) != legacy.end();
    const bool plain = auth_.mode == Auth::Mode::prefer && listed && !advert.presence && !was_ours;
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
    if (std::ranges::find(auth_.legacy_peers, source) != auth_.legacy_peers.end()) return;
    std::erase_if(pins_, [&](const auto& p) { return now - p.second >= pinned_for; });
    if (pins_.size() < most_pins || pins_.contains(source)) pins_[source] = now;
}

}  // namespace koi::carp
