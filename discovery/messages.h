// discovery/messages.h
//
// What worker and scout tell each other ↔ bytes. Pure. Whole values, never differences: a scout that was started anew
// needs nothing but the next message.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "discovery/pool.h"

namespace koi::discovery {

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
struct ScoutAlive {};  // heartbeat, once a second

using Message = std::variant<WatchPools, PoolSnapshot, SourceFailed, ScoutAlive>;
std::vector<std::uint8_t> encode(const Message&);
std::optional<Message> decode(std::span<const std::uint8_t>);  // nullopt: not a message of ours

}  // namespace koi::discovery
