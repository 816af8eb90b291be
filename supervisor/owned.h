// supervisor/owned.h
//
// The record of virtual servers that Koi made (state directory, owned.json). Written before a service is made, so
// that a worker that dies in between still knows what is its own. Unreadable records are set aside as owned.json.bad,
// and only what the configuration names counts as ours then.
#pragma once

#include <set>
#include <string>

#include "ipvs/table.h"
#include "supervisor/base/result.h"

namespace koi {

Result<std::set<ipvs::ServiceKey>> read_owned(const std::string& directory);
Outcome write_owned(const std::string& directory, const std::set<ipvs::ServiceKey>&);

}  // namespace koi
