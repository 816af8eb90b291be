#include "supervisor/speaker/holder.h"

#include <sys/epoll.h>

#include <algorithm>
#include <iterator>

#include "supervisor/base/file.h"
#include "supervisor/speaker/resume.h"

namespace koi::speaker {

namespace {

bool is_router(const std::string& interface) {
    const auto value = read_whole("/proc/sys/net/ipv6/conf/" + interface + "/forwarding", 16);
    return value && value->starts_with('1');
}

}  // namespace

Holder::Holder(Loop& loop, vip::KernelAddresses& kernel, std::string directory, Tell tell)
    : loop_(loop), kernel_(kernel), directory_(std::move(directory)), tell_(std::move(tell)) {
    announce_timer_ = loop_.at(Instant::max(), Priority::address, "announce", [this] { announce_due(); });
    retry_timer_ = loop_.at(Instant::max(), Priority::address, "addresses again", [this] { converge(); });
    probe_timer_ = loop_.at(Instant::max(), Priority::facts, "probe", [this] { probe_due(); });
    Loop::move(announce_timer_, Instant::max());
    Loop::move(retry_timer_, Instant::max());
    Loop::move(probe_timer_, Instant::max());
}

void Holder::adopt(const std::map<Vhid, std::set<vip::Held>>& kept) {
    wants_ = kept;
    const auto wanted_now = wanted();
    auto recorded = read_held(directory_);
    if (!recorded) {
        tell_(log::Level::warning, "address", recorded.error().story, {});
        recorded = std::set<vip::Held>{};
    }
    const auto found = kernel_.addresses();
    if (!found) return tell_(log::Level::error, "address", found.error().story, {});
    recorded_ = *recorded;
    if (!recorded->empty()) {
        // Their addresses may have ended by themselves; what is left of their leases would outlive them.
        std::set<vip::Held> over;
        std::ranges::set_difference(*recorded, wanted_now, std::inserter(over, over.end()));
        if (open_lease()) forget_lease(over);
    }
    for (const auto& one : *found) {
        if (!one.ours && !recorded->contains(one.held)) continue;
        recorded_.insert(one.held);
        present_[one.held] = loop_.now();
        if (wanted_now.contains(one.held)) {
            timetable_.take(one.held, loop_.now());
            probes_[one.held] = loop_.now() + settling;
        } else {
            remove(one.held);
            tell_(log::Level::notice, "address", "let go of " + one.held.text() + ", left by an earlier koid",
                  {{"vip", one.held.prefix.address.text()}});
        }
    }
    std::erase_if(recorded_, [&](const auto& held) { return !present_.contains(held); });
    record();
}

Holder::Whole Holder::whole() const {
    Whole all;
    for (const auto& [vhid, held] : wants_) {
        Whole::Wanted one{.vhid = vhid, .held = {held.begin(), held.end()}, .silent = silent_.contains(vhid)};
        if (const auto term = terms_.find(vhid); term != terms_.end()) {
            one.until = term->second.until;
            if (term->second.lifetime) one.lifetime = *term->second.lifetime;
        }
        if (const auto at = lifetime_renewed_.find(vhid); at != lifetime_renewed_.end()) one.renewed = at->second;
        all.wanted.push_back(std::move(one));
    }
    all.present.assign(present_.begin(), present_.end());
    all.failed = failed_;
    all.last_failure = last_failure_;
    for (const auto& [interface, here] : grounds_) all.sockets.push_back({interface, here.socket.keep()});
    return all;
}

void Holder::restore(const Whole& all) {
    constexpr Duration burst = 6s;  // announcements of what was just taken are not over
    for (const auto& one : all.wanted) {
        wants_[one.vhid] = {one.held.begin(), one.held.end()};
        terms_[one.vhid] = {one.until, {}};
        if (one.lifetime) terms_[one.vhid].lifetime = std::chrono::ceil<std::chrono::seconds>(*one.lifetime);
        if (one.silent) silent_.insert(one.vhid);
        lifetime_renewed_[one.vhid] = one.renewed;
    }
    for (const auto& [held, since] : all.present) {
        present_[held] = since;
        recorded_.insert(held);
        if (is_silent(held)) continue;
        probes_[held] = loop_.now() + settling;
        if (loop_.now() - since < burst)
            timetable_.take(held, loop_.now());
        else
            timetable_.hold(held, loop_.now());
    }
    failed_ = all.failed;
    last_failure_ = all.last_failure;
    for (const auto& [interface, kept] : all.sockets) {
        auto socket = vip::PacketSocket::adopt(kept);
        const auto link = kernel_.link(interface);
        if (link && *link && (*link)->index == kept.index) make_ground(**link, std::move(socket));
    }
    look_again();  // what happened while nobody listened
}

void Holder::want(Vhid vhid, const std::set<vip::Held>& held, const Term& term) {
    set_term(vhid, term);
    ahead_.erase(vhid);
    if (silent_.erase(vhid) > 0) {
        lifetime_renewed_.erase(vhid);  // it was prepared for a few seconds only
        const auto here = held_by(vhid);
        if (term.until) lease(here, *term.until);
        begin_to_answer(here);
    }
    wants_[vhid] = held;
    converge();
}

void Holder::prepare(Vhid vhid, const std::set<vip::Held>& held) {
    constexpr auto lifetime = 5s;  // longer than a preparation, and renewed in the course of a mastership
    if (wants_.contains(vhid)) return;
    // The slowest part is the disk's, and it can be had before anybody waits for the addresses.
    ahead_[vhid] = held;
    recorded_.insert(held.begin(), held.end());
    record();
    for (const auto& one : held) (void)ground(one.interface);
    if (!open_lease()) return;
    silent_.insert(vhid);
    terms_[vhid] = {Instant{}, lifetime};  // long past
    wants_[vhid] = held;
    lifetime_renewed_[vhid] = loop_.now();
    converge();
}

bool Holder::is_silent(const vip::Held& held) const {
    return std::ranges::any_of(silent_, [&](Vhid vhid) { return wants_.at(vhid).contains(held); });
}

void Holder::let_go(Vhid vhid) {
    silent_.erase(vhid);
    ahead_.erase(vhid);
    wants_.erase(vhid);
    terms_.erase(vhid);
    lifetime_renewed_.erase(vhid);
    converge();
}

void Holder::finish() {
    if (!present_.empty() || !leases_.value_or(false)) return;
    lease_.reset();
    (void)vip::KernelLease::remove();
}

// ---- The lease ----

void Holder::want_leases(bool wanted) {
    if (leases_ == wanted) return;
    leases_ = wanted;
    lease_retry_ = {};
    if (wanted) return try_lease_again();
    lease_.reset();
    lease_missing_.clear();
    (void)vip::KernelLease::remove();
}

std::set<vip::Held> Holder::held_by(Vhid vhid) const {
    std::set<vip::Held> held;
    if (const auto wants = wants_.find(vhid); wants != wants_.end())
        for (const auto& one : wants->second)
            if (present_.contains(one)) held.insert(one);
    return held;
}

Holder::Term Holder::term_of(const vip::Held& held) const {
    for (const auto& [vhid, term] : terms_)
        if (const auto wants = wants_.find(vhid); wants != wants_.end() && wants->second.contains(held)) return term;
    return {};
}

void Holder::renew(Vhid vhid, const Term& term) {
    set_term(vhid, term);
    const auto held = held_by(vhid);
    if (held.empty()) return;
    if (term.until) lease(held, *term.until);
    if (!term.lifetime) return;
    // Every renewal of an address is an event for everybody who listens to addresses: four in a lifetime will do.
    auto& renewed = lifetime_renewed_[vhid];
    if (loop_.now() - renewed < Duration(*term.lifetime) / 4) return;
    renewed = loop_.now();
    if (auto done = kernel_.renew(held, term.lifetime); !done)
        tell_(log::Level::error, "lease", done.error().story, {});
}

// A reload may switch the lease off in the middle of a mastership.
void Holder::set_term(Vhid vhid, const Term& term) {
    const auto known = terms_.find(vhid);
    const bool ends = known != terms_.end() && known->second.until && !term.until;
    terms_[vhid] = term;
    if (!ends) return;
    const auto held = held_by(vhid);
    (void)kernel_.renew(held, {});
    forget_lease(held);
}

bool Holder::open_lease() {
    if (lease_) return true;
    if (!leases_.value_or(false)) return false;
    if (loop_.now() < lease_retry_) return false;
    auto opened = vip::KernelLease::open();
    if (opened) {
        lease_.emplace(std::move(*opened));
        if (!lease_missing_.empty())
            tell_(log::Level::notice, "lease", "the packet filter enforces leases again", {});
        lease_missing_.clear();
        return true;
    }
    lease_retry_ = loop_.now() + 60s;
    if (lease_missing_ != opened.error().story)
        tell_(log::Level::warning, "lease",
              "leases are not enforced by the packet filter: " + opened.error().story +
                  "; if this node dies, its vips end with the lifetime of their addresses, in whole seconds",
              {});
    lease_missing_ = opened.error().story;
    return false;
}

void Holder::lease(const std::set<vip::Held>& held, Instant until) {
    std::vector<IpAddress> addresses;
    for (const auto& one : held) addresses.push_back(one.prefix.address);
    const auto rest = [&] { return std::max(until - Loop::clock(), Duration{}); };
    if (!open_lease()) return;
    auto done = lease_->lease(addresses, rest());
    if (!done) {  // somebody flushed the rules of this machine
        tell_(log::Level::warning, "lease", done.error().story + "; making the table anew", {});
        lease_.reset();
        lease_retry_ = {};
        if (!open_lease()) return;
        done = lease_->lease(addresses, rest());
    }
    if (!done) {
        lease_missing_ = done.error().story;
        lease_.reset();
        lease_retry_ = loop_.now() + 60s;
        return;
    }
    // Stopped between reading the clock and telling the kernel: the lease it has got is too long.
    if (rest() == Duration{}) (void)lease_->lease(addresses, 0s);
}

void Holder::forget_lease(const std::set<vip::Held>& held) {
    std::vector<IpAddress> addresses;
    for (const auto& one : held) addresses.push_back(one.prefix.address);
    if (lease_) (void)lease_->let_go(addresses);
}

std::set<vip::Held> Holder::wanted() const {
    std::set<vip::Held> all;
    for (const auto& [vhid, held] : wants_) all.insert(held.begin(), held.end());
    return all;
}

void Holder::converge() {
    std::set<vip::Held> observed;
    for (const auto& [held, since] : present_) observed.insert(held);
    bool missing = false;
    std::set<vip::Held> came;
    for (const auto& change : vip::diff(observed, wanted())) {
        if (const auto* arrival = std::get_if<vip::AddAddress>(&change)) {
            add(arrival->held);
            missing |= !present_.contains(arrival->held);
            if (present_.contains(arrival->held) && !is_silent(arrival->held)) came.insert(arrival->held);
        } else {
            remove(std::get<vip::RemoveAddress>(change).held);
        }
    }
    if (!came.empty()) begin_to_answer(came);
    const auto may_come = [&](const vip::Held& held) {
        const auto has = [&](const auto& of_vhid) { return of_vhid.second.contains(held); };
        return std::ranges::any_of(wants_, has) || std::ranges::any_of(ahead_, has);
    };
    std::erase_if(recorded_, [&](const auto& held) { return !present_.contains(held) && !may_come(held); });
    record();
    Loop::move(retry_timer_, missing ? loop_.now() + 1s : Instant::max());
    Loop::move(announce_timer_, timetable_.next());
    probe_due();
}

void Holder::add(const vip::Held& held) {
    recorded_.insert(held);
    record();
    const Term term = term_of(held);
    if (term.until) lease({held}, *term.until);  // before it can answer
    if (auto done = kernel_.add(held, term.lifetime); !done) {
        if (!works(held.interface)) return;  // its link tells the same, and more
        failed_ = true;
        last_failure_ = loop_.now();
        tell_(log::Level::error, "address", "cannot take " + held.text() + ": " + done.error().story,
              {{"vip", held.prefix.address.text()}});
        return;
    }
    present_[held] = loop_.now();
}

// All are there before the neighbours hear of the first: a vip and the gateway of its backends move in one moment.
void Holder::begin_to_answer(const std::set<vip::Held>& came) {
    const Instant now = loop_.now();
    for (const auto& held : came) {
        present_[held] = now;
        probes_[held] = now + settling;
        timetable_.take(held, now);
    }
    announce_due();
}

void Holder::remove(const vip::Held& held) {
    if (auto done = kernel_.remove(held); !done) {
        tell_(log::Level::error, "address", "cannot let go of " + held.text() + ": " + done.error().story,
              {{"vip", held.prefix.address.text()}});
        if (lease_) (void)lease_->lease({held.prefix.address}, 0s);  // it stays, and answers nobody
        return;
    }
    forget_lease({held});
    present_.erase(held);
    recorded_.erase(held);
    timetable_.let_go(held);
    // The packet socket stays open: closing one waits some 30 ms for the kernel, and the bow-out comes after this.
}

bool Holder::record() {
    if (written_ == recorded_) return true;  // what the file says already
    if (auto done = write_held(directory_, recorded_); !done) {
        tell_(log::Level::warning, "address",
              done.error().story + "; koid --withdraw will rely on the kernel's mark alone", {});
        return false;
    }
    written_ = recorded_;
    return true;
}

// ---- Telling the neighbours ----

Holder::Ground* Holder::ground(const std::string& interface) {
    if (const auto known = grounds_.find(interface); known != grounds_.end()) return &known->second;
    auto link = kernel_.link(interface);
    if (!link || !*link || !(*link)->has_arp) return nullptr;
    auto socket = vip::PacketSocket::open((*link)->index, true);
    if (!socket) {
        tell_(log::Level::error, "address", "cannot announce on " + interface + ": " + socket.error().story, {});
        return nullptr;
    }
    return make_ground(**link, std::move(*socket));
}

Holder::Ground* Holder::make_ground(const vip::Link& link, vip::PacketSocket socket) {
    auto watch = loop_.on_io(socket.fd(), EPOLLIN, Priority::facts, "strangers",
                             [this, interface = link.name](std::uint32_t) { hear(interface); });
    return &grounds_.emplace(link.name, Ground{link, std::move(socket), std::move(watch)}).first->second;
}

void Holder::announce(const vip::Held& held) {
    Ground* here = ground(held.interface);
    if (!here || !here->link.works()) return;
    const bool router = !held.prefix.address.is_v4() && is_router(held.interface);
    for (const auto& frame : vip::announcement(held.prefix.address, here->link.mac, router)) {
        // A full queue is no reason to stop: the timetable says it again.
        (void)here->socket.send(frame);
    }
}

void Holder::announce_due() {
    for (const auto& held : timetable_.due(loop_.now())) announce(held);
    Loop::move(announce_timer_, timetable_.next());
}

void Holder::announce_again(Vhid vhid, Instant now) {
    const auto wants = wants_.find(vhid);
    if (wants == wants_.end()) return;
    for (const auto& held : wants->second)
        if (present_.contains(held)) timetable_.repeat(held, now);
    announce_due();
}

void Holder::probe(const vip::Held& held) {
    if (Ground* here = ground(held.interface))
        (void)here->socket.send(vip::probe(held.prefix.address, here->link.mac));
}

void Holder::probe_due() {
    const Instant now = loop_.now();
    const auto answered = [&](const IpAddress& vip) {
        return std::ranges::any_of(strangers_, [&](const auto& s) {
            return s.first.first == vip && !s.second.ourselves && now - s.second.seen < 1min;
        });
    };
    Instant next = Instant::max();
    for (auto it = probes_.begin(); it != probes_.end();) {
        bool again = present_.contains(it->first);
        if (again && it->second <= now) {
            probe(it->first);
            it->second = now + probe_pause;
            again = answered(it->first.prefix.address);
        }
        if (again) next = std::min(next, it->second);
        it = again ? std::next(it) : probes_.erase(it);
    }
    Loop::move(probe_timer_, next);
}

void Holder::hear(const std::string& interface) {
    const auto here = grounds_.find(interface);
    if (here == grounds_.end()) return;
    std::set<IpAddress> ours;
    std::map<IpAddress, vip::Held> settled;
    for (const auto& [held, since] : present_) {
        if (held.interface != interface || loop_.now() - since < settling || is_silent(held)) continue;
        if (term_of(held).handing_over) continue;
        ours.insert(held.prefix.address);
        settled.insert_or_assign(held.prefix.address, held);
    }
    for (const auto& frame : here->second.socket.receive())
        if (const auto stranger = vip::claims(frame, ours, here->second.link.mac))
            sight(*stranger, settled.at(stranger->vip));
}

bool Holder::has_mac(const vip::Mac& mac) const {
    const auto links = kernel_.links();
    return links && std::ranges::find(*links, mac, &vip::Link::mac) != links->end();
}

bool Holder::works(const std::string& interface) const {
    const auto link = kernel_.link(interface);
    return link && *link && (*link)->works();
}

void Holder::sight(const vip::Stranger& stranger, const vip::Held& held) {
    constexpr std::size_t most_strangers = 64;  // anybody may make up MACs
    const Instant now = loop_.now();
    std::erase_if(strangers_, [&](const auto& s) { return now - s.second.seen > 5min; });
    if (strangers_.size() >= most_strangers && !strangers_.contains({stranger.vip, stranger.mac})) return;
    const auto [known, first] = strangers_.try_emplace({stranger.vip, stranger.mac});
    auto& sighting = known->second;
    if (first) sighting.ourselves = has_mac(stranger.mac);
    const bool news = first || now - sighting.logged >= 10min;
    sighting.seen = now;
    if (sighting.ourselves) return;
    if (probes_.try_emplace(held, now + probe_pause).second) probe_due();
    if (!news || !stranger_limit_.allows(now)) return;
    sighting.logged = now;
    tell_(log::Level::warning, "stranger",
          stranger.vip.text() + " is answered for by " + vip::text(stranger.mac) +
              " as well, which is not this node; see koi show troubles",
          {{"vip", stranger.vip.text()}, {"mac", vip::text(stranger.mac)}});
}

// ---- What the kernel says ----

void Holder::address_gone(const vip::Held& held) {
    if (!present_.contains(held)) return;  // our own removal, or foreign
    const auto found = kernel_.addresses();
    const auto is_it = [&](const auto& one) { return one.held == held; };
    if (found && std::ranges::any_of(*found, is_it)) {
        // Late news: we let it go and took it again. Or its lifetime was renewed in the moment after somebody removed
        // it, which put it back; then nobody was told yet.
        timetable_.repeat(held, loop_.now());
        announce_due();
        return;
    }
    present_.erase(held);
    if (!wanted().contains(held) || !works(held.interface))
        return;  // what goes with its interface comes back with it
    tell_(log::Level::warning, "address", held.text() + " was removed by somebody else; putting it back",
          {{"vip", held.prefix.address.text()}});
    converge();
}

void Holder::address_came(const vip::Held& held) {
    if (wanted().contains(held) && !present_.contains(held)) present_[held] = loop_.now();
}

void Holder::link_changed(const vip::Link& link) {
    const auto here = grounds_.find(link.name);
    if (here == grounds_.end()) return;
    const bool back = link.works() && !here->second.link.works();
    const bool another = link.index != here->second.link.index;
    here->second.link = link;
    if (another) grounds_.erase(here);
    if (!back) return;
    look_again();  // administratively down removes IPv6 addresses without a word
    for (const auto& [held, since] : present_)
        if (held.interface == link.name) timetable_.repeat(held, loop_.now());
    announce_due();
}

void Holder::link_gone(const std::string& interface) {
    grounds_.erase(interface);
    std::erase_if(present_, [&](const auto& p) { return p.first.interface == interface; });
}

void Holder::look_again() {
    const auto found = kernel_.addresses();
    if (!found) return;
    std::set<vip::Held> there;
    for (const auto& one : *found) there.insert(one.held);
    std::erase_if(present_, [&](const auto& p) { return !there.contains(p.first); });
    converge();
}

std::vector<link::VipReport> Holder::report(Vhid vhid, const std::set<vip::Held>& all) const {
    const auto wants = wants_.find(vhid);
    std::vector<link::VipReport> out;
    for (const auto& held : all) {
        const auto here = present_.find(held);
        out.push_back({held, wants != wants_.end() && wants->second.contains(held) && !silent_.contains(vhid),
                       here != present_.end(), here != present_.end() ? here->second : Instant{}});
    }
    return out;
}

std::vector<link::StrangerReport> Holder::strangers() const {
    std::vector<link::StrangerReport> out;
    for (const auto& [who, sighting] : strangers_)
        if (!sighting.ourselves && loop_.now() - sighting.seen < 5min)
            out.push_back({who.first, who.second, sighting.seen});
    return out;
}

}  // namespace koi::speaker
