// supervisor/speaker/withdraw.h
//
// Lets go of every address that a speaker of this host holds or may have left: those in its record, and those that
// carry Koi's mark in the kernel. Needs no configuration, no worker, no election; this is what the service manager
// runs after a stop, whatever the stop was. After a death it leaves alone what ends by itself: the next speaker is
// there in a moment and goes on with it, and if it is not, the lease ends, and the address soon after.
#pragma once

#include <string>
#include <vector>

#include "supervisor/base/result.h"
#include "supervisor/vip/address_set.h"

namespace koi::speaker {

enum class After { stop, death };
// What was removed. An address that could not be removed is an Error, after the others were tried.
Result<std::vector<vip::Held>> withdraw(const std::string& runtime_directory, After);

}  // namespace koi::speaker
