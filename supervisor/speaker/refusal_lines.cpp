#include "supervisor/speaker/refusal_lines.h"

#include "carp/replay.h"

namespace koi::speaker {

std::string sentence_for(const Refused& r) {
    const std::string who = r.source.text(), group = r.vhid ? "vhid " + std::to_string(*r.vhid) : "a vhid";
    switch (r.why) {
        case carp::Refusal::wrong_digest:
            return who + " speaks for " + group +
                   " with another password or another list of vips; make key_file and addresses "
                   "the same on all nodes";
        case carp::Refusal::vrrp:
            // Some VRRP routers (keepalived 2.2.7) fall silent while they hear CARP with their id.
            return who + " speaks VRRP on " + r.interface + " with id " + (r.vhid ? std::to_string(*r.vhid) : "?") +
                   (r.ours ? ", which is a vhid of ours; the two disturb each other, so give Koi a vhid that no VRRP "
                             "router "
                             "there uses"
                           : ", which is no vhid of ours; the two do not disturb each other");
        case carp::Refusal::wrong_ttl:
            return "an advert from " + who + " crossed a router (its TTL is not 255), or is forged";
        case carp::Refusal::unknown_vhid: return who + " speaks for " + group + ", which this node does not serve";
        case carp::Refusal::own_echo:
            return "our own advert came back on " + r.interface +
                   "; look for a loop in the network, or another host with our address";
        case carp::Refusal::not_a_peer: return who + " speaks for " + group + " but is not among `peers`";
        case carp::Refusal::no_trailer:
            return who + " speaks for " + group +
                   " without our trailer, and one is required of it; give it a Koi with auth_keys, name it in "
                   "legacy_peers, or find out who it is";
        case carp::Refusal::bad_trailer:
            return who + " speaks for " + group +
                   " with a trailer that makes no sense here; run the same version of Koi on all nodes, or find out "
                   "who it is";
        case carp::Refusal::unknown_key:
            return who + " signs for " + group +
                   " with a key id we have no key for; put that key into auth_keys here before it signs there";
        case carp::Refusal::wrong_tag:
            return "an advert from " + who + " for " + group +
                   " is forged, or was changed on its way, or is signed with another key under the same id";
        case carp::Refusal::replayed:
            return "an advert from " + who + " for " + group +
                   " was heard before, or is older than what was heard: somebody repeats recorded adverts, the "
                   "network doubles packets, or that host was set back to an earlier state";
        case carp::Refusal::stale_clock:
            return who + " is new to us and signs for " + group +
                   " with a time that is minutes away from our clock; it is a recording, or one of the clocks is "
                   "wrong";
        case carp::Refusal::cloned:
            return who + " speaks for " + group +
                   " with our own identity: one of the two hosts is a copy of the other; this one takes a new "
                   "identity, once, and keeps it";
        case carp::Refusal::table_full:
            return who + " is one sender too many for " + group + "; more than " +
                   std::to_string(carp::Replay::most_senders) + " are not remembered";
        case carp::Refusal::too_short:
        case carp::Refusal::wrong_version:
        case carp::Refusal::wrong_checksum: break;
    }
    return "a packet from " + who + " on " + r.interface + " is no advert: " + std::string(to_string(r.why));
}

bool splits(carp::Refusal why) {
    switch (why) {
        case carp::Refusal::wrong_digest:
        case carp::Refusal::no_trailer:
        case carp::Refusal::bad_trailer:
        case carp::Refusal::unknown_key:
        case carp::Refusal::wrong_tag:
        case carp::Refusal::stale_clock: return true;
        default: return false;
    }
}

namespace {

bool is_no_fault(const Refused& r) {
    return r.why == carp::Refusal::unknown_vhid || (r.why == carp::Refusal::vrrp && !r.ours);
}

}  // namespace

std::optional<RefusalLines::Line> RefusalLines::say(const Refused& r, Instant now) {
    const bool no_fault = is_no_fault(r);
    const auto limits = no_fault ? log::RateLimit(1, 24h) : log::RateLimit(3, 60s);
    auto& limit = limits_.try_emplace({r.why, no_fault}, limits).first->second;
    if (!limit.allows(now)) return std::nullopt;
    Line line{no_fault ? log::Level::notice : log::Level::warning,
              sentence_for(r),
              {{"reason", std::string(to_string(r.why))}, {"peer", r.source.text()}, {"interface", r.interface}}};
    if (limit.suppressed() > 0)
        line.sentence += " (" + std::to_string(limit.suppressed()) + " more like it were not logged)";
    if (r.vhid) line.fields.emplace_back("vhid", std::to_string(*r.vhid));
    return line;
}

void LastRefusals::note(Vhid vhid, carp::Refusal why, const IpAddress& source, Instant now) {
    if (splits(why)) last_[vhid][why] = {source, now};
}

std::vector<link::RefusalReport> LastRefusals::of(Vhid vhid, const std::string& interface) const {
    std::vector<link::RefusalReport> out;
    const auto found = last_.find(vhid);
    if (found == last_.end()) return out;
    for (const auto& [why, last] : found->second) {
        const Refused as_heard{why, last.source, interface, vhid.value(), true};
        out.push_back({why, last.source, last.at, sentence_for(as_heard)});
    }
    return out;
}

}  // namespace koi::speaker
