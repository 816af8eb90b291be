// supervisor/link/messages.h
//
// What speaker and worker tell each other ↔ bytes. Pure. Whole values, never differences, so that either side may be
// started anew and knows everything after one message of each kind. The speaker trusts the shape of its own worker's
// messages as little as anybody's: decode() never reads past the end and refuses what is out of bounds.
//
// The first byte is the format: an upgrade starts a new worker under an old speaker, and a guess would be worse than
// a refusal. Each release speaks two formats, its own and the one before (supervisor/base/formats.h): what a message
// gains is written under since(), and a message that is new is not spoken in the format before.
//
//     4   of 0.1.0, which tells no formats
//     5   Hello, Begin, Upgrade; the version and the upgrade in Report
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "carp/instance.h"
#include "supervisor/base/formats.h"
#include "supervisor/vip/address_set.h"
#include "supervisor/vip/kernel_addresses.h"

namespace koi::link {

// A build with KOI_FORMAT_RAISED = n speaks as the n-th release after this one would, with a field more than this one
// knows: for tests of two programs that differ.
#ifndef KOI_FORMAT_RAISED
#define KOI_FORMAT_RAISED 0
#endif
inline constexpr Formats formats{4 + KOI_FORMAT_RAISED, 5 + KOI_FORMAT_RAISED};
inline constexpr Formats formats_of_silence{4, 4};  // of a speaker that tells none
inline constexpr const char* formats_variable = "KOID_LINK_FORMATS";
inline constexpr int no_common_format = 76;  // EX_PROTOCOL: the worker's exit code

// ---- worker → speaker ----

struct VhidSettings {
    carp::Settings carp;
    std::vector<Prefix> addresses;  // the vips with their lengths
    friend bool operator==(const VhidSettings&, const VhidSettings&) = default;
};
// What to elect and hold from now on. vhids that are missing are let go of politely.
struct Settings {
    std::string node;
    std::vector<VhidSettings> vhids;
    Demotion demote_link = *Demotion::of(240);
#if KOI_FORMAT_RAISED
    std::string raised = "of a later release";
#endif
    friend bool operator==(const Settings&, const Settings&) = default;
};
// The virtual servers of a vhid are in place (or not) for the mastership that began at `since`; always: they stand on
// a backup as well (standby warm), whatever the role.
struct TableReady {
    Vhid vhid = *Vhid::of(1);
    bool ready = false;
    bool always = false;
    Instant since{};
    bool prepared = false;  // of a backup: because it was told to prepare
    friend bool operator==(const TableReady&, const TableReady&) = default;
};
// What our trailers tell the peers beside our claim.
struct Condition {
    carp::Condition carp;
    friend bool operator==(const Condition&, const Condition&) = default;
};
// How unwell the worker finds this node.
struct Demote {
    Demotion demotion = *Demotion::of(0);
    friend bool operator==(const Demote&, const Demote&) = default;
};
// The operator's wishes.
struct StepDown {
    Vhid vhid = *Vhid::of(1);
    std::string because;
    friend bool operator==(const StepDown&, const StepDown&) = default;
};
struct StepUp {
    Vhid vhid = *Vhid::of(1);
    friend bool operator==(const StepUp&, const StepUp&) = default;
};
// The heartbeat, once a second.
struct Alive {
    friend bool operator==(const Alive&, const Alive&) = default;
};
// What the service manager should hear: READY=1 once, STATUS= whenever it changes.
struct Say {
    bool ready = false;
    std::string status;
    friend bool operator==(const Say&, const Say&) = default;
};
// RELOADING=1 … READY=1
struct Reloading {
    bool begins = false;
    friend bool operator==(const Reloading&, const Reloading&) = default;
};
// Everything of the worker is let go of; it exits now.
struct Left {
    friend bool operator==(const Left&, const Left&) = default;
};

// ---- speaker → worker ----

struct RoleTold {
    Vhid vhid = *Vhid::of(1);
    carp::Role role = carp::Role::init;
    Instant since{};
    std::string because;
    bool prepares = false;  // a backup that wants to lead: its tables shall stand
    friend bool operator==(const RoleTold&, const RoleTold&) = default;
};
// Everything the speaker knows, for status: once a second, and after every change of a role or an address.
struct VipReport {
    vip::Held held;
    bool desired = false;
    bool present = false;
    Instant since{};
    friend bool operator==(const VipReport&, const VipReport&) = default;
};
// The last packet refused for a reason for which a misconfigured peer of ours would be refused, too.
struct RefusalReport {
    carp::Refusal why{};
    IpAddress source;
    Instant at{};
    std::string sentence;  // what is wrong and what to do
    friend bool operator==(const RefusalReport&, const RefusalReport&) = default;
};
struct VhidReport {
    Vhid vhid = *Vhid::of(1);
    std::string interface;
    bool link_works = false;
    carp::Role role = carp::Role::init;
    Instant since{};
    std::string because;
    Demotion demotion = *Demotion::of(0);
    bool stepped_down = false;
    std::optional<IpAddress> own_address;  // source of our adverts
    std::optional<IpAddress> master;       // whom we follow, or last heard
    std::uint8_t master_demotion = 0;
    Duration master_beat{};
    Instant last_heard{};    // epoch: never
    Instant leased_until{};  // epoch: nothing is leased here now
    carp::Counters counters;
    std::uint64_t unplanned_takeovers = 0;  // because a master fell silent
    Duration last_silence{};                // from its last advert until our addresses answered
    std::vector<VipReport> vips;
    std::vector<RefusalReport> refusals;  // one of a reason at most
    friend bool operator==(const VhidReport&, const VhidReport&) = default;
};
struct StrangerReport {
    IpAddress vip;
    vip::Mac mac{};
    Instant last_seen{};
    friend bool operator==(const StrangerReport&, const StrangerReport&) = default;
};
struct PeerReport {
    Vhid vhid = *Vhid::of(1);
    IpAddress address;
    std::uint8_t demotion = 0;
    Duration beat{};
    Instant last_heard{};
    // As its trailer tells, if it has one that is valid.
    std::optional<carp::Condition> condition{};
    bool other_vips = false;               // ours, but with another password or list of vips
    std::optional<carp::Refusal> doubt{};  // heard as plain CARP although it carries a trailer
    bool standby = false;                  // it stands by while we lead
    bool presence = false;                 // last_heard tells when it last said so, not when it last said an advert
    friend bool operator==(const PeerReport&, const PeerReport&) = default;
};
// The last time that the installed programs took over from the running ones, or tried to.
struct UpgradeReport {
    std::uint64_t number = 0;  // 0: never
    bool running = false;
    std::string failed;    // why, and what goes on; empty: it did not
    std::string from, to;  // versions
    friend bool operator==(const UpgradeReport&, const UpgradeReport&) = default;
};
struct Report {
    std::vector<VhidReport> vhids;
    std::vector<StrangerReport> strangers;  // who answers for a vip besides us
    std::vector<PeerReport> peers;          // everybody who was heard and believed
    std::uint64_t worker_restarts = 0;
    Duration worst_slip{};       // how late an advert's timer ran at worst in the last minute
    bool leases = false;         // any vhid wants its vips leased
    std::string lease_missing;   // why the packet filter cannot enforce leases; empty: it can, or none is wanted
    std::string memory_missing;  // why what must outlive a restart cannot be kept on disk; empty: it can
    std::string version = {};    // of the speaker; empty: it does not tell
    UpgradeReport upgrade = {};
#if KOI_FORMAT_RAISED
    std::string raised = "of a later release";
#endif
    friend bool operator==(const Report&, const Report&) = default;
};
// Something happened in the speaker that belongs into `koi events`; it has been logged already.
struct Happened {
    int level = 6;  // syslog's numbers
    std::string event, sentence;
    std::vector<std::pair<std::string, std::string>> fields;
    friend bool operator==(const Happened&, const Happened&) = default;
};
// SIGHUP came.
struct Reload {
    friend bool operator==(const Reload&, const Reload&) = default;
};
// Clean stop: let go of everything, say Left, exit.
struct Leave {
    friend bool operator==(const Leave&, const Leave&) = default;
};

// ---- both ways ----

// Who I am; the first word of a worker, and of a speaker that has just replaced itself. From then on each writes the
// highest format that both speak.
struct Hello {
    Formats formats;
    std::string version;
    bool waits =
        false;  // a worker beside another one: it has read all there is to read, and does nothing until Begin
    friend bool operator==(const Hello&, const Hello&) = default;
};
// To a worker that waits: the other one has gone.
struct Begin {
    friend bool operator==(const Begin&, const Begin&) = default;
};
// To the speaker: the operator wants the installed programs to take over.
struct Upgrade {
    friend bool operator==(const Upgrade&, const Upgrade&) = default;
};

using Message = std::variant<Settings, TableReady, Condition, Demote, StepDown, StepUp, Alive, Say, Reloading, Left,
                             RoleTold, Report, Happened, Reload, Leave, Hello, Begin, Upgrade>;

// Only what is_spoken() in this format, which is one of formats.
std::vector<std::uint8_t> encode(const Message&, std::uint8_t format = formats.highest);
bool is_spoken(const Message&, std::uint8_t format);
std::optional<std::uint8_t> format_of(std::span<const std::uint8_t>);  // whether we speak it or not
std::optional<Message> decode(std::span<const std::uint8_t>);          // in any of formats

}  // namespace koi::link
