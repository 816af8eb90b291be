// supervisor/status/event_log.h
//
// What happened lately, for `koi events`: the last 2,000 events, numbered from 1 without gaps. An event that fell out
// is still in the journal; a reader that asks for numbers it has not seen learns from the first number what it
// missed. A worker goes on with the log of the one before (supervisor/event_file.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

#include "supervisor/status/status.h"

namespace koi::status {

class EventLog {
public:
    explicit EventLog(std::size_t most = 2000) : most_(most) {}

    // Before the first add(): what an earlier log had, oldest first.
    void go_on(std::vector<Event> before);
    // Gives the event its number and keeps it; what it returns is valid until the next add().
    const Event& add(Event);
    // The events with larger numbers, oldest first; at most the last `most` of them.
    std::vector<Event> after(std::uint64_t number, std::size_t most = SIZE_MAX) const;
    // The number of the latest event, 0 before the first.
    std::uint64_t last() const { return last_; }
    std::size_t most() const { return most_; }

private:
    std::size_t most_;
    std::uint64_t last_ = 0;
    std::deque<Event> events_;
};

}  // namespace koi::status
