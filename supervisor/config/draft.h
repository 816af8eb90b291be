// supervisor/config/draft.h
//
// A configuration that has been read but not yet judged: the values, and where each was written, so that a rule about
// two of them can name both places.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "supervisor/config/config.h"
#include "supervisor/config/field.h"

namespace koi::config {

// The place of a thing and of each of its keys.
struct Written {
    Spot whole;
    std::map<std::string, Spot, std::less<>> keys;

    bool has(std::string_view key) const { return keys.contains(key); }
    const Spot& of(std::string_view key) const {
        const auto found = keys.find(key);
        return found == keys.end() ? whole : found->second;
    }
};

// What may stand under `carp:` and, again, in each vip.
struct CarpDraft {
    carp::Settings settings;
    std::string key_file;
    std::map<std::uint8_t, std::string> auth_key_files;
    std::vector<Spot> peer_spots, legacy_spots;
    Written written;
};

struct VipDraft {
    VipGroup group;
    std::vector<Spot> address_spots;  // of group.addresses
    std::vector<Spot> peer_spots;     // of group.carp.peers
    std::vector<Spot> legacy_spots;   // of group.carp.auth.legacy_peers
    bool has_vhid = false;
    Written written;
};

struct ServiceDraft {
    Service service;
    std::optional<ipvs::ServiceKey> at;  // nothing if it could not be read
    bool has_pool = false;
    Written written;
};

struct PoolDraft {
    discovery::PoolSettings settings;
    std::vector<Spot> member_spots;  // of a static source
    Written written;
};

struct Draft {
    Config config;  // node, standby, demote_link; the lists below are moved in at the end
    std::vector<VipDraft> vips;
    std::vector<ServiceDraft> services;
    std::vector<PoolDraft> pools;
    Written written;
};

// The readers, one file each.
CarpDraft read_carp_defaults(const Field&);
std::vector<VipDraft> read_vips(const Field&, const CarpDraft& defaults);
std::vector<ServiceDraft> read_services(const Field&);
std::vector<PoolDraft> read_pools(const Field&);

// What the key files hold, into the vips.
struct KeyFiles {
    std::vector<std::string> named;               // each once
    std::map<std::string, std::string> withheld;  // read.h
};
KeyFiles read_keys(Draft&, const Loader&, Notes&);

}  // namespace koi::config
