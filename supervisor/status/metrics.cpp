// A status in Prometheus' text format. Base units (seconds, bytes), counters end in _total, instants are Unix times
// in seconds. A service is labelled with its name (a foreign one with its place), a backend with its place.
#include <charconv>
#include <initializer_list>
#include <set>
#include <string_view>
#include <utility>

#include "supervisor/status/status.h"
#include "supervisor/status/tree.h"
#include "supervisor/status/words.h"

namespace koi::status {

namespace {

using Labels = std::initializer_list<std::pair<std::string_view, std::string>>;

std::string escaped(std::string_view value) {
    std::string out;
    for (const char c : value) {
        if (c == '\\' || c == '"') out += '\\';
        if (c == '\n')
            out += "\\n";
        else
            out += c;
    }
    return out;
}

class Exposition {
public:
    explicit Exposition(const Status& status) : s_(status) {}

    std::string everything() {
        node();
        roles();
        adverts();
        vips();
        services();
        backends();
        pools();
        return std::move(out_);
    }

private:
    enum class Type { counter, gauge };

    // Opens a family: all samples until the next one belong to it.
    void family(Type type, std::string_view name, std::string_view help) {
        name_ = name;
        out_ += "# HELP " + name_ + " " + std::string(help) + "\n# TYPE " + name_ +
                (type == Type::counter ? " counter\n" : " gauge\n");
    }
    void counter(std::string_view name, std::string_view help) { family(Type::counter, name, help); }
    void gauge(std::string_view name, std::string_view help) { family(Type::gauge, name, help); }

    void sample(Labels labels, std::uint64_t value) { sample(labels, std::to_string(value)); }
    void sample(Labels labels, bool value) { sample(labels, std::string(value ? "1" : "0")); }
    void sample(Labels labels, Duration value) {
        char digits[64];
        const double seconds = std::chrono::duration<double>(value).count();
        const auto end = std::to_chars(digits, digits + sizeof digits, seconds, std::chars_format::fixed).ptr;
        sample(labels, std::string(digits, end));
    }
    // An instant that never was has no sample.
    void sample(Labels labels, Instant value) {
        if (value == Instant{}) return;
        const auto since_1970 = time_of_day(value, s_).time_since_epoch();
        sample(labels, std::chrono::duration_cast<Duration>(since_1970));
    }
    void sample(Labels labels, const std::string& value) {
        out_ += name_;
        char before = '{';
        for (const auto& [key, text] : labels) {
            out_ += before + std::string(key) + "=\"" + escaped(clean(text)) + "\"";
            before = ',';
        }
        if (before == ',') out_ += '}';
        out_ += " " + value + "\n";
    }

    void node() {
        gauge("koi_build_info", "Always 1; the version that runs and the node's name.");
        sample({{"version", s_.version}, {"node", s_.node}}, true);
        gauge("koi_start_time_seconds", "When the worker started, as a Unix time.");
        sample({}, s_.started);
        gauge("koi_configuration_time_seconds", "When the running configuration was applied, as a Unix time.");
        sample({}, s_.configured);
        troubles();
        counter("koi_ipvs_repairs_total",
                "Changes made by somebody else to our virtual servers that were put right.");
        sample({}, s_.repairs);
        gauge("koi_speaker_known", "1 if the speaker has reported; without it nothing is known of roles and vips.");
        sample({}, s_.speaker_known);
        if (!s_.speaker_known) return;
        counter("koi_worker_restarts_total", "How often the speaker had to start the worker anew.");
        sample({}, s_.speaker.worker_restarts);
        gauge("koi_lease_enforced", "1 unless the packet filter cannot end leases in time. None: lease off.");
        if (s_.speaker.leases) sample({}, s_.speaker.lease_missing.empty());
        gauge("koi_advert_worst_slip_seconds", "How late an advert's timer ran at worst in the last minute.");
        sample({}, s_.speaker.worst_slip);
    }

    void troubles() {
        std::uint64_t warnings = 0;
        for (const Trouble& t : s_.troubles) warnings += t.warning ? 1 : 0;
        gauge("koi_troubles", "What is desired and cannot be had (trouble), or works and needs a look (warning).");
        sample({{"severity", "trouble"}}, s_.troubles.size() - warnings);
        sample({{"severity", "warning"}}, warnings);
        gauge("koi_trouble_since_seconds", "Since when a trouble lasts, as a Unix time.");
        std::set<std::pair<std::string, std::string>> said;  // one series each, the worst and oldest
        for (const Trouble& t : s_.troubles)
            if (said.emplace(t.what, t.about).second)
                sample({{"what", t.what}, {"about", t.about}, {"severity", t.warning ? "warning" : "trouble"}},
                       t.since);
    }

    // One sample for each vhid: value(v) of it.
    void each_vhid(auto value) {
        for (const auto& v : s_.speaker.vhids) sample({{"vhid", number(v.vhid)}}, value(v));
    }
    static std::string number(Vhid v) { return std::to_string(v.value()); }

