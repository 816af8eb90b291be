#include "supervisor/speaker/estate.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "supervisor/base/check.h"
#include "supervisor/link/fields.h"

namespace koi::speaker {

namespace {

constexpr std::uint64_t magic = 0x4b4f4945535441;  // "KOIESTA"
constexpr off_t largest = 256 << 20;

struct Ours : link::Tongue {};

constexpr Family last(Ours, Family) { return Family::ipv6; }
void family(auto& io, auto& f) {
    io(f);
    io.expect(f == Family::ipv4 || f == Family::ipv6);
}

// ---- what it holds: said once, used in both directions (supervisor/base/fields.h) ----

void fields(auto& io, like<carp::Advert> auto& a) {
    io(a.vhid, a.advskew, a.advbase, a.demotion, a.presence, a.counter);
    for (auto& byte : a.digest) io(byte);
}
void fields(auto& io, like<carp::Trailer> auto& t) {
    io(t.version, t.key, t.leaving, t.clock, t.asks, t.ready, t.go, t.interval_ms, t.session, t.sender,
       t.configuration, t.healthy, t.backends, t.to);
}
void fields(auto& io, like<carp::Claim> auto& c) { io(c.demotion, c.beat); }
void fields(auto& io, like<carp::State> auto& s) {
    // By binding all of them: a member that is added and forgotten here does not compile.
    auto& [role, deadline, counts_from, since, may_preempt, demotion, stepped_down, bow_out_pending, fixed_deadline,
           heard_nobody, master, master_claim, master_interval, last_heard, master_sender, presence_at, asking,
           asked_by_leaving, prepared, asking_since, asked_first, last_asked, standby_heard, leaving, leaves_for_good,
           leaving_until, handing_to, handing_until, late_answers, tied_over_v6] = s;
    io(role, deadline, counts_from, since, may_preempt, demotion, stepped_down, bow_out_pending, fixed_deadline,
       heard_nobody, master, master_claim, master_interval, last_heard, master_sender, presence_at, asking,
       asked_by_leaving, prepared, asking_since, asked_first, last_asked, standby_heard, leaving, leaves_for_good,
       leaving_until, handing_to, handing_until, late_answers, tied_over_v6);
}
void fields(auto& io, like<carp::Auth> auto& a) {
    io(a.mode, a.keys, a.legacy_peers);
    io.expect(a.mode == carp::Auth::Mode::off || !a.keys.empty());
    for (const auto& [id, key] : a.keys) io.expect(id > 0 && key.size() >= link::shortest_auth_key);
}
void fields(auto& io, like<carp::Guard::Whole::Rule> auto& r) { io(r.auth, r.signs_until, r.counts_until); }
void fields(auto& io, like<carp::Replay::Remembered> auto& r) {
    io(r.sender);
    family(io, r.family);
    io(r.counter, r.session, r.clock, r.heard, r.recalled);
}
void fields(auto& io, like<carp::Guard::Whole> auto& g) {
    io(g.rules, g.pins, g.heard);
    io.expect(!g.rules.empty());
}
void fields(auto& io, like<carp::Instance::Whole> auto& i) {
    io(i.state, i.last_left, i.counters);
    bool has_previous = i.previous.has_value();
    io(has_previous);
    if constexpr (!std::is_const_v<std::remove_reference_t<decltype(i)>>)
        if (has_previous) i.previous.emplace();
    if (has_previous) io(*i.previous);
    io(i.previous_until, i.guard);
}
void fields(auto& io, like<Group::Peer> auto& p) { io(p.advert, p.last_heard, p.trailer, p.doubt, p.other_vips); }
void fields(auto& io, like<Group::Whole> auto& g) { io(g.instance, g.because, g.mute_until, g.peers, g.standbys); }
void fields(auto& io, like<Holder::Whole::Wanted> auto& w) {
    io(w.vhid, w.held, w.until, w.lifetime, w.silent, w.renewed);
    io.expect(!w.lifetime || *w.lifetime > Duration::zero());
}
void fields(auto& io, like<vip::PacketSocket::Kept> auto& k) { io(k.index, k.arp, k.neighbours, k.both); }
void fields(auto& io, like<Holder::Whole> auto& h) { io(h.wanted, h.present, h.failed, h.last_failure, h.sockets); }
void fields(auto& io, like<Estate::Socket> auto& s) {
    io(s.interface);
    family(io, s.family);
    io(s.index, s.fd);
    io.expect(s.interface.size() <= link::longest_interface);
}
void fields(auto& io, like<Estate::OfVhid> auto& v) {
    io(v.vhid, v.group, v.unplanned_takeovers, v.last_silence, v.silence_since);
}
void fields(auto& io, like<carp::Replay::Line> auto& l) {
    io(l.sender);
    family(io, l.family);
    io(l.counter);
}
void fields(auto& io, like<Estate::Heard> auto& h) { io(h.vhid, h.lines); }
void fields(auto& io, like<carp::Counter::Whole> auto& c) {
    io(c.kept.sender, c.kept.session, c.kept.high, c.last);
    io.expect(c.kept.sender != 0);
}
void fields(auto& io, like<WorkerProcess::Kept> auto& w) {
    io(w.channel, w.pid, w.format, w.version, w.restarts);
    io.expect(w.pid > 1 && link::formats.contains(w.format));
}
void fields(auto& io, like<link::UpgradeReport> auto& u) { io(u.number, u.running, u.failed, u.from, u.to); }
void fields(auto& io, like<Estate> auto& e) {
    io(e.left, e.lock, e.worker, e.sockets, e.told, e.counter, e.heard, e.vhids, e.holder, e.ready_told, e.is_another,
       e.status, e.unready_until, e.slipped_until, e.worst_slip, e.last_minute_slip, e.slip_since, e.upgrade);
#if KOI_FORMAT_RAISED
    io.since(estate_formats.highest, e.raised);
#endif
}

bool is_open(int fd) { return fd >= 3 && ::fcntl(fd, F_GETFD) >= 0; }

}  // namespace

std::vector<std::uint8_t> encode(const Estate& estate, std::uint8_t format) {
    Writing<Ours> io(format);
    io.out().u64(magic).u8(format);
    io(estate);
    return io.out().take();
}

std::optional<Estate> decode_estate(std::span<const std::uint8_t> bytes) {
    Reader head(bytes);
    const auto first = head.u64();
    const auto format = head.u8();
    if (head.bad() || first != magic || !can_take_over(format)) return std::nullopt;
    Reading<Ours> io(format, bytes.last(head.left()));
    Estate estate;
    io(estate);
    if (!io.in().complete()) return std::nullopt;
    return estate;
}

std::vector<int> descriptors(const Estate& estate) {
    std::vector<int> all = {estate.lock, estate.worker.channel};
    for (const auto& s : estate.sockets) all.push_back(s.fd);
    for (const auto& [interface, kept] : estate.holder.sockets)
        for (const int fd : {kept.arp, kept.neighbours, kept.both})
            if (fd >= 0) all.push_back(fd);
    return all;
}

Result<Fd> leave_behind(const Estate& estate, std::uint8_t format) {
    const std::string deed = "leaving what we know to the next program";
    const auto bytes = encode(estate, format);
    Fd fd(::memfd_create("koi estate", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (!fd) return from_errno(deed);
    for (std::size_t done = 0; done < bytes.size();) {
        const ssize_t n = ::write(fd.get(), bytes.data() + done, bytes.size() - done);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return from_errno(deed);
        done += static_cast<std::size_t>(n);
    }
    if (::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) != 0)
        return from_errno(deed);
    return fd;
}

Result<Estate> inherit(int number) {
    const std::string deed = "reading what the program before us has left";
    const Fd fd(number);
    struct stat file {};
    if (::fstat(number, &file) != 0) return from_errno(deed);
    const int seals = ::fcntl(number, F_GET_SEALS);
    if (seals < 0 || (seals & F_SEAL_WRITE) == 0 || file.st_size > largest)
        return Error{deed + ": descriptor " + std::to_string(number) + " is nothing that a koid leaves"};
    std::vector<std::uint8_t> bytes(static_cast<std::size_t>(file.st_size));
    for (std::size_t done = 0; done < bytes.size();) {
        const ssize_t n = ::pread(number, bytes.data() + done, bytes.size() - done, static_cast<off_t>(done));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return from_errno(deed);
        done += static_cast<std::size_t>(n);
    }
    auto estate = decode_estate(bytes);
    if (!estate) return Error{deed + ": it is of another release, or makes no sense"};
    if (!std::ranges::all_of(descriptors(*estate), is_open))
        return Error{deed + ": a descriptor that it names is not open"};
    if (estate->told.empty() ||
        !std::ranges::all_of(estate->told, [](const auto& word) { return link::decode(word).has_value(); }))
        return Error{deed + ": what the worker has told is of another release"};
    for (const int descriptor : descriptors(*estate)) (void)::fcntl(descriptor, F_SETFD, FD_CLOEXEC);  // again
    return std::move(*estate);
}

}  // namespace koi::speaker
