// supervisor/config/digest.h
//
// A number for what all nodes of a group should have in common, so that they can tell each other apart: FNV-1a over
// the configuration as `koid -T` prints it, without what belongs to one node alone (its name, interfaces, advskew,
// preempt, preempt_delay, peers, interval, lease, and where its keys are). No secret: nothing of a key is in it.
// Never 0, which means "not known" on the wire.
#pragma once

#include <cstdint>

#include "supervisor/config/config.h"

namespace koi::config {

std::uint64_t digest(Config);

}  // namespace koi::config
