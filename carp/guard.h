// carp/guard.h
//
// Who may speak to one vhid: the trailer of an advert against our keys, the modes, and the replay table.
//
//     off       trailers are not read
//     prefer    we send one; an advert without passes, too, unless its source showed a valid one within a day, or
//               legacy_peers names others than its source.
//               No stronger than plain CARP: whoever cuts a trailer off has a plain advert. For a migration.
//     require   nothing without a valid trailer is heard
//
// Order of the questions: shape, key, replay table, tag. So what a stranger sends costs little, and nothing is
// remembered before the tag is good.
#pragma once

#include <map>
#include <optional>

#include "carp/replay.h"
#include "carp/settings.h"
#include "carp/trailer.h"

namespace koi::carp {

class Guard {
public:
    // sender: our own id.
    Guard(const Auth&, std::uint64_t sender);
    // A key that is new and the highest signs only after `grace`, so that every node can learn it first.
    void change(const Auth&, Instant now);
    static constexpr Duration grace = 60s;

    bool signs() const { return auth_.mode != Auth::Mode::off; }
    // Our advert's bytes with a trailer signed by the highest key. Only if signs().
    std::vector<std::uint8_t> sign(std::span<const std::uint8_t> advert, Trailer, const Envelope&, Instant now) const;

    struct Verdict {
        std::optional<Refusal> refused;
        std::optional<Trailer> trailer;  // valid
        std::optional<Refusal> doubt;    // heard as plain CARP, although it carries a trailer that is not valid
        Replay::News news = Replay::News::nothing;
    };
    Verdict check(std::span<const std::uint8_t> payload, const Advert&, const Envelope&, Instant now, WallTime);

    Replay& replay() { return replay_; }
    const Replay& replay() const { return replay_; }

private:
    std::variant<Trailer, Refusal> validate(std::span<const std::uint8_t> payload, const Advert&, const Envelope&,
                                            Instant now, WallTime) const;
    bool is_pinned(const IpAddress& source, Instant now) const;
    void pin(const IpAddress& source, Instant now);

    void learn(const Auth&);

    Auth auth_;
    std::uint64_t sender_;
    std::map<std::uint8_t, Hmac> keys_;
    std::uint8_t before_ = 0;  // the key that signs until then
    Instant before_until_ = Instant::min();
    Replay replay_;
    std::map<IpAddress, Instant> pins_;  // when an address last showed a valid trailer
};

}  // namespace koi::carp
