// supervisor/speaker/refusal_lines.h
//
// What an operator is told of packets that were not believed: who it was, what is wrong, what to do. Nobody on the
// wire can fill the journal: of each reason three lines at once and then one a minute, with the number of those left
// out. Other groups on the same wire are no fault: that they are there is said once a day.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>

#include "carp/advert.h"
#include "supervisor/base/log.h"

namespace koi::speaker {

struct Refused {
    carp::Refusal why{};
    IpAddress source;
    std::string interface;
    std::optional<unsigned> vhid;  // if the packet says one
    bool ours = false;             // and this node serves it
};

class RefusalLines {
public:
    struct Line {
        log::Level level{};
        std::string sentence;
        log::Fields fields;
    };
    std::optional<Line> say(const Refused&, Instant now);  // nothing: enough was said

private:
    // By reason, and whether it is no fault.
    std::map<std::pair<carp::Refusal, bool>, log::RateLimit> limits_;
};

}  // namespace koi::speaker