    void roles() {
        gauge("koi_role", "1 for the role this node has in a vhid, 0 for the others.");
        for (const auto& v : s_.speaker.vhids)
            for (const auto role : {carp::Role::init, carp::Role::backup, carp::Role::master})
                sample({{"vhid", number(v.vhid)}, {"role", std::string(to_string(role))}}, v.role == role);
        gauge("koi_role_since_seconds", "When the present role began, as a Unix time.");
        each_vhid([](const auto& v) { return v.since; });
        counter("koi_transitions_total", "How often this node became master of a vhid.");
        for (const auto& v : s_.speaker.vhids)
            sample({{"vhid", number(v.vhid)}, {"to", "master"}}, v.counters.became_master);
        counter("koi_takeovers_unplanned_total", "How often this node took over because a master fell silent.");
        each_vhid([](const auto& v) { return v.unplanned_takeovers; });
        gauge("koi_takeover_silence_seconds",
              "From the last advert of the master before until our addresses answered, at the last unplanned "
              "takeover.");
        each_vhid([](const auto& v) { return v.last_silence; });
        gauge("koi_demotion", "How unwell this node says it is; 0 is well, 240 the most.");
        each_vhid([](const auto& v) { return std::uint64_t{v.demotion.value()}; });
        gauge("koi_stepped_down", "1 while the operator keeps this node from leading.");
        each_vhid([](const auto& v) { return v.stepped_down; });
        gauge("koi_link_works", "1 if the interface of a vhid is up and has a carrier.");
        for (const auto& v : s_.speaker.vhids)
            sample({{"vhid", number(v.vhid)}, {"interface", v.interface}}, v.link_works);
    }

    void adverts() {
        counter("koi_adverts_sent_total", "Adverts said by this node.");
        each_vhid([](const auto& v) { return v.counters.sent; });
        counter("koi_bow_outs_sent_total", "Adverts that said this node is leaving.");
        each_vhid([](const auto& v) { return v.counters.bow_outs_sent; });
        counter("koi_adverts_accepted_total", "Good adverts heard from peers.");
        each_vhid([](const auto& v) { return v.counters.accepted; });
        counter("koi_adverts_refused_total", "Packets that were no advert to act on, by reason.");
        for (const auto& v : s_.speaker.vhids)
            for (std::size_t i = 0; i < carp::refusals; ++i) {
                const auto reason = to_string(static_cast<carp::Refusal>(i));
                sample({{"vhid", number(v.vhid)}, {"reason", std::string(reason)}}, v.counters.refused[i]);
            }
        gauge("koi_advert_heard_time_seconds", "When a peer's good advert was last heard, as a Unix time.");
        for (const auto& p : s_.speaker.peers)
            if (!p.presence) sample({{"vhid", number(p.vhid)}, {"peer", p.address.text()}}, p.last_heard);
        gauge("koi_standby_heard_time_seconds", "When a peer last said that it stands by for us, as a Unix time.");
        for (const auto& p : s_.speaker.peers)
            if (p.standby) sample({{"vhid", number(p.vhid)}, {"peer", p.address.text()}}, p.last_heard);
        gauge("koi_peer_demotion", "How unwell a peer said it is.");
        for (const auto& p : s_.speaker.peers)
            sample({{"vhid", number(p.vhid)}, {"peer", p.address.text()}}, std::uint64_t{p.demotion});
    }

    void each_vip(auto value) {
        for (const auto& v : s_.speaker.vhids)
            for (const auto& vip : v.vips)
                sample({{"vip", vip.held.prefix.address.text()},
                        {"vhid", number(v.vhid)},
                        {"interface", vip.held.interface}},
                       value(vip));
    }
    void vips() {
        gauge("koi_vip_present", "1 if the vip is on this node.");
        each_vip([](const auto& vip) { return vip.present; });
        gauge("koi_vip_desired", "1 if the vip should be on this node.");
        each_vip([](const auto& vip) { return vip.desired; });
        gauge("koi_vip_stranger_seen_time_seconds", "When somebody else last answered for a vip, as a Unix time.");
        for (const auto& s : s_.speaker.strangers)
            sample({{"vip", s.vip.text()}, {"mac", vip::text(s.mac)}}, s.last_seen);
    }

