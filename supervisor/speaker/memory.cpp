#include "supervisor/speaker/memory.h"

#include <signal.h>
#include <sys/random.h>

#include <charconv>
#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <thread>

#include "supervisor/base/check.h"
#include "supervisor/base/file.h"
#include "supervisor/base/ownership.h"

namespace koi::speaker {

namespace {

constexpr std::string_view counter_head = "koi counter 1", heard_head = "koi heard 1", end_mark = "end";

// One line after the other, split at spaces. Bad once, bad for ever.
class Lines {
public:
    explicit Lines(std::string_view text) : rest_(text) {}

    std::vector<std::string_view> next() {
        std::vector<std::string_view> words;
        const auto end = rest_.find('\n');
        if (end == std::string_view::npos) return words;
        auto line = rest_.substr(0, end);
        rest_.remove_prefix(end + 1);
        while (!line.empty()) {
            const auto space = line.find(' ');
            words.push_back(line.substr(0, space));
            line.remove_prefix(space == std::string_view::npos ? line.size() : space + 1);
        }
        return words;
    }
    bool is_head(std::string_view head) {
        if (!rest_.starts_with(head) || !rest_.substr(head.size()).starts_with('\n')) return false;
        rest_.remove_prefix(head.size() + 1);
        return true;
    }
    bool done() const { return rest_.empty(); }

private:
    std::string_view rest_;
};

template <class Number>
std::optional<Number> number(std::string_view text, int base = 10) {
    Number n{};
    const auto [end, bad] = std::from_chars(text.data(), text.data() + text.size(), n, base);
    return bad == std::errc{} && end == text.data() + text.size() ? std::optional(n) : std::nullopt;
}

// What we would have written otherwise was not written by us, or not left as it was.
template <class Value>
std::optional<Value> written_so(Value value, std::string_view text) {
    return to_text(value) == text ? std::optional(std::move(value)) : std::nullopt;
}

std::string hex(std::uint64_t n) {
    char out[17];
    std::snprintf(out, sizeof out, "%016llx", static_cast<unsigned long long>(n));
    return out;
}

}  // namespace

std::uint64_t random_sender() {
    std::uint64_t n = 0;
    KOI_CHECK(::getrandom(&n, sizeof n, 0) == sizeof n);
    return n | 1;
}

std::string to_text(const carp::Counter::Kept& kept) {
    return std::string(counter_head) + "\nsender " + hex(kept.sender) + "\nsession " + std::to_string(kept.session) +
           "\nhigh " + std::to_string(kept.high) + "\nend\n";
}

std::optional<carp::Counter::Kept> read_counter(std::string_view text) {
    Lines in(text);
    if (!in.is_head(counter_head)) return std::nullopt;
    const auto value = [&](std::string_view name) {
        const auto words = in.next();
        return words.size() == 2 && words[0] == name ? words[1] : std::string_view();
    };
    const auto sender = number<std::uint64_t>(value("sender"), 16);
    const auto session = number<std::uint16_t>(value("session"));
    const auto high = number<std::uint64_t>(value("high"));
    const auto end = in.next();
    if (!sender || !session || !high || end.size() != 1 || end[0] != end_mark || !in.done()) return std::nullopt;
    // Half of what 64 bits can count: nobody gets there, and from there it can still grow.
    if (*sender == 0 || *high >= std::uint64_t{1} << 63) return std::nullopt;
    return written_so(carp::Counter::Kept{*sender, *session, *high}, text);
}

std::string to_text(const HeardLines& all) {
    std::string text = std::string(heard_head) + "\n";
    for (const auto& [vhid, lines] : all)
        for (const auto& line : lines)
            text += std::to_string(vhid.value()) + " " + hex(line.sender) +
                    (line.family == Family::ipv4 ? " ipv4 " : " ipv6 ") + std::to_string(line.counter) + "\n";
    return text + "end\n";
}

std::optional<HeardLines> read_heard(std::string_view text) {
    Lines in(text);
    if (!in.is_head(heard_head)) return std::nullopt;
    HeardLines all;
    for (;;) {
        const auto words = in.next();
        if (words.size() == 1 && words[0] == end_mark) return written_so(std::move(all), text);
        if (words.size() != 4 || (words[2] != "ipv4" && words[2] != "ipv6")) return std::nullopt;
        const auto n = number<unsigned>(words[0]);
        const auto vhid = n ? Vhid::of(*n) : std::nullopt;
        const auto sender = number<std::uint64_t>(words[1], 16), counter = number<std::uint64_t>(words[3]);
        if (!vhid || !sender || !counter) return std::nullopt;
        all[*vhid].push_back({*sender, words[2] == "ipv4" ? Family::ipv4 : Family::ipv6, *counter});
    }
}

// ---- The thread that writes ----

class Memory::Writer : public std::enable_shared_from_this<Writer> {
public:
    void start() {
        // Signals are the loop's. A thread inherits what is blocked when it begins.
        sigset_t all, before;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        std::thread([self = shared_from_this()] { self->write(); }).detach();
        pthread_sigmask(SIG_SETMASK, &before, nullptr);
    }
    void put(const std::string& path, std::string text) {
        const std::lock_guard hold(mutex_);
        waiting_[path] = std::move(text);
        changed_.notify_all();
    }
    bool wait(Duration most) {
        std::unique_lock hold(mutex_);
        return changed_.wait_for(hold, most, [this] { return waiting_.empty() && !busy_; });
    }
    bool is_idle() const {
        const std::lock_guard hold(mutex_);
        return waiting_.empty() && !busy_;
    }
    void end() {
        const std::lock_guard hold(mutex_);
        ended_ = true;
        changed_.notify_all();
    }
    std::string trouble() const {
        const std::lock_guard hold(mutex_);
        std::string all;
        for (const auto& [path, story] : troubles_) all += (all.empty() ? "" : "; ") + story;
        return all;
    }

private:
    void write() {
        std::unique_lock hold(mutex_);
        for (;;) {
            changed_.wait(hold, [this] { return ended_ || !waiting_.empty(); });
            if (waiting_.empty()) return;
            const auto next = waiting_.extract(waiting_.begin());
            busy_ = true;
            hold.unlock();
            const auto written = write_whole(next.key(), next.mapped(), 0600);
            hold.lock();
            busy_ = false;
            if (written)
                troubles_.erase(next.key());
            else
                troubles_[next.key()] = told_with_owner(written.error(), next.key()).story;
            changed_.notify_all();
        }
    }

    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::map<std::string, std::string> waiting_;
    std::map<std::string, std::string> troubles_;  // by path
    bool busy_ = false, ended_ = false;
};

// ---- Memory ----

namespace {

// What a file holds, or nothing if there is none. One that makes no sense is moved out of the way and named, and with
// it what is lost.
template <class Read>
auto recall(const std::string& path, Read read, const std::string& lost, const Memory::Problem& tell)
    -> decltype(read("")) {
    const auto text = read_whole(path, 1u << 20);
    if (!text) {
        if (text.error().code != ENOENT) tell(told_with_owner(text.error(), path).story + "; " + lost);
        return std::nullopt;
    }
    auto value = read(*text);
    if (value) return value;
    const std::string aside = path + ".damaged";
    const bool moved = ::rename(path.c_str(), aside.c_str()) == 0;
    tell(path + " makes no sense" + (moved ? " and is kept as " + aside : "") + "; " + lost);
    return std::nullopt;
}

}  // namespace

Memory Memory::open(const std::string& directory, std::uint64_t random, const Problem& tell) {
    Memory memory(directory, std::make_shared<Writer>());
    const auto kept =
        recall(directory + "/counter", read_counter, "this node begins anew, its peers will see a new sender", tell);
    memory.counter_ = kept ? *kept : carp::Counter::Kept{random, 0, 0};
    auto heard = recall(
        directory + "/heard", read_heard,
        "what was heard before this start is forgotten, and a recording of it is known only by its clock", tell);
    if (heard) memory.heard_ = std::move(*heard);
    memory.writer_->start();
    return memory;
}

Memory Memory::go_on(const std::string& directory, const carp::Counter::Kept& counter, HeardLines heard) {
    Memory memory(directory, std::make_shared<Writer>());
    memory.counter_ = counter;
    memory.heard_ = std::move(heard);
    memory.writer_->start();
    return memory;
}

const std::vector<carp::Replay::Line>& Memory::heard(Vhid vhid) const {
    static const std::vector<carp::Replay::Line> nothing;
    const auto found = heard_.find(vhid);
    return found == heard_.end() ? nothing : found->second;
}

void Memory::keep(const carp::Counter::Kept& kept) { writer_->put(directory_ + "/counter", to_text(kept)); }
void Memory::keep(const HeardLines& lines) {
    heard_ = lines;
    writer_->put(directory_ + "/heard", to_text(lines));
}
std::string Memory::trouble() const { return writer_->trouble(); }

bool Memory::is_idle() const { return writer_->is_idle(); }

void Memory::finish(Duration most) {
    (void)writer_->wait(most);
    writer_->end();
}

}  // namespace koi::speaker
