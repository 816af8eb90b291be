// supervisor/base/watchdog.h
//
// systemd's watchdog, with a time that follows the election's: a speaker that hangs is to be replaced while its peers
// still wait for it, so that the next one resumes its roles. The unit's WatchdogSec= only switches it on and counts
// until the first settings; sd-event's own answer to it knows no other time.
//
// A process that runs the loop but waits in one turn for too long is found as well: what answers is a timer of the
// loop, not a thread.
#pragma once

#include "supervisor/base/loop.h"

namespace koi {

// Half of what the peers wait, and never less than a second: a machine that is merely busy must not be taken for a
// hung one. Peers that wait less than two seconds take over first; the lease has silenced this node by then.
Duration watchdog_time(Duration peers_patience);

class Watchdog {
public:
    explicit Watchdog(Loop&);                // does nothing where no WatchdogSec= asks for it
    void start();                            // answers as often as the shortest time wants it
    void set(Duration time);                 // tells systemd, and answers three times within it
    Duration time() const { return time_; }  // 0: nobody asks, or nothing was set

private:
    void answer();

    Loop& loop_;
    bool wanted_;
    Duration time_{};
    Watch timer_;
};

}  // namespace koi
