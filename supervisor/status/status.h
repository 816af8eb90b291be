// supervisor/status/status.h
//
// What Koi shows is one value; JSON, YAML, terminal text and metrics are pure functions of it, so they cannot
// disagree. Instants are CLOCK_BOOTTIME; `wall` and `at` are read together once and turn them into times of day.
//
// JSON: names are stable; durations are numbers of seconds with the suffix _seconds, instants RFC 3339 strings (UTC),
// bytes and packets plain counts, rates per second with the suffix _per_second. A thing that is not known is null or
// missing.
//
// Text: at most 100 columns, aligned, says first what is wrong and since when; colour only where the caller says so.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "ipvs/table.h"
#include "supervisor/base/clock.h"
#include "supervisor/config/config.h"
#include "supervisor/link/messages.h"

namespace koi::status {

// Something desired that cannot be had, or a danger seen. `what` is a stable word (ipvs, address, source, host, link,
// stranger, peer_key, reload …), `about` names the thing (a vip, a pool, a service; may be empty).
struct Trouble {
    std::string what;
    std::string about;
    std::string sentence;  // with the remedy
    bool warning = false;  // true: traffic flows, but look at it
    Instant since{};
    friend bool operator==(const Trouble&, const Trouble&) = default;
};

struct BackendStatus {
    ipvs::BackendKey key;
    std::optional<std::uint32_t> desired_weight;   // nullopt: should not be there
    std::optional<std::uint32_t> observed_weight;  // nullopt: is not there
    bool draining = false;
    bool sorry = false;
    ipvs::BackendCounters counters;
};
struct ServiceStatus {
    std::string name;  // "" for a foreign one
    ipvs::ServiceKey at;
    ipvs::Service settings;
    std::string forward;  // "nat", "dr", "tun ipip"
    std::string pool;
    std::optional<Vhid> vhid;
    bool desired = false, observed = false, foreign = false;
    ipvs::Traffic traffic;
    std::vector<BackendStatus> backends;
};
struct PoolMemberStatus {
    Endpoint endpoint;
    Weight weight;
    std::optional<Instant> draining_until;
};
struct PoolStatus {
    std::string name;
    std::string source;  // "file /etc/koi/web.backends"
    bool known = false;  // a snapshot was heard
    bool from_disk = false;
    std::vector<PoolMemberStatus> members;
    Instant changed{}, heard{};
    std::optional<Instant> empty_since;  // held and questioned
    std::optional<std::string> failure;
    Instant failing_since{};
};
struct Event {
    std::uint64_t number = 0;  // grows by one; for `koi events -f`
    Instant at{};
    int level = 6;  // syslog's numbers
    std::string event, sentence;
    std::vector<std::pair<std::string, std::string>> fields;
};

struct Status {
    std::string node, version, configuration;
    Instant at{}, started{}, configured{};
    std::chrono::system_clock::time_point wall{};
    std::string standby;                     // "cold, because …"
    std::string datapath;                    // "ip_vs", or why there is none
    std::uint64_t configuration_digest = 0;  // config/digest.h
    std::map<Vhid, bool> preempt;            // as configured
    bool speaker_known = false;
    link::Report speaker;
    std::vector<ServiceStatus> services;  // ours first, in configuration order, then foreign ones
    std::vector<PoolStatus> pools;
    std::vector<Trouble> troubles;                 // worst first, then oldest
    std::string scout_version, installed_version;  // empty: not known; the speaker's is in its report
    std::uint64_t repairs = 0;                     // changes made by somebody else that were put right
};

// A peer tells in its trailer that it runs another configuration than this node does.
bool other_configuration(std::uint64_t ours, const link::PeerReport&);

// What became of a peer's trailer: valid, none, or why it is not believed.
std::string trailer_word(const link::PeerReport&);

// The parts of `koi show`.
enum class Part { all, roles, vips, services, pools, sources, troubles, peers };
std::optional<Part> part_of(std::string_view word);

std::string as_json(const Status&, Part = Part::all);  // pretty, two spaces
std::string as_yaml(const Status&, Part = Part::all);
struct Style {
    bool colour = false;
    unsigned columns = 100;
};
std::string as_text(const Status&, Part, Style);
std::string as_metrics(const Status&);  // Prometheus text format, names koi_*
// One line for systemd's STATUS=: "master of 51, backup of 52; 2 services, 5 of 6 backends; 1 trouble: …"
std::string as_line(const Status&);

std::string event_json(const Event&, const Status& times);  // one line, for NDJSON
std::string event_text(const Event&, std::chrono::system_clock::time_point when, Style);

}  // namespace koi::status
