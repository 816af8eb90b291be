// ipvs/memory/memory_datapath.h
//
// An engine that only remembers: for tests, simulated labs and dry runs. It forwards nothing, and refuses what the
// kernel refuses, with the kernel's error numbers, so that nothing passes here that fails there (ipvs.md 1.5):
//
//   EEXIST  adding what is there          ESRCH   a service that is not there
//   ENOENT  a backend that is not there; a scheduler or persistence engine that this "kernel" does not have
//   ERANGE  a weight above 2^31-1; a lower threshold above the upper one
//   EINVAL  an address no backend can have; mixed families without tun; gue without a port; an IPv6 granularity above
//   128
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "ipvs/datapath.h"

namespace koi::ipvs {

class MemoryDatapath : public Datapath {
public:
    explicit MemoryDatapath(Table table = {}) : table_(std::move(table)) {}

    Result<Table> read() override;
    Result<Counters> counters() override;
    Result<std::vector<Refused>> change(const std::vector<Change>&) override;
    bool looks_like(const Table&) override;

    // ---- for the test, which plays the world ----
    Table& table() { return table_; }         // what is there; change it as a foreign writer would
    Counters& traffic() { return traffic_; }  // what counters() answers for entries that exist
    const std::vector<Change>& carried_out() const { return carried_out_; }
    std::set<std::string> available{schedulers.begin(), schedulers.end()};  // this kernel's schedulers
    std::set<std::string> engines{"sip"};
    std::optional<Error> broken;  // while set, the engine cannot be spoken to

private:
    int attempt(const Change&);  // errno, 0 if carried out

    Table table_;
    Counters traffic_;
    std::vector<Change> carried_out_;
};

}  // namespace koi::ipvs
