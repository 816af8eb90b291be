// supervisor/config/config.h
//
// What the operator asked for, as plain structs. Every value is inside its bounds: read.h is the only way in. The
// YAML keys, their defaults and units stand in docs/configuration.md and koi.yaml(5); a field is named as its key.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "carp/settings.h"
#include "discovery/pool.h"
#include "ipvs/table.h"
#include "supervisor/vip/address_set.h"

namespace koi::config {

struct VipGroup {                   // one entry of `vips:`
    carp::Settings carp;            // with the defaults of `carp:` filled in; addresses = those of `addresses`
    std::vector<Prefix> addresses;  // as written, with their lengths
    std::string key_file;
    std::map<std::uint8_t, std::string> auth_key_files;  // by id; what they hold is in carp.auth
    friend bool operator==(const VipGroup&, const VipGroup&) = default;
};

struct Service {
    std::string name;
    ipvs::ServiceKey at;  // `at:` or `fwmark:` with `family:`
    std::string pool;
    ipvs::Service settings;  // scheduler, scheduler_flags, persistence, granularity, engine, one_packet
    ipvs::Forward forward = ipvs::Forward::nat;
    ipvs::Tunnel tunnel = ipvs::Tunnel::ipip;
    std::uint16_t tunnel_port = 0;  // gue
    std::uint32_t upper_threshold = 0, lower_threshold = 0;
    std::optional<Endpoint> sorry_server;  // serves alone while the pool has no backend with weight
    std::optional<Vhid> vhid;              // who owns its address; none for fwmark: served while any vhid leads here
    friend bool operator==(const Service&, const Service&) = default;
};

enum class Standby { automatic, cold, warm };

struct Config {
    std::string node;  // default: host name
    std::vector<VipGroup> vips;
    std::vector<Service> services;
    std::vector<discovery::PoolSettings> pools;
    Standby standby = Standby::automatic;
    Demotion demote_link = *Demotion::of(240);  // demote.link: for each interface of another vhid that is down
    friend bool operator==(const Config&, const Config&) = default;

    const discovery::PoolSettings* pool(const std::string& name) const;
};

// What `standby` means for this configuration, and why: "because the table has 12 entries (warm above 500)". Counted
// are services and static members: how many a file will name is not known before it is read.
struct StandbyChoice {
    bool warm;
    std::string because;
};
StandbyChoice standby(const Config&);

}  // namespace koi::config
