// The names and units of JSON and YAML: everything that a program may rely on is decided in this file.
#include <nlohmann/json.hpp>

#include "supervisor/status/status.h"
#include "supervisor/status/tree.h"
#include "supervisor/status/words.h"

namespace koi::status {

namespace {

using Json = nlohmann::ordered_json;

double seconds(Duration d) { return std::chrono::duration<double>(d).count(); }

// Builds the tree of one status; knows the time of day for its instants.
class Tree {
public:
    explicit Tree(const Status& status) : status_(status) {}

    Json whole(Part part) const {
        Json out = head();
        const bool all = part == Part::all;
        if (all) out.update(general());
        if (all || part == Part::troubles) out["troubles"] = list(status_.troubles);
        if (all || part == Part::roles) out["roles"] = list(status_.speaker.vhids);
        if (all || part == Part::vips) out["vips"] = vips();
        if (all || part == Part::services) out["services"] = list(status_.services);
        if (all || part == Part::pools) out["pools"] = list(status_.pools);
        if (part == Part::sources) out["sources"] = sources();
        if (all || part == Part::peers) out["peers"] = list(status_.speaker.peers);
        if (all || part == Part::peers) out["strangers"] = list(status_.speaker.strangers);
        return out;
    }

    Json one(const Event& e) const {
        Json fields = Json::object();
        for (const auto& [key, value] : e.fields) fields[clean(key)] = clean(value);
        return {{"number", e.number},
                {"time", time(e.at)},
                {"level", e.level},
                {"event", clean(e.event)},
                {"sentence", clean(e.sentence)},
                {"fields", std::move(fields)}};
    }

private:
    // The boot of the machine, Instant{}, stands for "never".
    Json time(Instant t) const { return t == Instant{} ? Json() : Json(rfc3339(time_of_day(t, status_))); }
    Json time(const std::optional<Instant>& t) const { return t ? time(*t) : Json(); }
    template <class T>
    static Json text(const std::optional<T>& value) {
        return value ? Json(value->text()) : Json();
    }
    static Json number(const std::optional<std::uint32_t>& n) { return n ? Json(*n) : Json(); }
    static Json number(const std::optional<Vhid>& n) { return n ? Json(n->value()) : Json(); }
    template <class T>
    Json list(const std::vector<T>& all) const {
        Json out = Json::array();
        for (const T& each : all) out.push_back(one(each));
        return out;
    }

    Json head() const {
        return {{"node", clean(status_.node)}, {"version", clean(status_.version)}, {"time", rfc3339(status_.wall)}};
    }

    Json general() const {
        return {
            {"started", time(status_.started)},
            {"uptime_seconds", seconds(status_.at - status_.started)},
            {"configuration", clean(status_.configuration)},
            {"configured", time(status_.configured)},
            {"standby", clean(status_.standby)},
            {"datapath", clean(status_.datapath)},
            {"ipvs_repairs", status_.repairs},
            {"versions",
             {{"speaker", clean(status_.speaker.version)},
              {"worker", clean(status_.version)},
              {"scout", clean(status_.scout_version)},
              {"installed", clean(status_.installed_version)}}},
            {"speaker",
             {{"known", status_.speaker_known},
              {"worker_restarts", status_.speaker.worker_restarts},
              {"worst_slip_seconds", seconds(status_.speaker.worst_slip)},
              {"lease_missing", clean(status_.speaker.lease_missing)}}},
        };
    }

    Json one(const Trouble& t) const {
        return {{"what", clean(t.what)},
                {"about", clean(t.about)},
                {"severity", t.warning ? "warning" : "trouble"},
                {"since", time(t.since)},
                {"sentence", clean(t.sentence)}};
    }

    Json preempt_of(Vhid vhid) const {
        const auto found = status_.preempt.find(vhid);
        return found == status_.preempt.end() ? Json() : Json(found->second);
    }
    Json one(const link::VhidReport& v) const {
        Json refused = Json::object();
        for (std::size_t i = 0; i < carp::refusals; ++i)
            refused[std::string(to_string(static_cast<carp::Refusal>(i)))] = v.counters.refused[i];
        return {
            {"vhid", v.vhid.value()},
            {"role", to_string(v.role)},
            {"since", time(v.since)},
            {"because", clean(v.because)},
            {"interface", clean(v.interface)},
            {"link_works", v.link_works},
            {"demotion", v.demotion.value()},
            {"stepped_down", v.stepped_down},
            {"preempt", preempt_of(v.vhid)},
            {"own_address", text(v.own_address)},
            {"master", text(v.master)},
            {"master_demotion", v.master ? Json(v.master_demotion) : Json()},
            {"master_beat_seconds", v.master ? Json(seconds(v.master_beat)) : Json()},
            {"last_heard", time(v.last_heard)},
            {"leased_until", time(v.leased_until)},
            {"became_master", v.counters.became_master},
            {"unplanned_takeovers", v.unplanned_takeovers},
            {"last_silence_seconds", v.unplanned_takeovers > 0 ? Json(seconds(v.last_silence)) : Json()},
            {"adverts",
             {{"sent", v.counters.sent},
              {"bow_outs_sent", v.counters.bow_outs_sent},
              {"accepted", v.counters.accepted},
              {"refused", std::move(refused)}}},
        };
    }

