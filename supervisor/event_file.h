// supervisor/event_file.h
//
// The events on disk (runtime directory, events), so that a worker goes on with what the one before it has told,
// however that one ended: one JSON object a line, appended as it happens. The file never has more than half as many
// again as are kept. Of this boot only, as its clock is.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "supervisor/base/fd.h"
#include "supervisor/base/result.h"
#include "supervisor/status/event_log.h"

namespace koi {

// A line of the file, and what lines say: the last run of them that make sense and are numbered without gaps.
std::string event_line(const status::Event&);
struct EventLines {
    std::vector<status::Event> events;  // oldest first
    bool whole = true;                  // every line made sense, and the last one has its end
};
EventLines read_event_lines(std::string_view);

class EventFile {
public:
    explicit EventFile(const std::string& directory) : path_(directory + "/events") {}

    // What an earlier worker has left, oldest first, numbered without gaps. What makes no sense is left out, and so
    // is all before it.
    std::vector<status::Event> read();
    // Appends the latest, or writes all of them anew. The Error is told once; it is tried again now and then.
    Outcome write(const status::EventLog&);

private:
    Outcome append(const status::Event&);
    Outcome write_anew(const status::EventLog&);

    std::string path_;
    Fd fd_;                  // empty: the next writing is anew
    std::size_t lines_ = 0;  // in the file
    std::size_t wait_ = 0;   // so many events are not written after a failure
    bool failed_ = false;
};

}  // namespace koi