    static std::string label(const ServiceStatus& s) { return s.name.empty() ? ipvs::text(s.at) : s.name; }
    void each_service(auto value) {
        for (const auto& s : s_.services) sample({{"service", label(s)}}, value(s));
    }
    // The same totals for services and backends; of(x) finds the Traffic.
    void traffic(const std::string& prefix, const std::string& whose, auto each) {
        counter(prefix + "_connections_total", "Connections opened towards " + whose + ".");
        each([](const ipvs::Traffic& t) { return t.connections; });
        counter(prefix + "_packets_in_total", "Packets towards " + whose + ".");
        each([](const ipvs::Traffic& t) { return t.packets_in; });
        counter(prefix + "_packets_out_total", "Packets back from " + whose + "; 0 where answers go past this node.");
        each([](const ipvs::Traffic& t) { return t.packets_out; });
        counter(prefix + "_bytes_in_total", "Bytes towards " + whose + ".");
        each([](const ipvs::Traffic& t) { return t.bytes_in; });
        counter(prefix + "_bytes_out_total", "Bytes back from " + whose + "; 0 where answers go past this node.");
        each([](const ipvs::Traffic& t) { return t.bytes_out; });
    }
    void services() {
        gauge("koi_service_info", "Always 1; where a service is, its scheduler, forwarding method and pool.");
        for (const auto& s : s_.services)
            sample({{"service", label(s)},
                    {"at", ipvs::text(s.at)},
                    {"scheduler", s.settings.scheduler},
                    {"forward", s.forward},
                    {"pool", s.pool}},
                   true);
        gauge("koi_service_desired", "1 if the service should be in this node's table.");
        each_service([](const auto& s) { return s.desired; });
        gauge("koi_service_present", "1 if the service is in this node's table.");
        each_service([](const auto& s) { return s.observed; });
        gauge("koi_service_foreign", "1 for a service that is not in the configuration.");
        each_service([](const auto& s) { return s.foreign; });
        gauge("koi_service_backends", "Backends that take new connections.");
        each_service([](const auto& s) {
            std::uint64_t n = 0;
            for (const auto& b : s.backends) n += b.observed_weight.value_or(0) > 0 ? 1 : 0;
            return n;
        });
        traffic("koi_service", "a service",
                [this](auto of) { each_service([of](const auto& s) { return of(s.traffic); }); });
    }

    void each_backend(auto value) {
        for (const auto& s : s_.services)
            for (const auto& b : s.backends)
                if (const std::optional<std::uint64_t> v = value(b))
                    sample({{"service", label(s)}, {"backend", ipvs::text(b.key)}}, *v);
    }
    void backends() {
        gauge("koi_backend_weight", "The weight in the table; 0 takes no new connections. None: not in the table.");
        each_backend([](const auto& b) { return b.observed_weight; });
        gauge("koi_backend_desired_weight", "The weight that should be in the table. None: should not be there.");
        each_backend([](const auto& b) { return b.desired_weight; });
        gauge("koi_backend_draining", "1 while a backend that was removed keeps its connections.");
        each_backend([](const auto& b) { return b.draining ? 1 : 0; });
        gauge("koi_backend_active_connections", "Connections that are established now.");
        each_backend([](const auto& b) { return b.counters.active; });
        gauge("koi_backend_inactive_connections", "Connections that are being opened or closed, or have no state.");
        each_backend([](const auto& b) { return b.counters.inactive; });
        gauge("koi_backend_persistent_connections", "Clients that are bound to the backend.");
        each_backend([](const auto& b) { return b.counters.persistent; });
        traffic("koi_backend", "a backend",
                [this](auto of) { each_backend([of](const auto& b) { return of(b.counters.traffic); }); });
    }

    void each_pool(auto value) {
        for (const auto& p : s_.pools) sample({{"pool", p.name}}, value(p));
    }
    static std::uint64_t draining(const PoolStatus& p) {
        std::uint64_t n = 0;
        for (const auto& m : p.members) n += m.draining_until ? 1 : 0;
        return n;
    }
    void pools() {
        gauge("koi_pool_members", "Backends the pool believes in, those that drain not counted.");
        each_pool([](const auto& p) { return p.members.size() - draining(p); });
        gauge("koi_pool_draining", "Backends that are gone from the source and keep their connections for a while.");
        each_pool([](const auto& p) { return draining(p); });
        gauge("koi_pool_known", "1 once the source has delivered a list.");
        each_pool([](const auto& p) { return p.known; });
        gauge("koi_pool_failing", "1 while the source cannot say who is there; the last good list stays.");
        each_pool([](const auto& p) { return p.failure.has_value(); });
        gauge("koi_pool_empty_questioned", "1 while an empty list is held back.");
        each_pool([](const auto& p) { return p.empty_since.has_value(); });
        gauge("koi_pool_from_disk", "1 while the pool lives on the list that was kept on disk.");
        each_pool([](const auto& p) { return p.from_disk; });
        gauge("koi_pool_heard_time_seconds", "When the source last delivered a list, as a Unix time.");
        each_pool([](const auto& p) { return p.heard; });
        gauge("koi_pool_changed_time_seconds", "When the pool's members last changed, as a Unix time.");
        each_pool([](const auto& p) { return p.changed; });
    }

    const Status& s_;
    std::string name_;
    std::string out_;
};

}  // namespace

std::string as_metrics(const Status& status) { return Exposition(status).everything(); }

}  // namespace koi::status
