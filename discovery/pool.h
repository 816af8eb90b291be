// discovery/pool.h
//
// Who can do the work: what sources say, and what is believed of it. Pure; knows no clock, no file.
//
// A source delivers whole snapshots or says why it cannot; a failure is never an empty list. believe() and fail()
// turn that into a pool's state, and adopt() what an earlier life has left in the table:
//
//   1. A failure changes no member. How long it has lasted is kept, so that status can say how old the list is.
//   2. A snapshot replaces the members. A member that is gone drains: it keeps its connections at weight 0 until the
//      time of `drain` has passed, or the worker finds it idle. One that comes back meanwhile is a member again.
//   3. An empty snapshot where there were members is held and questioned for hold_empty: the members stay. If it is
//      still empty then, it is believed. A non-empty snapshot meanwhile ends the question. While the source fails the
//      question stays open: a failure does not say that the list is still empty.
//   4. Whoever is found in the table once the members are known, and is none of them, was one in an earlier life, of
//      which no more is known: it drains as if it had left now. Asked once in a life; what appears later is not ours.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "supervisor/base/address.h"
#include "supervisor/base/clock.h"
#include "supervisor/base/types.h"

namespace koi::discovery {

// One line of a source: what it said, no more.
struct Member {
    IpAddress address;
    std::optional<Port> port;
    std::optional<Weight> weight;
    friend auto operator<=>(const Member&, const Member&) = default;
};

enum class FileFormat { automatic, lines, json, yaml };  // automatic: by the name's ending, else lines
struct StaticSource {
    std::vector<Member> members;
    friend bool operator==(const StaticSource&, const StaticSource&) = default;
};
struct FileSource {
    std::string path;
    FileFormat format = FileFormat::automatic;
    friend bool operator==(const FileSource&, const FileSource&) = default;
};
using SourceSettings = std::variant<StaticSource, FileSource>;
std::string text(const SourceSettings&);  // "file /etc/koi/web.backends", "static, 3 members"

struct PoolSettings {
    std::string name;
    SourceSettings source;
    Weight weight = *Weight::of(1);  // where the source gives none
    std::optional<Port> port;        // where the source gives none
    Duration hold_empty = 30s;       // guard.hold_empty; 0: believe an empty list at once
    Duration drain = 30s;            // 0: a removed backend is removed at once
    friend bool operator==(const PoolSettings&, const PoolSettings&) = default;
};

using Snapshot = std::map<Endpoint, Weight>;
// Members with the pool's defaults filled in. A member without a port in a pool without one, or a place given twice
// with different weights, is a complaint.
std::variant<Snapshot, std::string> resolve(const std::vector<Member>&, const PoolSettings&);

struct Pool {
    std::optional<Snapshot> members;       // nullopt: never heard of; then nothing may be concluded from it
    std::map<Endpoint, Instant> draining;  // until when at the latest
    Instant changed{};                     // when members last changed
    Instant heard{};                       // when the source last delivered a snapshot
    std::optional<Instant> empty_since;    // rule 3: the question is open
    std::optional<std::string> failure;    // why the source cannot
    Instant failing_since{};
    bool from_disk = false;  // members are the last known list of an earlier run
    bool adopted = false;    // rule 4 was asked
};

Pool believe(Pool, const Snapshot&, const PoolSettings&, Instant now);
Pool fail(Pool, std::string story, Instant now);
bool may_adopt(const Pool&);  // rule 4: the time is now
Pool adopt(Pool, const std::set<Endpoint>& found, const PoolSettings&, Instant now);
Pool pass_time(Pool, const PoolSettings&, Instant now);   // ends drains and questions whose time has come
Pool drained(Pool, const Endpoint&);                      // idle: need not be kept any longer
Instant next_deadline(const Pool&, const PoolSettings&);  // Instant::max(): nothing to wait for

}  // namespace koi::discovery
