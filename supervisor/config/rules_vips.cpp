#include <algorithm>

#include "discovery/quote.h"
#include "supervisor/config/rules.h"
#include "supervisor/config/rules_parts.h"

namespace koi::config {

namespace {

bool is_broadcast(const IpAddress& address) {
    return address.is_v4() && std::ranges::all_of(address.bytes(), [](auto byte) { return byte == 255; });
}

// Rule 4. Networks of two addresses (/31, /127) have neither network nor broadcast address.
void check_address(const Prefix& vip, const Spot& spot, Notes& notes) {
    const auto& address = vip.address;
    const auto refuse = [&](const char* why) { notes.complain(spot, address.text() + why); };
    if (address.is_unspecified()) return refuse(" is no address; write the one that clients use");
    if (address.is_multicast()) return refuse(" is a multicast address; a vip is an address of its own");
    if (address.is_loopback()) return refuse(" is a loopback address, which no client can reach");
    if (is_broadcast(address)) return refuse(" is the broadcast address; a vip is an address of its own");
    if (vip.length == 0)
        return notes.complain(spot,
                              discovery::shown(vip.text()) +
                                  " makes the whole internet a neighbour; write the length of the network, or " +
                                  std::to_string(address.full_length()));
    if (!address.is_v4() || vip.length > 30) return;
    std::array<std::uint8_t, 4> first{}, last{};
    for (unsigned i = 0; i < 4; ++i) {
        const auto bits = std::clamp(static_cast<int>(vip.length) - static_cast<int>(8 * i), 0, 8);
        const auto mask = static_cast<std::uint8_t>(0xFF << (8 - bits));
        first[i] = static_cast<std::uint8_t>(address.bytes()[i] & mask);
        last[i] = static_cast<std::uint8_t>(address.bytes()[i] | static_cast<std::uint8_t>(~mask));
    }
    if (address == IpAddress::v4(first)) notes.warn(spot, vip.text() + " is the address of the network itself");
    if (address == IpAddress::v4(last)) notes.warn(spot, vip.text() + " is the broadcast address of its network");
}

// Rules 3 and 4.
void check_addresses(const VipDraft& vip, Vips& known, Notes& notes) {
    for (std::size_t i = 0; i < vip.group.addresses.size(); ++i) {
        const auto& prefix = vip.group.addresses[i];
        const auto& spot = vip.address_spots[i];
        check_address(prefix, spot, notes);
        const auto [owner, is_new] = known.try_emplace(prefix.address, VipOwner{vip.group.carp.vhid, spot});
        if (!is_new)
            notes.complain(spot,
                           prefix.address.text() + " is there twice; first at " + owner->second.spot.place.text());
    }
}

// Rule 5, for peers and legacy_peers. in_vain: what becomes of a node of a family without vips.
void check_nodes(const std::vector<IpAddress>& nodes, const std::vector<Spot>& spots,
                 const std::vector<IpAddress>& ours, const char* in_vain, Notes& notes) {
    for (std::size_t i = 0; i < nodes.size(); ++i) {
        const auto& node = nodes[i];
        const auto& spot = spots[i];
        const auto before = nodes.begin() + static_cast<std::ptrdiff_t>(i);
        const auto same_family = [&](const IpAddress& a) { return a.family() == node.family(); };
        if (node.is_unspecified() || node.is_multicast() || node.is_loopback() || is_broadcast(node))
            notes.complain(spot, node.text() + " is not the address of another node; write the one it speaks from");
        else if (std::ranges::find(ours, node) != ours.end())
            notes.complain(spot, node.text() + " is a vip; a peer is the other node's own address");
        else if (std::find(nodes.begin(), before, node) != before)
            notes.complain(spot, node.text() + " is there twice; take one out");
        else if (!ours.empty() && std::ranges::none_of(ours, same_family))
            notes.warn(spot, node.text() + " is " + std::string(to_string(node.family())) +
                                 ", but this vip has no address of that family, so it is " + in_vain);
    }
}

void check_peers(const VipDraft& vip, Notes& notes) {
    const auto& us = vip.group.carp;
    check_nodes(us.peers, vip.peer_spots, us.addresses, "sent nothing", notes);
    check_nodes(us.auth.legacy_peers, vip.legacy_spots, us.addresses, "never heard", notes);
    if (us.peers.empty()) return;
    for (std::size_t i = 0; i < us.auth.legacy_peers.size(); ++i)
        if (const auto& peer = us.auth.legacy_peers[i]; std::ranges::find(us.peers, peer) == us.peers.end())
            notes.complain(vip.legacy_spots[i], peer.text() +
                                                    " is not among \"peers\", and nobody else is heard; write it "
                                                    "there, too, or take it out here");
}

// Rule 6.
void check_beat(const VipDraft& vip, Notes& notes) {
    if (vip.group.carp.advbase.value() != 0 || vip.group.carp.advskew.value() != 0) return;
    notes.warn(vip.written.of("advbase"),
               "advbase and advskew are both 0: an advert each 3.9 ms, which other speakers (ucarp) refuse; give "
               "advskew at least 1");
}

// Rule 19.
void check_lease(const VipDraft& vip, Notes& notes) {
    const auto& us = vip.group.carp;
    if (us.lease.kind != carp::Lease::Kind::fixed) return;
    const Duration waits = carp::least_patience(us, us.advskew), between = carp::beat(us, us.advskew);
    const auto ms = [](Duration d) { return std::to_string(d / 1ms) + "ms"; };
    if (us.lease.length >= waits)
        notes.complain(vip.written.of("lease"), "a peer takes over after " + ms(waits) +
                                                    ", and this node would still answer: two owners of one address; "
                                                    "write auto, or less than that");
    else if (us.lease.length <= between)
        notes.complain(vip.written.of("lease"), "it would end before the next advert, which comes after " +
                                                    ms(between) + "; write auto, or more than that");
}

// Rule 20.
void check_auth(const VipDraft& vip, Notes& notes) {
    const auto& us = vip.group.carp;
    const bool signs = us.auth.mode != carp::Auth::Mode::off;
    if (signs && vip.group.auth_key_files.empty())
        notes.complain(vip.written.of("auth"),
                       "needs \"auth_keys\"; for example auth_keys: { 1: /etc/koi/keys/auth.key }");
    if (!signs && !vip.group.auth_key_files.empty() && !vip.written.has("auth"))  // "auth: off" is meant
        notes.complain(
            vip.written.of("auth_keys"),
            "keys are given, but auth is off, so nothing is signed; write auth: prefer, later auth: require "
            "(or auth: off, if that is meant)");
    if (us.auth.mode == carp::Auth::Mode::require && !us.auth.legacy_peers.empty())
        notes.complain(vip.written.of("legacy_peers"),
                       "auth: require hears nobody without a trailer, so each of them would lead beside us; write "
                       "auth: prefer while they are there");
    if (!signs && !us.auth.legacy_peers.empty())
        notes.complain(vip.written.of("legacy_peers"),
                       "auth is off, so everybody is heard without a trailer; write auth: prefer, or take them out");
    if (us.interval == 0us) return;
    if (!signs)
        return notes.complain(vip.written.of("interval"),
                              "peers learn it from the trailer, so it needs auth: prefer or require; without that, "
                              "advbase and advskew say how often adverts are sent");
    if (const auto between = carp::beat(us.advbase, us.advskew);
        us.interval > std::max(between, carp::shortest_interval))
        notes.complain(vip.written.of("interval"),
                       "is longer than the " + std::to_string(between / 1ms) +
                           "ms that advbase and advskew promise to everybody else; write less, or raise advbase");
}

}  // namespace

Vips check_vips(const Draft& draft, Notes& notes) {
    if (draft.vips.empty() && !draft.written.has("vips"))
        notes.complain(
            draft.written.whole,
            "no \"vips\": there is nothing to hold; for example vips: [{ vhid: 51, addresses: [192.0.2.10/24] }]");
    std::map<Vhid, const VipDraft*> vhids;
    Vips known;
    for (const auto& vip : draft.vips) {
        if (vip.has_vhid) {
            const auto [first, is_new] = vhids.try_emplace(vip.group.carp.vhid, &vip);
            if (!is_new) {
                const bool elsewhere = first->second->group.carp.interface != vip.group.carp.interface;
                notes.complain(vip.written.of("vhid"),
                               std::to_string(vip.group.carp.vhid.value()) + " is already used at " +
                                   first->second->written.of("vhid").place.text() +
                                   (elsewhere ? ", on another interface; Koi names a group by its vhid alone" : "") +
                                   "; take another number from 1 to 255");
            }
        }
        check_addresses(vip, known, notes);
        check_peers(vip, notes);
        check_beat(vip, notes);
        check_lease(vip, notes);
        check_auth(vip, notes);
    }
    return known;
}

}  // namespace koi::config
