#include "supervisor/link/messages.h"

#include "supervisor/base/check.h"
#include "supervisor/link/fields.h"

namespace koi::link {

namespace {

constexpr std::size_t longest_name = 255;  // a node
constexpr std::size_t longest_version = 63;

// Its overloads of fields() are here.
struct Ours : Tongue {};

// ---- what each message holds: said once, used in both directions (supervisor/base/fields.h) ----

void fields(auto& io, like<VhidSettings> auto& s) { io(s.carp, s.addresses); }
void fields(auto& io, like<Settings> auto& s) {
    io(s.node, s.vhids, s.demote_link);
#if KOI_FORMAT_RAISED
    io.since(formats.highest, s.raised);
#endif
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
void fields(auto& io, like<UpgradeReport> auto& u) { io(u.number, u.running, u.failed, u.from, u.to); }
void fields(auto& io, like<Report> auto& r) {
    io(r.vhids, r.strangers, r.peers, r.worker_restarts, r.worst_slip, r.leases, r.lease_missing, r.memory_missing);
    io.since(5, r.version, r.upgrade);
#if KOI_FORMAT_RAISED
    io.since(formats.highest, r.raised);
#endif
}
void fields(auto& io, like<Happened> auto& h) {
    io(h.level, h.event, h.sentence, h.fields);
    io.expect(h.level >= 0 && h.level <= 7);  // syslog's
}
void fields(auto&, like<Reload> auto&) {}
void fields(auto&, like<Leave> auto&) {}

void fields(auto& io, like<Hello> auto& h) {
    io(h.formats, h.version, h.waits);
    io.expect(h.version.size() <= longest_version);
}
void fields(auto&, like<Begin> auto&) {}
void fields(auto&, like<Upgrade> auto&) {}

// The alternative number `kind` of Message, read.
template <std::size_t kind = 0>
std::optional<Message> read_kind(std::size_t wanted, Reading<Ours>& io) {
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

constexpr std::size_t kinds_of_4 = 15;  // Settings to Leave

}  // namespace

bool is_spoken(const Message& message, std::uint8_t format) { return format >= 5 || message.index() < kinds_of_4; }

std::vector<std::uint8_t> encode(const Message& message, std::uint8_t format) {
    KOI_CHECK(formats.contains(format) && is_spoken(message, format));
    Writing<Ours> io(format);
    io.out().u8(format).u8(static_cast<std::uint8_t>(message.index()));
    std::visit([&io](const auto& one) { io(one); }, message);
    return io.out().take();
}

std::optional<std::uint8_t> format_of(std::span<const std::uint8_t> bytes) {
    return bytes.empty() ? std::nullopt : std::optional(bytes[0]);
}

std::optional<Message> decode(std::span<const std::uint8_t> bytes) {
    const auto format = format_of(bytes);
    if (!format || !formats.contains(*format)) return std::nullopt;
    Reading<Ours> io(*format, bytes.subspan(1));
    auto message = read_kind(io.in().u8(), io);
    return message && is_spoken(*message, *format) ? message : std::nullopt;
}

}  // namespace koi::link
