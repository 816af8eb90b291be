#include "supervisor/link/messages.h"

#include <concepts>
#include <type_traits>

#include "supervisor/base/bytes.h"

namespace koi::link {

namespace {

constexpr std::uint8_t format = 4;

constexpr std::size_t longest_name = 255;      // a node
constexpr std::size_t longest_interface = 15;  // IFNAMSIZ - 1
constexpr std::size_t longest_password = 19;   // carp.md 2.1
constexpr std::size_t shortest_auth_key = 32;

template <class T, class Of>
concept like = std::same_as<std::remove_const_t<T>, Of>;
template <class T>
concept number = std::integral<T> && !std::same_as<T, bool>;

// ---- what each message holds: said once, used in both directions ----
// `io(a, b)` writes a and b, or reads them. expect() is for the reader: what no writer of ours says is refused.

void fields(auto& io, like<carp::Settings> auto& s) {
    io(s.vhid, s.interface, s.addresses, s.password, s.advbase, s.advskew, s.preempt, s.preempt_delay, s.peers,
       s.link_local, s.v6_checksum, s.lease.kind, s.lease.length, s.auth.mode, s.auth.keys, s.auth.legacy_peers,
       s.interval);
    io.expect(s.interface.size() <= longest_interface);
    io.expect(!s.password.empty() && s.password.size() <= longest_password);
    io.expect(s.preempt_delay >= Duration::zero());
    io.expect(s.lease.length >= Duration::zero() && s.interval >= Duration::zero());
    io.expect(s.auth.mode == carp::Auth::Mode::off || !s.auth.keys.empty());
    for (const auto& [id, key] : s.auth.keys) io.expect(id > 0 && key.size() >= shortest_auth_key);
}
void fields(auto& io, like<carp::Condition> auto& c) { io(c.configuration, c.healthy, c.backends); }
void fields(auto& io, like<carp::Counters> auto& c) {
    io(c.sent, c.bow_outs_sent, c.accepted);
    for (auto& count : c.refused) io(count);
    io(c.became_master);
}
void fields(auto& io, like<vip::Held> auto& h) {
    io(h.interface, h.prefix);
    io.expect(h.interface.size() <= longest_interface);
}

void fields(auto& io, like<VhidSettings> auto& s) { io(s.carp, s.addresses); }
void fields(auto& io, like<Settings> auto& s) {
    io(s.node, s.vhids, s.demote_link);
    io.expect(s.node.size() <= longest_name);
}
void fields(auto& io, like<TableReady> auto& t) { io(t.vhid, t.ready, t.always, t.since, t.prepared); }
void fields(auto& io, like<Condition> auto& c) { io(c.carp); }
void fields(auto& io, like<Demote> auto& d) { io(d.demotion); }
void fields(auto& io, like<StepDown> auto& s) { io(s.vhid, s.because); }
void fields(auto& io, like<StepUp> auto& s) { io(s.vhid); }
void fields(auto&, like<Alive> auto&) {}
void fields(auto& io, like<Say> auto& s) { io(s.ready, s.status); }
void fields(auto& io, like<Reloading> auto& r) { io(r.begins); }
void fields(auto&, like<Left> auto&) {}

void fields(auto& io, like<RoleTold> auto& r) { io(r.vhid, r.role, r.since, r.because, r.prepares); }
void fields(auto& io, like<VipReport> auto& v) { io(v.held, v.desired, v.present, v.since); }
void fields(auto& io, like<RefusalReport> auto& r) { io(r.why, r.source, r.at, r.sentence); }
void fields(auto& io, like<VhidReport> auto& v) {
    io(v.vhid, v.interface, v.link_works, v.role, v.since, v.because, v.demotion, v.stepped_down, v.own_address,
       v.master, v.master_demotion, v.master_beat, v.last_heard, v.leased_until, v.counters, v.unplanned_takeovers,
       v.last_silence, v.vips, v.refusals);
    io.expect(v.interface.size() <= longest_interface);
}
void fields(auto& io, like<StrangerReport> auto& s) {
    io(s.vip);
    for (auto& byte : s.mac) io(byte);
    io(s.last_seen);
}
void fields(auto& io, like<PeerReport> auto& p) {
    io(p.vhid, p.address, p.demotion, p.beat, p.last_heard, p.condition, p.other_vips, p.doubt, p.standby,
       p.presence);
}
void fields(auto& io, like<Report> auto& r) {
    io(r.vhids, r.strangers, r.peers, r.worker_restarts, r.worst_slip, r.leases, r.lease_missing, r.memory_missing);
}
void fields(auto& io, like<Happened> auto& h) {
    io(h.level, h.event, h.sentence, h.fields);
    io.expect(h.level >= 0 && h.level <= 7);  // syslog's
}
void fields(auto&, like<Reload> auto&) {}
void fields(auto&, like<Leave> auto&) {}

constexpr carp::Role last(carp::Role) { return carp::Role::master; }
constexpr carp::LinkLocal last(carp::LinkLocal) { return carp::LinkLocal::include; }
constexpr carp::Lease::Kind last(carp::Lease::Kind) { return carp::Lease::Kind::fixed; }
constexpr carp::Auth::Mode last(carp::Auth::Mode) { return carp::Auth::Mode::require; }
constexpr carp::Refusal last(carp::Refusal) { return carp::Refusal::table_full; }
constexpr carp::V6Checksum last(carp::V6Checksum) { return carp::V6Checksum::pseudo; }

// ---- the two directions ----

class Writing {
public:
    template <class... Values>
    void operator()(const Values&... values) {
        (put(values), ...);
    }
    void expect(bool) {}
    Writer& out() { return out_; }

private:
    void put(bool b) { out_.boolean(b); }
    void put(number auto n) { out_.i64(static_cast<std::int64_t>(n)); }
    void put(std::uint8_t n) { out_.u8(n); }
    void put(const std::string& s) { out_.string(s); }
    void put(const IpAddress& a) { out_.address(a); }
    void put(const Prefix& p) { out_.prefix(p); }
    void put(Duration d) { out_.duration(d); }
    void put(Instant t) { out_.instant(t); }
    template <class M, class R, R lowest, R highest>
    void put(Bounded<M, R, lowest, highest> n) {
        out_.i64(n.value());
    }
    template <class E>
    requires std::is_enum_v<E>
    void put(E e) { out_.u8(static_cast<std::uint8_t>(e)); }
    template <class A, class B>
    void put(const std::pair<A, B>& p) {
        (*this)(p.first, p.second);
    }
    template <class T>
    void put(const std::optional<T>& o) {
        out_.boolean(o.has_value());
        if (o) put(*o);
    }
    template <class T>
    void put(const std::vector<T>& all) {
        out_.count(all.size());
        for (const auto& one : all) put(one);
    }
    template <class K, class V>
    void put(const std::map<K, V>& all) {
        out_.count(all.size());
        for (const auto& one : all) put(one);
    }
    template <class T>
    requires requires(Writing& io, const T& value) { fields(io, value); }
    void put(const T& value) { fields(*this, value); }

