// supervisor/speaker/refusal_lines.h
//
// What an operator is told of packets that were not believed: who it was, what is wrong, what to do. Nobody on the
// wire can fill the journal: of each reason three lines at once and then one a minute, with the number of those left
// out. Other groups on the same wire are no fault: that they are there is said once a day. What may be a peer of ours
// that is not believed is in the reports as well, as long as it goes on, because then there may be two masters.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "carp/advert.h"
#include "supervisor/base/log.h"
#include "supervisor/link/messages.h"

namespace koi::speaker {

struct Refused {
    carp::Refusal why{};
    IpAddress source;
    std::string interface;
    std::optional<unsigned> vhid;  // if the packet says one
    bool ours = false;             // and this node serves it
};

std::string sentence_for(const Refused&);
// A peer of ours that is configured otherwise, or not believed, would be refused so, and then both of us lead. Not a
// clone: whoever hears one takes another identity at once.
bool splits(carp::Refusal);

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

// The last refusal of each reason that splits(), for the reports. Packets come by the ten thousand, reports by the
// second: so a packet costs a look into a small map, and sentences are made for the reports.
class LastRefusals {
public:
    void note(Vhid, carp::Refusal, const IpAddress& source, Instant now);
    std::vector<link::RefusalReport> of(Vhid, const std::string& interface) const;
    void forget(Vhid vhid) { last_.erase(vhid); }

private:
    struct Last {
        IpAddress source;
        Instant at{};
    };
    std::map<Vhid, std::map<carp::Refusal, Last>> last_;
};

}  // namespace koi::speaker
