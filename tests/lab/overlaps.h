// tests/lab/overlaps.h
//
// Watches over the fourth law (law.h): every stretch of time in which two nodes answer has a kind, and each kind an
// end.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "tests/lab/lab.h"

namespace koi::lab {

class Overlaps {
public:
    enum class Kind { unknowable, in_flight, unanswered, impatient, woken, prolonged };
    static constexpr std::size_t kinds = 6;
    static std::string_view name(Kind);

    struct Tally {
        std::array<std::uint64_t, kinds> seen{};
        std::array<Duration, kinds> longest{};
        void add(const Tally&);
    };

    explicit Overlaps(Lab&);  // for labs of at most four nodes; the lab must outlive it
    void look();              // after everything that happened

    const std::string& broken() const { return broken_; }  // empty: it held so far
    const Tally& tally() const { return tally_; }

private:
    static constexpr std::size_t most = 4;

    struct Past {
        bool awake = false;
        Instant awake_since = Instant::min();
        // The last time it began to answer. 0: never.
        unsigned reign = 0;
        Instant own_since = Instant::min();  // by its own clock
        Instant took_over{};
        bool by_silence = false;
        bool gave_way = false;  // it handed over in vain
        Duration lease{};       // the longest it may have, since it spoke last
        // How it waited before that.
        Instant own_waits_from = Instant::min(), waits_from{};
        Duration patience{};
        std::optional<IpAddress> follows;
    };
    struct Episode {
        unsigned older = 0, newer = 0;  // reigns
        Kind kind{};
        Instant began{}, until = Instant::min(), measured{};
        Instant end = Instant::max();               // when it must be over
        Instant unanswered_until = Instant::min();  // or then, because an answer was withheld
    };

    const Node& node(std::size_t n) const { return *lab_.nodes()[n]; }
    void look(const Node&);
    void see(const Lab::Overlap&);
    std::optional<Kind> kind_of(std::size_t older, std::size_t newer, Instant now) const;
    bool slept_through(std::size_t n, Instant since) const { return node(n).woke_from_pause() > since; }
    Instant last_missed(std::size_t a, std::size_t b) const;
    void measure(std::size_t older, std::size_t newer, Episode&);
    void change_kind(Episode&, Kind);
    void complain(std::size_t older, std::size_t newer, const Lab::Overlap&, std::string why);

    Lab& lab_;
    std::array<Past, most> past_;
    std::array<Episode, most * most> episodes_;
    unsigned reigns_ = 0;
    Tally tally_;
    std::string broken_;
};

}  // namespace koi::lab