    Json vips() const {
        Json out = Json::array();
        for (const auto& v : status_.speaker.vhids)
            for (const auto& vip : v.vips)
                out.push_back({{"vip", vip.held.prefix.text()},
                               {"interface", clean(vip.held.interface)},
                               {"vhid", v.vhid.value()},
                               {"desired", vip.desired},
                               {"present", vip.present},
                               {"since", time(vip.since)}});
        return out;
    }

    static Json one(const ipvs::Traffic& t) {
        return {
            {"connections", t.connections},
            {"packets_in", t.packets_in},
            {"packets_out", t.packets_out},
            {"bytes_in", t.bytes_in},
            {"bytes_out", t.bytes_out},
            {"connections_per_second", t.connections_per_second},
            {"packets_in_per_second", t.packets_in_per_second},
            {"packets_out_per_second", t.packets_out_per_second},
            {"bytes_in_per_second", t.bytes_in_per_second},
            {"bytes_out_per_second", t.bytes_out_per_second},
        };
    }

    Json one(const BackendStatus& b) const {
        return {{"backend", ipvs::text(b.key)},
                {"desired_weight", number(b.desired_weight)},
                {"observed_weight", number(b.observed_weight)},
                {"draining", b.draining},
                {"sorry", b.sorry},
                {"active_connections", b.counters.active},
                {"inactive_connections", b.counters.inactive},
                {"persistent_connections", b.counters.persistent},
                {"traffic", one(b.counters.traffic)}};
    }

    Json one(const ServiceStatus& s) const {
        return {
            {"service", s.name.empty() ? Json() : Json(clean(s.name))},
            {"at", ipvs::text(s.at)},
            {"pool", s.pool.empty() ? Json() : Json(clean(s.pool))},
            {"vhid", number(s.vhid)},
            {"forward", clean(s.forward)},
            {"scheduler", clean(s.settings.scheduler)},
            {"scheduler_flags", clean(ipvs::scheduler_flags_text(s.settings.scheduler, s.settings.scheduler_flags))},
            {"persistence_seconds", s.settings.persistence},
            {"one_packet", s.settings.one_packet},
            {"desired", s.desired},
            {"observed", s.observed},
            {"foreign", s.foreign},
            {"traffic", one(s.traffic)},
            {"backends", list(s.backends)},
        };
    }

    Json one(const PoolMemberStatus& m) const {
        return {
            {"backend", m.endpoint.text()}, {"weight", m.weight.value()}, {"draining_until", time(m.draining_until)}};
    }

    Json one(const PoolStatus& p) const {
        Json out = source(p);
        out["changed"] = time(p.changed);
        out["empty_since"] = time(p.empty_since);
        out["members"] = list(p.members);
        return out;
    }

    Json source(const PoolStatus& p) const {
        return {{"pool", clean(p.name)},
                {"source", clean(p.source)},
                {"known", p.known},
                {"from_disk", p.from_disk},
                {"heard", time(p.heard)},
                {"failure", p.failure ? Json(clean(*p.failure)) : Json()},
                {"failing_since", p.failure ? time(p.failing_since) : Json()}};
    }

    Json sources() const {
        Json out = Json::array();
        for (const auto& p : status_.pools) out.push_back(source(p));
        return out;
    }

    Json one(const link::PeerReport& p) const {
        return {{"vhid", p.vhid.value()},
                {"address", p.address.text()},
                {"demotion", p.demotion},
                {"beat_seconds", seconds(p.beat)},
                {"last_heard", time(p.last_heard)},
                {"standby", p.standby},
                {"authenticated", p.condition.has_value()},
                {"trailer", trailer_word(p)},
                {"other_vips", p.other_vips},
                {"other_configuration", other_configuration(status_.configuration_digest, p)},
                {"healthy_backends", p.condition ? Json(p.condition->healthy) : Json()},
                {"backends", p.condition ? Json(p.condition->backends) : Json()}};
    }

    Json one(const link::StrangerReport& s) const {
        return {{"vip", s.vip.text()}, {"mac", vip::text(s.mac)}, {"last_seen", time(s.last_seen)}};
    }

    const Status& status_;
};

// Names of files and words of others may be no UTF-8.
std::string written(const nlohmann::ordered_json& tree, int indent) {
    return tree.dump(indent, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace

std::chrono::system_clock::time_point time_of_day(Instant t, const Status& times) {
    return times.wall + std::chrono::duration_cast<std::chrono::system_clock::duration>(t - times.at);
}

nlohmann::ordered_json tree(const Status& status, Part part) { return Tree(status).whole(part); }
nlohmann::ordered_json tree(const Event& event, const Status& times) { return Tree(times).one(event); }

std::string as_json(const Status& status, Part part) { return written(tree(status, part), 2) + "\n"; }
std::string event_json(const Event& event, const Status& times) { return written(tree(event, times), -1); }

}  // namespace koi::status
