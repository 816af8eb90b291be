#include "supervisor/status/event_log.h"

#include <algorithm>
#include <iterator>

namespace koi::status {

void EventLog::go_on(std::vector<Event> before) {
    if (before.empty()) return;
    last_ = before.back().number;
    const auto n = static_cast<std::ptrdiff_t>(std::min(before.size(), most_));
    events_.assign(std::make_move_iterator(std::prev(before.end(), n)), std::make_move_iterator(before.end()));
}

const Event& EventLog::add(Event event) {
    event.number = ++last_;
    events_.push_back(std::move(event));
    if (events_.size() > most_) events_.pop_front();
    return events_.back();
}

std::vector<Event> EventLog::after(std::uint64_t number, std::size_t most) const {
    const std::uint64_t news = number < last_ ? last_ - number : 0;
    const auto n = static_cast<std::ptrdiff_t>(std::min<std::uint64_t>({news, most, events_.size()}));
    return {std::prev(events_.end(), n), events_.end()};
}

}  // namespace koi::status
