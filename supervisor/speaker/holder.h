// supervisor/speaker/holder.h
//
// The addresses this node holds: puts them on their interfaces, takes them off, puts back at once what somebody else
// took off, tells the neighbours on the timetable of vip/announce.h, and notices strangers who answer for the same
// address. It is told what to hold and never asks why.
//
// What is held is held for a term, and answers no longer than that: a lease in the kernel's packet filter ends in
// time (vip/lease.h), and the address has a lifetime of whole seconds besides. Both are renewed by renew() and by
// nothing else. Where the packet filter cannot do it, the lifetime alone holds, and lease_missing() says why.
//
// Promises: an address is in the record on disk before it is on an interface. want() has done what it could when it
// returns; what failed is tried again every second.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "supervisor/base/log.h"
#include "supervisor/base/loop.h"
#include "supervisor/link/messages.h"
#include "supervisor/vip/announce.h"
#include "supervisor/vip/kernel_addresses.h"
#include "supervisor/vip/lease.h"
#include "supervisor/vip/packet_socket.h"

namespace koi::speaker {

class Holder {
public:
    using Tell =
        std::function<void(log::Level, std::string_view event, std::string_view sentence, const log::Fields&)>;

    // directory: where the record of held addresses is kept.
    Holder(Loop&, vip::KernelAddresses&, std::string directory, Tell);

    // Whether any vhid wants its addresses leased. Then the packet filter is made ready before anything is held, so
    // that a standby knows, too, whether it can; if not, nothing of an earlier lease may be left that silences an
    // address. The first call comes before adopt().
    void want_leases(bool);
    void try_lease_again() { (void)open_lease(); }  // where it could not be had; once a minute whoever asks

    // Adopts what an earlier speaker of this host left: `kept` is wanted from now on and announced again, the rest of
    // the record and whatever else carries Koi's mark is taken off.
    void adopt(const std::map<Vhid, std::set<vip::Held>>& kept);

    // Everything that is held, for a program that replaces this one; restore() comes instead of adopt() and says
    // nothing to anybody.
    struct Whole {
        struct Wanted {
            Vhid vhid = *Vhid::of(1);
            std::vector<vip::Held> held;
            std::optional<Instant> until{};
            std::optional<Duration> lifetime{};
            bool silent = false;
            Instant renewed{};
        };
        std::vector<Wanted> wanted;
        std::vector<std::pair<vip::Held, Instant>> present;
        bool failed = false;
        Instant last_failure{};
        std::vector<std::pair<std::string, vip::PacketSocket::Kept>> sockets;  // by interface
    };
    Whole whole() const;
    void restore(const Whole&);

    // Until when an address may answer, and how long it may stay. Neither: without a lease.
    struct Term {
        std::optional<Instant> until;
        vip::KernelAddresses::Lifetime lifetime;
        bool handing_over = false;  // a successor answers as well for a moment, and is no stranger
    };
    void want(Vhid, const std::set<vip::Held>&, const Term&);
    // Does ahead what want() would do, until want() or let_go(): writes the record and opens what announces, and puts
    // them on their interfaces already, guarded so that they answer nobody. What is left to do then takes no lock
    // that others hold. Where the packet filter cannot guard them they stay off their interfaces.
    void prepare(Vhid, const std::set<vip::Held>&);
    void let_go(Vhid);
    void renew(Vhid, const Term&);  // of what is wanted; an advert has left
    void announce_again(Vhid, Instant now);
    // After a clean stop: where nothing is held any more, the packet filter's table goes. Not every service manager
    // runs `koid --withdraw`.
    void finish();

    void address_gone(const vip::Held&);
    void address_came(const vip::Held&);
    void link_changed(const vip::Link&);
    void link_gone(const std::string& interface);
    void look_again();  // events were lost: read everything

    std::vector<link::VipReport> report(Vhid, const std::set<vip::Held>& all) const;
    std::vector<link::StrangerReport> strangers() const;
    // The packet filter ends the leases in time. If not, why; empty as long as nobody wanted a lease.
    bool enforces_leases() { return open_lease(); }
    const std::string& lease_missing() const { return lease_missing_; }
    // An address could not be put on an interface within the last minute.
    bool failed_lately(Instant now) const { return failed_ && now - last_failure_ < 60s; }

private:
    struct Ground {  // an interface on which something is held
        vip::Link link;
        vip::PacketSocket socket;
        Watch watch;
    };
    struct Sighting {
        Instant seen{};
        Instant logged{};
        bool ourselves = false;  // another interface of this node on the same wire
    };
    // Who led before us may still be on its way out (ucarp takes seconds), and is no stranger. So neighbours are
    // asked after that time, and again and again while somebody answers.
    static constexpr Duration settling = 3s, probe_pause = 10s;

    void converge();
    void set_term(Vhid, const Term&);
    void lease(const std::set<vip::Held>&, Instant until);
    bool open_lease();
    void forget_lease(const std::set<vip::Held>&);
    Term term_of(const vip::Held&) const;
    std::set<vip::Held> held_by(Vhid) const;  // wanted and there
    void add(const vip::Held&);
    void remove(const vip::Held&);
    bool record();
    Ground* ground(const std::string& interface);
    Ground* make_ground(const vip::Link&, vip::PacketSocket);
    void begin_to_answer(const std::set<vip::Held>&);
    void announce(const vip::Held&);
    void announce_due();
    void probe(const vip::Held&);
    void probe_due();
    void hear(const std::string& interface);
    void sight(const vip::Stranger&, const vip::Held&);
    bool has_mac(const vip::Mac&) const;
    bool works(const std::string& interface) const;
    std::set<vip::Held> wanted() const;

    Loop& loop_;
    vip::KernelAddresses& kernel_;
    std::string directory_;
    Tell tell_;
    std::map<Vhid, std::set<vip::Held>> wants_;
    std::map<Vhid, Term> terms_;
    std::set<Vhid> silent_;                      // prepared, and there
    std::map<Vhid, std::set<vip::Held>> ahead_;  // prepared; in the record
    bool is_silent(const vip::Held&) const;
    std::map<Vhid, Instant> lifetime_renewed_;
    std::optional<vip::KernelLease> lease_;
    std::string lease_missing_;
    Instant lease_retry_{};
    std::optional<bool> leases_;            // wanted
    std::map<vip::Held, Instant> present_;  // since when
    std::set<vip::Held> recorded_;
    std::optional<std::set<vip::Held>> written_;
    std::map<std::string, Ground> grounds_;
    vip::Timetable timetable_;
    std::map<std::pair<IpAddress, vip::Mac>, Sighting> strangers_;
    log::RateLimit stranger_limit_{5, 60s};
    std::map<vip::Held, Instant> probes_;  // when to ask next
    Watch announce_timer_;
    Watch probe_timer_;
    Watch retry_timer_;
    bool failed_ = false;
    Instant last_failure_{};
};

}  // namespace koi::speaker
