// ipvs/second_try.h
//
// What both engines do when somebody else was faster. Others may write the table at any time, so a change can find
// the world different from what was read. A refusal that only says so is no trouble:
//
//   1. adding what is there          → edit it;
//   2. editing what is not there     → add it;
//   3. removing what is not there    → done;
//   4. a backend whose service was not there, and rule 2 brings that service → as if the service had no backends.
//
// What follows for a backend that is mended is repeated behind it, so that the last word stays the last. Everything
// is tried a second time at most. Meant for lists as diff() makes them. Pure but for `attempt`.
#pragma once

#include <functional>
#include <vector>

#include "ipvs/datapath.h"

namespace koi::ipvs {

struct Failure {
    std::size_t at;  // which change, counted from 0
    int code;        // errno
};
// Tries all changes in order; one that fails does not stop the rest. Failures come in order.
using Attempt = std::function<Result<std::vector<Failure>>(const std::vector<Change>&)>;

Result<std::vector<Refused>> with_second_try(const std::vector<Change>&, const Attempt&);

}  // namespace koi::ipvs
