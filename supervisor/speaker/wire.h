// supervisor/speaker/wire.h
//
// One interface as the election sees it: the advert sockets of both families, our own source addresses, and whether
// the link works. Opened when the link comes up, closed when it goes; what it hears is decoded and handed on, what it
// cannot decode is handed on as a refusal with its sender.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "carp/advert_socket.h"
#include "supervisor/base/loop.h"
#include "supervisor/vip/kernel_addresses.h"

namespace koi::speaker {

class Wire {
public:
    struct Ears {
        std::function<void(const carp::Advert&, const carp::Packet&)> advert;
        std::function<void(carp::Refusal, const IpAddress& source, std::optional<unsigned> vhid)> refusal;
    };
    Wire(Loop&, std::string interface, Ears);

    // What the kernel says of the interface and its addresses now; vips are never our own address. Opens or closes
    // the sockets accordingly. An Error says why adverts cannot be exchanged although the link works.
    Outcome look(const std::optional<vip::Link>&, const std::vector<vip::Found>&, const std::set<IpAddress>& vips,
                 bool global_ipv6_source);

    // Before the first look: sockets that the program before has opened, with what waits in them.
    void adopt(carp::AdvertSocket);
    std::vector<const carp::AdvertSocket*> sockets() const;

    bool works() const { return link_ && link_->works(); }
    // The same; before the first look, whether the program before found so, which closes its sockets when a link
    // goes.
    bool worked() const { return works() || (!link_ && !open_.empty()); }
    // Up, and with a source address and a socket for this family.
    bool can_speak(Family) const;
    const std::optional<vip::Link>& link() const { return link_; }
    // The address our adverts carry: of the family if given, else IPv4 before IPv6.
    std::optional<IpAddress> own_address(Family) const;

    void hear_what_waits();  // without waiting for the loop's turn
    // To the group, or to each of these peers.
    Outcome send(Family, const std::vector<IpAddress>& peers, const carp::AdvertSocket::Bytes&);

private:
    struct Ear {
        carp::AdvertSocket socket;
        Watch watch;
    };
    void hear(Family);
    Outcome open(Family);
    void listen(carp::AdvertSocket);

    Loop& loop_;
    std::string interface_;
    Ears ears_;
    std::optional<vip::Link> link_;
    std::map<Family, IpAddress> own_;
    std::set<IpAddress> all_own_;  // every address of this interface, to know an echo
    std::map<Family, Ear> open_;
};

}  // namespace koi::speaker
