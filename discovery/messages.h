// discovery/messages.h
//
// What worker and scout tell each other ↔ bytes. Pure. Whole values, never differences: a scout that was started anew
// needs nothing but the next message.
//
// The first byte is the format, and two are spoken (supervisor/base/formats.h): an upgrade may leave a new scout to
// an old worker.
//
//     1   of 0.1.0: without that byte, the kind's letter comes first
//     2   the scout tells its version
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "discovery/pool.h"
#include "supervisor/base/formats.h"

namespace koi::discovery {

#ifndef KOI_FORMAT_RAISED  // see supervisor/link/messages.h
#define KOI_FORMAT_RAISED 0
#endif
inline constexpr Formats formats{1 + KOI_FORMAT_RAISED, 2 + KOI_FORMAT_RAISED};
inline constexpr Formats formats_of_silence{1, 1};  // of a worker that tells none
inline constexpr const char* formats_variable = "KOID_SCOUT_FORMATS";
inline constexpr int no_common_format = 76;  // EX_PROTOCOL: the scout's exit code

// worker → scout
struct WatchPools {
    std::vector<PoolSettings> pools;
};  // replaces what was watched; unchanged pools go on undisturbed

// scout → worker
struct PoolSnapshot {
    std::string pool;
    Snapshot members;
};
struct SourceFailed {
    std::string pool;
    std::string story;
};
struct ScoutAlive {
    std::string version;  // empty: it does not tell
};                        // heartbeat, once a second; the first at once

using Message = std::variant<WatchPools, PoolSnapshot, SourceFailed, ScoutAlive>;
std::vector<std::uint8_t> encode(const Message&, std::uint8_t format = formats.highest);
std::optional<std::uint8_t> format_of(std::span<const std::uint8_t>);  // whether we speak it or not
std::optional<Message> decode(std::span<const std::uint8_t>);          // nullopt: not a message of ours

}  // namespace koi::discovery
