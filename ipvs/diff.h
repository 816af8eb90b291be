// ipvs/diff.h
//
// observed → desired, as steps: arrivals before departures, so that capacity never dips below both; the kernel's own
// order inside (service, then its backends). In full: services and backends that are new, edits that give weight,
// edits to weight 0, backends that go, services that go.
//
// A backend that is new with weight 0 is added with its nominal weight and then edited to 0 when the scheduler is mh,
// because mh gives no slots to a backend added at 0, and its table would differ from the other directors'. sh and dh
// give slots to weight 0 as well.
//
// Law: after(observed, diff(observed, desired)) == desired, and diff(t, t) is empty.
#pragma once

#include <set>
#include <string>
#include <variant>
#include <vector>

#include "ipvs/table.h"

namespace koi::ipvs {

struct AddService {
    ServiceKey key;
    Service service;
};
struct EditService {
    ServiceKey key;
    Service service;
};
struct AddBackend {
    ServiceKey key;
    BackendKey backend;
    Backend value;
};
struct EditBackend {
    ServiceKey key;
    BackendKey backend;
    Backend value;
};
struct RemoveBackend {
    ServiceKey key;
    BackendKey backend;
};
struct RemoveService {
    ServiceKey key;
};
using Change = std::variant<AddService, EditService, AddBackend, EditBackend, RemoveBackend, RemoveService>;

std::vector<Change> diff(const Table& observed, const Table& desired);
Table after(Table, const std::vector<Change>&);
std::string text(const Change&);  // "add backend 10.0.0.7:8080 to 192.0.2.10:80/tcp (nat, weight 1)"

// What is ours of what was read: services whose key is in `owned`. Others are foreign: shown, never changed.
Table only(const Table&, const std::set<ServiceKey>& owned);

}  // namespace koi::ipvs
