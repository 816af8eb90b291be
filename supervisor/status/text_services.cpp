#include "supervisor/status/text_services.h"

#include <algorithm>

#include "supervisor/status/words.h"

namespace koi::status {

namespace {

constexpr std::size_t many_backends = 24;  // a service with more is shown in part
constexpr std::size_t some_backends = 20;

// Is it neither wanted nor there? Then it is nothing to see, as a sorry server that is not needed.
bool is_absent(const BackendStatus& b) { return !b.desired_weight && !b.observed_weight; }
bool is_unusual(const BackendStatus& b, bool foreign) {
    return b.draining || b.sorry || (!foreign && b.desired_weight != b.observed_weight);
}

Cell note(const BackendStatus& b, bool foreign) {
    if (!foreign && b.desired_weight && !b.observed_weight)
        return {"missing, should be " + std::to_string(*b.desired_weight), Colour::red};
    if (!foreign && b.desired_weight && b.desired_weight != b.observed_weight)
        return {"should be " + std::to_string(*b.desired_weight), Colour::red};
    if (b.draining) return {"draining", Colour::yellow};
    if (!foreign && !b.desired_weight) return {"should be gone", Colour::red};
    if (b.sorry) return {"sorry server", Colour::yellow};
    return "";
}

struct Shown {
    std::vector<const BackendStatus*> backends;  // in their order
    std::size_t hidden = 0;
};

Shown shown(const ServiceStatus& s, EveryBackend every) {
    Shown out;
    for (const auto& b : s.backends)
        if (!is_absent(b)) out.backends.push_back(&b);
    if (every == EveryBackend::yes || out.backends.size() <= many_backends) return out;

    std::stable_partition(out.backends.begin(), out.backends.end(),
                          [&](const auto* b) { return is_unusual(*b, s.foreign); });
    out.hidden = out.backends.size() - some_backends;
    out.backends.resize(some_backends);
    std::ranges::sort(out.backends);  // they lie in one vector, so this is their order again
    return out;
}

Cell state(const ServiceStatus& s) {
    if (s.foreign) return {"foreign: not in the configuration, left alone", Colour::dim};
    if (s.desired && !s.observed) return {"missing", Colour::red};
    if (!s.desired && s.observed) return {"should be gone", Colour::red};
    if (!s.desired) return {"stands by", Colour::dim};
    const bool serves =
        std::ranges::any_of(s.backends, [](const auto& b) { return b.observed_weight.value_or(0) > 0; });
    return serves ? Cell("") : Cell("no backend takes connections", Colour::red);
}

std::string settings(const ServiceStatus& s) {
    std::string out = s.settings.scheduler;
    const auto flags = ipvs::scheduler_flags_text(s.settings.scheduler, s.settings.scheduler_flags);
    if (!flags.empty()) out += " (" + flags + ")";
    if (!s.forward.empty()) out += ", " + s.forward;
    if (s.settings.persistence > 0) out += ", persistence " + std::to_string(s.settings.persistence) + " s";
    if (s.settings.one_packet) out += ", one packet";
    if (!s.pool.empty()) out += ", pool " + s.pool;
    if (s.vhid) out += ", vhid " + std::to_string(s.vhid->value());
    return out;
}

std::string rates(const ipvs::Traffic& t) {
    if (t.connections_per_second + t.bytes_in_per_second + t.bytes_out_per_second == 0) return "idle";
    return amount(t.connections_per_second) + " conn/s, " + bytes(t.bytes_in_per_second) + "/s in, " +
           bytes(t.bytes_out_per_second) + "/s out";
}

Cell title(const ServiceStatus& s) {
    const Cell is = state(s);
    std::string line = s.name.empty() ? ipvs::text(s.at) : s.name + "  " + ipvs::text(s.at);
    line += "  " + (is.text.empty() ? settings(s) : is.text + "; " + settings(s));
    if (s.observed) line += "  " + rates(s.traffic);
    return {line, is.colour};
}

void add_backend(Table& table, const BackendStatus& b, bool foreign) {
    const auto& t = b.counters.traffic;
    const std::string weight = b.observed_weight ? std::to_string(*b.observed_weight) : "-";
    table.row({ipvs::text(b.key), weight, amount(b.counters.active), amount(b.counters.inactive),
               amount(t.connections_per_second), bytes(t.bytes_in_per_second), bytes(t.bytes_out_per_second),
               note(b, foreign)});
}

}  // namespace

Table services_table(const std::vector<ServiceStatus>& services, EveryBackend every) {
    Table table({"", "weight>", "active>", "inactive>", "conn/s>", "in/s>", "out/s>", ""}, 4);
    for (const ServiceStatus& s : services) {
        table.between(title(s), 2);
        if (!s.desired && !s.observed) continue;
        const Shown some = shown(s, every);
        for (const BackendStatus* b : some.backends) add_backend(table, *b, s.foreign);
        if (some.hidden > 0)
            table.between({"and " + std::to_string(some.hidden) + " more: koi show services", Colour::dim}, 4);
    }
    return table;
}

}  // namespace koi::status