    Writer out_;
};

class Reading {
public:
    explicit Reading(std::span<const std::uint8_t> bytes) : in_(bytes) {}
    template <class... Values>
    void operator()(Values&... values) {
        (get(values), ...);
    }
    void expect(bool as_we_write_it) {
        if (!as_we_write_it) in_.make_bad();
    }
    Reader& in() { return in_; }

private:
    void get(bool& b) { b = in_.boolean(); }
    template <number N>
    void get(N& n) {
        const std::int64_t read = in_.i64();
        n = static_cast<N>(read);
        expect(static_cast<std::int64_t>(n) == read);
    }
    void get(std::uint8_t& n) { n = in_.u8(); }
    void get(std::string& s) { s = in_.string(); }
    void get(IpAddress& a) { a = in_.address(); }
    void get(Prefix& p) { p = in_.prefix(); }
    void get(Duration& d) { d = in_.duration(); }
    void get(Instant& t) { t = in_.instant(); }
    template <class M, class R, R lowest, R highest>
    void get(Bounded<M, R, lowest, highest>& n) {
        const auto read = Bounded<M, R, lowest, highest>::of(in_.i64());
        expect(read.has_value());
        if (read) n = *read;
    }
    template <class E>
    requires std::is_enum_v<E>
    void get(E& e) {
        const auto read = static_cast<E>(in_.u8());
        expect(read <= last(E{}));
        if (!in_.bad()) e = read;
    }
    template <class A, class B>
    void get(std::pair<A, B>& p) {
        (*this)(p.first, p.second);
    }
    template <class T>
    void get(std::optional<T>& o) {
        if (in_.boolean()) get(o.emplace());
    }
    template <class T>
    void get(std::vector<T>& all) {
        // No reserve(): a count that lies may be as large as the rest of the message, and T is larger than a byte.
        for (std::size_t n = in_.count(); n > 0 && !in_.bad(); --n) get(all.emplace_back());
    }
    template <class K, class V>
    void get(std::map<K, V>& all) {
        for (std::size_t n = in_.count(); n > 0 && !in_.bad(); --n) {
            std::pair<K, V> one;
            get(one);
            expect(all.empty() || all.rbegin()->first < one.first);
            all.insert(std::move(one));
        }
    }
    template <class T>
    requires requires(Reading& io, T& value) { fields(io, value); }
    void get(T& value) { fields(*this, value); }

    Reader in_;
};

// The alternative number `kind` of Message, read.
template <std::size_t kind = 0>
std::optional<Message> read_kind(std::size_t wanted, Reading& io) {
    if constexpr (kind == std::variant_size_v<Message>) {
        return std::nullopt;
    } else {
        if (kind != wanted) return read_kind<kind + 1>(wanted, io);
        std::variant_alternative_t<kind, Message> message;
        io(message);
        if (!io.in().complete()) return std::nullopt;
        return Message(std::in_place_index<kind>, std::move(message));
    }
}

}  // namespace

std::vector<std::uint8_t> encode(const Message& message) {
    Writing io;
    io.out().u8(format).u8(static_cast<std::uint8_t>(message.index()));
    std::visit([&io](const auto& one) { io(one); }, message);
    return io.out().take();
}

std::optional<Message> decode(std::span<const std::uint8_t> bytes) {
    Reading io(bytes);
    if (io.in().u8() != format) return std::nullopt;
    return read_kind(io.in().u8(), io);
}

}  // namespace koi::link
