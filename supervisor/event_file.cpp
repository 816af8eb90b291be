#include "supervisor/event_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <utility>

#include "supervisor/base/file.h"

namespace koi {

namespace {

using nlohmann::json;
using status::Event;

constexpr std::size_t pause_after_failure = 100;  // events; a full disk is not asked at each of them
constexpr std::size_t largest = std::size_t{16} << 20;
constexpr std::uint64_t largest_number = std::uint64_t{1}
                                         << 53;  // what a reader of JSON can count; the next one fits, too

// CLOCK_BOOTTIME begins anew with each boot, and a container's /run may outlive one.
std::string first_line() {
    const auto boot = read_whole("/proc/sys/kernel/random/boot_id", 64);
    return json{{"boot", boot ? boot->substr(0, boot->find('\n')) : ""}}.dump() + "\n";
}

std::optional<Event> event_of(std::string_view text) {
    const auto tree = json::parse(text, nullptr, false);
    if (!tree.is_object()) return std::nullopt;
    try {  // a value of another type than asked for throws; nlohmann's exceptions stop here
        Event event;
        event.number = tree.at("number").get<std::uint64_t>();
        event.at = Instant(Duration(tree.at("at_us").get<std::int64_t>()));
        event.level = tree.at("level").get<int>();
        event.event = tree.at("event").get<std::string>();
        event.sentence = tree.at("sentence").get<std::string>();
        event.fields = tree.at("fields").get<decltype(event.fields)>();
        if (event.number == 0 || event.number > largest_number) return std::nullopt;
        return event;
    } catch (const json::exception&) {
        return std::nullopt;
    }
}

}  // namespace

std::string event_line(const Event& event) {
    const json tree = {{"number", event.number},     {"at_us", event.at.time_since_epoch().count()},
                       {"level", event.level},       {"event", event.event},
                       {"sentence", event.sentence}, {"fields", event.fields}};
    return tree.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

EventLines read_event_lines(std::string_view left) {
    EventLines out;
    while (!left.empty()) {
        const auto end = left.find('\n');
        auto event = event_of(left.substr(0, end));
        out.whole = out.whole && event && end != left.npos;
        if (!event || (!out.events.empty() && event->number != out.events.back().number + 1)) out.events.clear();
        if (event) out.events.push_back(std::move(*event));
        left.remove_prefix(end == left.npos ? left.size() : end + 1);
    }
    return out;
}

std::vector<Event> EventFile::read() {
    fd_.reset();
    lines_ = 0;
    const auto content = read_whole(path_, largest);
    const auto head = first_line();
    if (!content || !content->starts_with(head)) return {};
    auto lines = read_event_lines(std::string_view(*content).substr(head.size()));
    lines_ = lines.events.size();
    if (lines.whole) fd_ = Fd(::open(path_.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW));
    return std::move(lines.events);
}

Outcome EventFile::write(const status::EventLog& log) {
    if (wait_ > 0 && --wait_ > 0) return Done{};
    const auto latest = log.after(log.last() - 1);
    if (latest.empty()) return Done{};
    const bool anew = !fd_ || lines_ >= log.most() + log.most() / 2;
    auto done = anew ? write_anew(log) : append(latest.front());
    if (done) {
        failed_ = false;
        return done;
    }
    fd_.reset();
    wait_ = pause_after_failure;
    if (std::exchange(failed_, true)) return Done{};
    return during("keeping events for the next worker", done.error());
}

Outcome EventFile::append(const Event& event) {
    const auto text = event_line(event);
    const ssize_t written = ::write(fd_.get(), text.data(), text.size());
    if (written < 0) return from_errno("writing " + path_);
    if (static_cast<std::size_t>(written) != text.size()) return Error{"writing " + path_ + ": the disk is full"};
    ++lines_;
    return Done{};
}

Outcome EventFile::write_anew(const status::EventLog& log) {
    std::string text = first_line();
    const auto events = log.after(0);
    for (const auto& event : events) text += event_line(event);
    // Not synced: what it tells of ends with this boot.
    if (auto done = write_whole(path_, text, 0600, false); !done) return done;
    fd_ = Fd(::open(path_.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW));
    if (!fd_) return from_errno("opening " + path_);
    lines_ = events.size();
    return Done{};
}

}  // namespace koi
