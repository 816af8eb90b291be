// supervisor/speaker/group.h
//
// One vhid at work: its instance, its timer, its wire. Turns what the machine decides into adverts on the wire and
// calls; knows nothing of addresses or workers. Deeds are done in the order the machine gave them.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "carp/instance.h"
#include "supervisor/base/loop.h"
#include "supervisor/link/messages.h"
#include "supervisor/speaker/resume.h"
#include "supervisor/speaker/wire.h"

namespace koi::speaker {

class Group {
public:
    struct Told {
        std::function<void(Group&, const carp::RoleChanged&)> role;
        std::function<void(Group&, const std::string& because)> announce_again;
        std::function<void(Group&, const std::string& because)> silent;  // adverts cannot be sent
        // As master: what it holds may answer until leased_until(), which has moved.
        std::function<void(Group&)> leased;
        // As master: an advert was late by half of what peers wait for.
        std::function<void(Group&, Duration)> slipped;
        // Have the tables ready, though it does not lead (yet).
        std::function<void(Group&, bool wanted)> prepare;
    };
    Group(Loop&, link::VhidSettings, Wire&, Notes&, Told, carp::Counter&);

    Vhid vhid() const { return settings_.carp.vhid; }
    const link::VhidSettings& settings() const { return settings_; }
    const carp::Instance& instance() const { return instance_; }
    carp::Role role() const { return instance_.state().role; }
    const std::string& because() const { return because_; }
    Instant leased_until() const { return instance_.leased_until(); }
    std::optional<IpAddress> own_address() const;
    Instant mute_until() const { return mute_until_; }  // its adverts did not leave: it takes no part until then
    bool link_works() const { return wire_->works(); }

    // The wire changed: start, go on, or lose the link. resume: the first start may go on as master.
    void look(bool resume);
    // Slept past its lease: lets go before anything else is heard or said. Called when the loop has woken.
    void wake();
    void hear(const carp::Advert&, const carp::Packet&);
    void become(std::uint64_t sender) { instance_.guard().become(sender); }
    void refuse(carp::Refusal why) { instance_.refuse(why); }
    void take(const carp::Event&);
    void change(link::VhidSettings);
    void tell(const carp::Condition& c) { instance_.tell(c); }
    void move_to(Wire& wire) { wire_ = &wire; }
    struct Peer {
        carp::Advert advert;
        Instant last_heard{};
        std::optional<carp::Trailer> trailer;
        std::optional<carp::Refusal> doubt;
        bool other_vips = false;
    };
    void recall(const std::vector<carp::Replay::Line>& lines) {
        instance_.guard().replay().recall(lines, loop_.now());
    }
    // What it knows and is in the middle of, for a program that replaces this one; restore() comes before look().
    struct Whole {
        carp::Instance::Whole instance;
        std::string because;
        Instant mute_until = Instant::min();
        std::vector<std::pair<IpAddress, Peer>> peers, standbys;
    };
    Whole whole() const;
    void restore(const Whole&);
    std::vector<carp::Replay::Line> heard_counters() const { return instance_.guard().replay().all(); }

    // By their last word: an advert, or that they stand by for us. Nobody is in both.
    const std::map<IpAddress, Peer>& peers() const { return peers_; }
    const std::map<IpAddress, Peer>& standbys() const { return standbys_; }
    Duration take_worst_slip() { return std::exchange(worst_slip_, Duration{}); }
    std::function<void(carp::Refusal, const IpAddress& source)> on_refusal;
    std::function<void(carp::Replay::News, const IpAddress& source, const carp::Trailer&)> on_news;

private:
    bool can_speak() const;
    void perform(const std::vector<carp::Deed>&);
    bool send(const carp::Send&);
    void speak_to(const IpAddress& peer, const carp::Send&);
    void arm();
    void due();

    Loop& loop_;
    link::VhidSettings settings_;
    Wire* wire_;
    Notes& notes_;
    Told told_;
    carp::Instance instance_;
    Watch timer_;
    std::string because_ = "just started";
    unsigned failures_ = 0;
    std::string unsent_;  // why the last advert did not leave
    Instant mute_until_ = Instant::min();
    std::map<IpAddress, Peer> peers_, standbys_;
    Duration worst_slip_{};
};

}  // namespace koi::speaker
