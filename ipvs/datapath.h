// ipvs/datapath.h
//
// Something that forwards according to a table. Asked what it has, told what to change; it does not know why. The
// kernel and the in-memory engine pass the same tests (tests/unit/ipvs/datapath_laws.h).
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "ipvs/diff.h"
#include "ipvs/table.h"
#include "supervisor/base/result.h"

namespace koi::ipvs {

struct Refused {
    Change change;
    Error error;  // with errno in code
};

class Datapath {
public:
    virtual ~Datapath() = default;
    // Everything that is there, foreign services included.
    virtual Result<Table> read() = 0;
    virtual Result<Counters> counters() = 0;
    // Carries all changes out, in order, in as few system calls as it can. One that fails does not stop the rest;
    // what was refused comes back. An Error means the engine could not be spoken to and the table must be read again.
    virtual Result<std::vector<Refused>> change(const std::vector<Change>&) = 0;
    // A cheap look: true if everything that it can see is as in the table, foreign services included; any doubt is
    // false, which means: read() and see. What it cannot see is in the engine's header, so read() all the same now
    // and then.
    virtual bool looks_like(const Table&) { return false; }
};

}  // namespace koi::ipvs
