#include "supervisor/speaker/wire.h"

#include <sys/epoll.h>

namespace koi::speaker {

namespace {

// The source of our adverts: an address that is ours alone. IPv4: the first primary one. IPv6: the link-local one as
// all the others do it, unless unicast peers are further away than the link's own addresses reach (carp.md 4).
std::optional<IpAddress> choose(const std::vector<vip::Found>& found, const std::string& interface,
                                const std::set<IpAddress>& vips, Family family, bool global) {
    std::optional<IpAddress> second_best;
    for (const auto& one : found) {
        const auto& address = one.held.prefix.address;
        if (one.held.interface != interface || address.family() != family) continue;
        if (one.ours || one.tentative || vips.contains(address)) continue;
        const bool fits = family == Family::ipv4 ? !one.secondary : address.is_link_local() != global;
        if (fits) return address;
        if (!second_best) second_best = address;
    }
    return second_best;
}

}  // namespace

Wire::Wire(Loop& loop, std::string interface, Ears ears)
    : loop_(loop), interface_(std::move(interface)), ears_(std::move(ears)) {}

Outcome Wire::look(const std::optional<vip::Link>& link, const std::vector<vip::Found>& found,
                   const std::set<IpAddress>& vips, bool global_ipv6_source) {
    link_ = link;
    own_.clear();
    all_own_.clear();
    for (const auto& one : found)
        if (one.held.interface == interface_ && !vips.contains(one.held.prefix.address))
            all_own_.insert(one.held.prefix.address);
    if (!works()) open_.clear();
    if (!works()) return Done{};
    std::erase_if(open_, [&](const auto& o) { return o.second.socket.index() != link_->index; });
    Outcome outcome = Done{};
    for (const auto family : {Family::ipv4, Family::ipv6}) {
        const auto own = choose(found, interface_, vips, family, global_ipv6_source && family == Family::ipv6);
        if (!own) {
            open_.erase(family);
            continue;
        }
        own_[family] = *own;
        if (!open_.contains(family))
            if (auto opened = open(family); !opened) outcome = opened;
    }
    return outcome;
}

Outcome Wire::open(Family family) {
    auto socket = carp::AdvertSocket::open(family, interface_, link_->index);
    if (!socket) return during("listening for adverts on " + interface_, socket.error());
    listen(std::move(*socket));
    return Done{};
}

void Wire::listen(carp::AdvertSocket socket) {
    const auto family = socket.family();
    auto watch =
        loop_.on_io(socket.fd(), EPOLLIN, Priority::carp, "adverts", [this, family](std::uint32_t) { hear(family); });
    open_.emplace(family, Ear{std::move(socket), std::move(watch)});
}

void Wire::adopt(carp::AdvertSocket socket) { listen(std::move(socket)); }

std::vector<const carp::AdvertSocket*> Wire::sockets() const {
    std::vector<const carp::AdvertSocket*> all;
    for (const auto& [family, ear] : open_) all.push_back(&ear.socket);
    return all;
}

bool Wire::can_speak(Family family) const { return works() && own_.contains(family) && open_.contains(family); }

std::optional<IpAddress> Wire::own_address(Family family) const {
    const auto found = own_.find(family);
    return found == own_.end() ? std::nullopt : std::optional(found->second);
}

Outcome Wire::send(Family family, const std::vector<IpAddress>& peers, const carp::AdvertSocket::Bytes& bytes) {
    const auto ear = open_.find(family);
    const auto source = own_address(family);
    if (ear == open_.end() || !source)
        return Error{"no " + std::string(to_string(family)) + " address on " + interface_};
    return ear->second.socket.send(peers, *source, bytes);
}

void Wire::hear_what_waits() {
    for (const auto family : {Family::ipv4, Family::ipv6}) hear(family);
}

void Wire::hear(Family family) {
    const auto ear = open_.find(family);
    if (ear == open_.end()) return;
    for (const auto& packet : ear->second.socket.receive()) {
        const auto& source = packet.envelope.source;
        const auto vhid = packet.payload.size() > 1 ? std::optional<unsigned>(packet.payload[1]) : std::nullopt;
        if (all_own_.contains(source)) {
            ears_.refusal(carp::Refusal::own_echo, source, vhid);
            continue;
        }
        const auto read = carp::decode(packet.payload, packet.envelope);
        if (const auto* advert = std::get_if<carp::Advert>(&read))
            ears_.advert(*advert, packet);
        else
            ears_.refusal(std::get<carp::Refusal>(read), source, vhid);
        // What was heard may have led to a reload of this wire.
        if (!open_.contains(family)) return;
    }
}

}  // namespace koi::speaker
