#include "ipvs/memory/memory_datapath.h"

#include <cerrno>
#include <utility>

#include "ipvs/second_try.h"

namespace koi::ipvs {

namespace {

constexpr std::uint32_t highest_weight = 0x7FFFFFFF;

// The kernel's checks in the kernel's order, each on the table as it is now.
struct Check {
    const Table& table;
    const MemoryDatapath& kernel;

    const ServiceEntry* find(const ServiceKey& key) const {
        const auto found = table.find(key);
        return found == table.end() ? nullptr : &found->second;
    }

    int service(const ServiceKey& key, const Service& s) const {
        if (!kernel.available.contains(s.scheduler)) return ENOENT;
        if (!s.persistence_engine.empty() && !kernel.engines.contains(s.persistence_engine)) return ENOENT;
        if (family(key) == Family::ipv6 && s.granularity > 128) return EINVAL;
        return 0;
    }
    int operator()(const AddService& c) const { return find(c.key) ? EEXIST : service(c.key, c.service); }
    int operator()(const EditService& c) const { return find(c.key) ? service(c.key, c.service) : ESRCH; }
    int operator()(const RemoveService& c) const { return find(c.key) ? 0 : ESRCH; }

    static bool can_be_a_backend(const IpAddress& a) {
        if (a.is_multicast() || a.is_unspecified()) return false;
        if (a.is_v4()) return a.text() != "255.255.255.255";
        return !a.is_link_local();
    }
    static int backend(const ServiceKey& service, const BackendKey& key, const Backend& b) {
        if (key.address.family() != family(service) && b.forward != Forward::tun) return EINVAL;
        if (b.weight > highest_weight || b.lower_threshold > b.upper_threshold) return ERANGE;
        if (b.forward == Forward::tun && b.tunnel == Tunnel::gue && b.tunnel_port == 0) return EINVAL;
        return 0;
    }
    int operator()(const AddBackend& c) const {
        const auto* entry = find(c.key);
        if (!entry) return ESRCH;
        if (const int wrong = backend(c.key, c.backend, c.value)) return wrong;
        if (entry->backends.contains(c.backend)) return EEXIST;
        return can_be_a_backend(c.backend.address) ? 0 : EINVAL;
    }
    int operator()(const EditBackend& c) const {
        const auto* entry = find(c.key);
        if (!entry) return ESRCH;
        if (const int wrong = backend(c.key, c.backend, c.value)) return wrong;
        return entry->backends.contains(c.backend) ? 0 : ENOENT;
    }
    int operator()(const RemoveBackend& c) const {
        const auto* entry = find(c.key);
        if (!entry) return ESRCH;
        return entry->backends.contains(c.backend) ? 0 : ENOENT;
    }
};

}  // namespace

Result<Table> MemoryDatapath::read() {
    if (broken) return *broken;
    return table_;
}

Result<Counters> MemoryDatapath::counters() {
    if (broken) return *broken;
    Counters all;
    for (const auto& [key, entry] : table_) {
        auto& service = all[key];
        const auto known = traffic_.find(key);
        if (known != traffic_.end()) service.traffic = known->second.traffic;
        for (const auto& [backend, value] : entry.backends) {
            auto& counters = service.backends[backend];
            if (known == traffic_.end()) continue;
            if (const auto counted = known->second.backends.find(backend); counted != known->second.backends.end())
                counters = counted->second;
        }
    }
    return all;
}

Result<std::vector<Refused>> MemoryDatapath::change(const std::vector<Change>& changes) {
    if (broken) return *broken;
    return with_second_try(changes, [this](const std::vector<Change>& tried) -> Result<std::vector<Failure>> {
        std::vector<Failure> failures;
        for (std::size_t at = 0; at < tried.size(); ++at)
            if (const int code = attempt(tried[at])) failures.push_back({at, code});
        return failures;
    });
}

bool MemoryDatapath::looks_like(const Table& table) { return !broken && table == table_; }

int MemoryDatapath::attempt(const Change& change) {
    if (const int code = std::visit(Check{table_, *this}, change)) return code;
    table_ = after(std::move(table_), {change});
    carried_out_.push_back(change);
    return 0;
}

}  // namespace koi::ipvs
