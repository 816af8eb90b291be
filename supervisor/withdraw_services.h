// supervisor/withdraw_services.h
//
// Removes the virtual servers that the record says Koi made, for a host on which no worker will do it: the last one
// was killed or hung, and the package goes, or a container does not come back. Needs no configuration. Foreign
// services are left alone, and without a record nothing is touched and no module is loaded.
#pragma once

#include <string>
#include <vector>

#include "ipvs/datapath.h"
#include "supervisor/base/result.h"

namespace koi {

// In words, what was removed. A service that could not be removed is an Error, after the others were tried; it stays
// in the record.
Result<std::vector<std::string>> withdraw_services(const std::string& state_directory);
// The same on an engine that is open.
Result<std::vector<std::string>> withdraw_services(const std::string& state_directory, ipvs::Datapath&);

}  // namespace koi
