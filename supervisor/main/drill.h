// supervisor/main/drill.h
//
// `koi drill VHID`, on the node that leads: steps down, waits for the standby to lead, steps up, waits to lead again,
// and pings the vips all the time. Refuses, before it touches anything, when there is no standby that is fit to take
// over, or this node would not come back by itself (preempt: false). However it ends, also by Ctrl-C or when its
// terminal goes away, the node takes part in the election again.
//
// `koi drill --probe ADDRESS`, on any host: only pings, for what a third host sees meanwhile.
#pragma once

#include "supervisor/main/koi_deeds.h"

namespace koi::control {

int drill(const Wish&);

}  // namespace koi::control
