// discovery/scout.h
//
// The process that talks with strangers and holds nothing: it gives up every capability, becomes its own user,
// watches the sources and tells the worker what they say. Answers are parsed only here. If it dies, pools stay as
// last known.
#pragma once

namespace koi::discovery {

// channel_fd: the socket to the worker, inherited. Returns the exit code.
int scout_main(int channel_fd);

}  // namespace koi::discovery
