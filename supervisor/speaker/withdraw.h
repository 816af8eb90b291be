// supervisor/speaker/withdraw.h
//
// Lets go of every address that a speaker of this host holds or may have left: those in its record, and those that
// carry Koi's mark in the kernel. Needs no configuration, no worker, no election; this is what the service manager
// runs after a stop, whatever the stop was.
#pragma once

#include <string>
#include <vector>

#include "supervisor/base/result.h"
#include "supervisor/vip/address_set.h"

namespace koi::speaker {

// What was removed. An address that could not be removed is an Error, after the others were tried.
Result<std::vector<vip::Held>> withdraw(const std::string& runtime_directory);

}  // namespace koi::speaker
