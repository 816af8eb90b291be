// supervisor/speaker/lives.h
//
// A koid that dies again and again. systemd starts it anew for ever and at once (StartLimitIntervalSec=0, RestartSec=
// 100ms), because whoever is back within its peers' patience resumes its roles; the pause that grows is ours. It only
// grows over lives that were short, so that one death in a while, whatever its reason, costs nothing.
//
// `lives` under the runtime directory says when the present life began and how many short ones came before it. A
// clean end removes it; that it is there at a start means that the life before was cut short.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "supervisor/base/clock.h"

namespace koi::speaker {

struct Lives {
    unsigned short_ones = 0;  // in a row, before the one that began at:
    Instant began{};
    friend bool operator==(const Lives&, const Lives&) = default;
};
struct NextLife {
    Duration pause{};  // before it begins
    Lives lives;       // for the record; `began` is after the pause
};
constexpr Duration long_enough = 10s;    // a life of that length ends the row
constexpr unsigned free_restarts = 3;    // short lives that cost no pause
constexpr Duration first_pause = 200ms;  // then doubling
constexpr Duration longest_pause = 30s;

NextLife next_life(const std::optional<Lives>& before, Instant now);
std::string to_text(const Lives&);
std::optional<Lives> read_lives(std::string_view);

// Begins this life: reads and writes the record, and waits, if that is due, with systemd's start timeout extended.
// False: asked to end meanwhile.
bool begin_life(const std::string& runtime_directory);
void end_life(const std::string& runtime_directory);  // cleanly

}  // namespace koi::speaker
