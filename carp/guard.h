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
// A reload is not the same moment on every node. For a minute after one we sign as before, and for two we believe the
// keys of before, too: every change of keys is safe that all nodes learn within a minute, in any order. A mode counts
// at once; and a process that starts knows of no before.
//
// Order of the questions: shape, key, replay table, tag. So what a stranger sends costs little, and nothing is
// remembered before the tag is good.
#pragma once

#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "carp/replay.h"
#include "carp/settings.h"
#include "carp/trailer.h"

namespace koi::carp {

class Guard {
public:
    // sender: our own id.
    Guard(const Auth&, std::uint64_t sender);
    void change(const Auth&, Instant now);
    void become(std::uint64_t sender) { sender_ = sender; }
    static constexpr Duration grace = 60s;  // signs as before; believes the keys of before for twice as long

    bool reads_trailers() const { return rules_.back().auth.mode != Auth::Mode::off; }
    bool signs(Instant now) const { return signer(now) != nullptr; }
    // Our advert's bytes with a trailer signed by the highest key. Only if signs(now).
    std::vector<std::uint8_t> sign(std::span<const std::uint8_t> advert, Trailer, const Envelope&, Instant now) const;

    struct Verdict {
        std::optional<Refusal> refused;
        std::optional<Trailer> trailer;  // valid
        std::optional<Refusal> doubt;    // heard as plain CARP, although it carries a trailer that is not valid
        Replay::News news = Replay::News::nothing;
    };
    Verdict check(std::span<const std::uint8_t> payload, const Advert&, const Envelope&, Instant now, WallTime);

    // Everything but who we are, for a program that replaces this one.
    struct Whole {
        struct Rule {
            Auth auth;
            Instant signs_until = Instant::max(), counts_until = Instant::max();
            friend bool operator==(const Rule&, const Rule&) = default;
        };
        std::vector<Rule> rules;
        std::vector<std::pair<IpAddress, Instant>> pins;
        std::vector<Replay::Remembered> heard;
        friend bool operator==(const Whole&, const Whole&) = default;
    };
    Whole whole() const;
    void restore(const Whole&);

    Replay& replay() { return replay_; }
    const Replay& replay() const { return replay_; }

private:
    struct Rules {
        explicit Rules(const Auth&);
        Auth auth;
        std::map<std::uint8_t, Hmac> keys;
        Instant signs_until = Instant::max(), counts_until = Instant::max();
    };
    const Rules* signer(Instant now) const;  // null: nobody signs
    Verdict judge(const Rules&, std::span<const std::uint8_t> payload, const Advert&, const Envelope&, Instant now,
                  WallTime) const;
    std::variant<Trailer, Refusal> validate(const Rules&, std::span<const std::uint8_t> payload, const Advert&,
                                            const Envelope&, Instant now, WallTime) const;
    bool is_pinned(const IpAddress& source, Instant now) const;
    void pin(const IpAddress& source, Instant now);

    std::vector<Rules> rules_;  // the oldest that still count first; the last are those of now
    std::uint64_t sender_;
    Replay replay_;
    std::map<IpAddress, Instant> pins_;  // when an address last showed a valid trailer
};

}  // namespace koi::carp
