// supervisor/base/log.h
//
// One event, one line: a sentence for a person, and the same facts as key=value for machines. When stderr is
// connected to the journal the fields are sent as KOI_* fields with MESSAGE_ID; if the journal does not take them,
// the line goes to its stream and begins with the priority it reads there ("<4>..."). Everywhere else, on a terminal,
// in a container or a file, a line is plain.
//
//     log::note(log::Level::notice, "role", "vhid 51 is master now", {{"vhid", "51"}, {"because", "peer silent 3.1
//     s"}});
//
// The event word is the stable name of what happened (role, advert_refused, vip, backend, reload, trouble ...). It is
// KOI_EVENT in the journal, and the MESSAGE_ID is made from it, so that `journalctl KOI_EVENT=role` works.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "supervisor/base/clock.h"

namespace koi::log {

enum class Level { error = 3, warning = 4, notice = 5, info = 6, debug = 7 };  // syslog's numbers

using Fields = std::vector<std::pair<std::string, std::string>>;

void note(Level, std::string_view event, std::string_view sentence, const Fields& = {});

// Which process speaks ("speaker", "worker", "scout"): the KOI_PROCESS field. Call once at start.
void speak_as(std::string_view process);
// From here on this process stays for a while. Until then lines take the stream, even where the journal takes fields:
// journald looks up whose a message is while its sender lives, and `journalctl -u koi` would not show the last words
// of one that could not start.
void settled(bool stays = true);
void show(Level lowest);  // default: info; KOI_DEBUG=1 or DEBUG=1 in the environment shows debug as well

// Lets a burst through and then one line per interval, so that a flood of bad packets is a line and not a flood.
// The clock is an argument, as everywhere.
class RateLimit {
public:
    RateLimit(unsigned burst, Duration interval) : burst_(burst), interval_(interval) {}
    // True if a line may be written now; suppressed() then tells how many were swallowed since the last one.
    bool allows(Instant now);
    unsigned suppressed() const { return told_; }

private:
    unsigned burst_;
    Duration interval_;
    unsigned spent_ = 0;  // lines of the burst that have not been earned back, one per interval
    Instant earned_at_{};
    unsigned swallowed_ = 0;
    unsigned told_ = 0;
};

}  // namespace koi::log
