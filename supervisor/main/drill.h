// supervisor/main/drill.h
//
// `koi drill VHID`, on the node that leads: steps down, waits for the standby to lead, steps up, waits to lead again,
// and pings the vips all the time. Refuses, before it touches anything, when there is no standby that is fit to take
// over. However it ends, also by Ctrl-C, the node takes part in the election again.
//
// `koi drill --probe ADDRESS`, on any host: only pings, for what a third host sees meanwhile.
#pragma once

#include "supervisor/main/koi_deeds.h"

namespace koi::control {

int drill(const Wish&);

}  // namespace koi::control
