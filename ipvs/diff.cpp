#include "ipvs/diff.h"

#include <utility>

#include "supervisor/base/check.h"

namespace koi::ipvs {

namespace {

// Collected apart, because they are carried out one kind after the other, over all services.
struct Steps {
    std::vector<Change> arrivals, edits, drains, departures, closings;
};

void arrive(Steps& steps, const ServiceKey& key, const Service& service, const BackendKey& backend,
            const Backend& value) {
    if (service.scheduler != "mh" || value.weight != 0) {
        steps.arrivals.push_back(AddBackend{key, backend, value});
        return;
    }
    Backend first = value;
    first.weight = value.nominal_weight ? value.nominal_weight : 1;
    steps.arrivals.push_back(AddBackend{key, backend, first});
    steps.arrivals.push_back(EditBackend{key, backend, value});
}

void keep(Steps& steps, const ServiceKey& key, const ServiceEntry& is, const ServiceEntry& shall) {
    if (!(is.service == shall.service)) steps.arrivals.push_back(EditService{key, shall.service});
    for (const auto& [backend, value] : shall.backends) {
        const auto known = is.backends.find(backend);
        if (known == is.backends.end())
            arrive(steps, key, shall.service, backend, value);
        else if (!(known->second == value))
            (value.weight ? steps.edits : steps.drains).push_back(EditBackend{key, backend, value});
    }
    for (const auto& [backend, value] : is.backends)
        if (!shall.backends.contains(backend)) steps.departures.push_back(RemoveBackend{key, backend});
}

struct Carry {
    Table& table;

    ServiceEntry& at(const ServiceKey& key) const {
        const auto found = table.find(key);
        KOI_CHECK(found != table.end());  // a change for a service we do not have
        return found->second;
    }
    void operator()(const AddService& c) const { table[c.key].service = c.service; }
    void operator()(const EditService& c) const { at(c.key).service = c.service; }
    void operator()(const AddBackend& c) const { at(c.key).backends[c.backend] = c.value; }
    void operator()(const EditBackend& c) const { at(c.key).backends[c.backend] = c.value; }
    void operator()(const RemoveBackend& c) const { at(c.key).backends.erase(c.backend); }
    void operator()(const RemoveService& c) const { table.erase(c.key); }
};

struct Say {
    std::string operator()(const AddService& c) const {
        return "add service " + text(c.key) + " (" + text(c.service) + ")";
    }
    std::string operator()(const EditService& c) const {
        return "edit service " + text(c.key) + " (" + text(c.service) + ")";
    }
    std::string operator()(const AddBackend& c) const {
        return "add backend " + text(c.backend) + " to " + text(c.key) + " (" + text(c.value) + ")";
    }
    std::string operator()(const EditBackend& c) const {
        return "edit backend " + text(c.backend) + " of " + text(c.key) + " (" + text(c.value) + ")";
    }
    std::string operator()(const RemoveBackend& c) const {
        return "remove backend " + text(c.backend) + " from " + text(c.key);
    }
    std::string operator()(const RemoveService& c) const { return "remove service " + text(c.key); }
};

}  // namespace

std::vector<Change> diff(const Table& observed, const Table& desired) {
    Steps steps;
    for (const auto& [key, shall] : desired) {
        if (const auto is = observed.find(key); is != observed.end()) {
            keep(steps, key, is->second, shall);
            continue;
        }
        steps.arrivals.push_back(AddService{key, shall.service});
        for (const auto& [backend, value] : shall.backends) arrive(steps, key, shall.service, backend, value);
    }
    // The kernel lets go of a service's backends with it.
    for (const auto& [key, is] : observed)
        if (!desired.contains(key)) steps.closings.push_back(RemoveService{key});

    std::vector<Change> all = std::move(steps.arrivals);
    for (auto* kind : {&steps.edits, &steps.drains, &steps.departures, &steps.closings})
        std::move(kind->begin(), kind->end(), std::back_inserter(all));
    return all;
}

Table after(Table table, const std::vector<Change>& changes) {
    for (const auto& change : changes) std::visit(Carry{table}, change);
    return table;
}

std::string text(const Change& change) { return std::visit(Say{}, change); }

Table only(const Table& table, const std::set<ServiceKey>& owned) {
    Table ours;
    for (const auto& [key, entry] : table)
        if (owned.contains(key)) ours.emplace(key, entry);
    return ours;
}

}  // namespace koi::ipvs
