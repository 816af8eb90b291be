#include "supervisor/base/log.h"

#include <sys/stat.h>
#include <sys/uio.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#include <cctype>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace koi::log {

namespace {

std::string process_name = "koid";
bool stays = false;
bool switched_on(const char* variable) {
    const char* value = std::getenv(variable);
    return value && *value && std::string_view(value) != "0";
}

Level lowest_shown = switched_on("KOI_DEBUG") || switched_on("DEBUG") ? Level::debug : Level::info;

// systemd says which device and inode the journal's stream is; stderr is the journal only if it is that very one.
bool stderr_is_journal() {
    static const bool answer = [] {
        const char* stream = std::getenv("JOURNAL_STREAM");
        struct stat about;
        if (!stream || fstat(STDERR_FILENO, &about) != 0) return false;
        unsigned long long device = 0, inode = 0;
        return std::sscanf(stream, "%llu:%llu", &device, &inode) == 2 && device == about.st_dev &&
               inode == about.st_ino;
    }();
    return answer;
}

// A stable 128-bit id per event word (FNV-1a, two seeds), because a catalog needs one and the word is what we name.
std::string message_id(std::string_view event) {
    char out[33];
    std::uint64_t halves[2] = {0xcbf29ce484222325u, 0x84222325cbf29ce4u};
    for (auto& half : halves)
        for (const char c : event) half = (half ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
    std::snprintf(out, sizeof out, "%016llx%016llx", static_cast<unsigned long long>(halves[0]),
                  static_cast<unsigned long long>(halves[1]));
    return out;
}

std::string upper(std::string_view word) {
    std::string out = "KOI_";
    for (const char c : word)
        out += std::isalnum(static_cast<unsigned char>(c))
                   ? static_cast<char>(std::toupper(static_cast<unsigned char>(c)))
                   : '_';
    return out;
}

bool to_journal(Level level, std::string_view event, std::string_view sentence, const Fields& fields) {
    std::vector<std::string> lines = {
        "MESSAGE=" + std::string(sentence), "PRIORITY=" + std::to_string(static_cast<int>(level)),
        "SYSLOG_IDENTIFIER=koid",           "MESSAGE_ID=" + message_id(event),
        "KOI_EVENT=" + std::string(event),  "KOI_PROCESS=" + process_name};
    for (const auto& [key, value] : fields) lines.push_back(upper(key) + "=" + value);
    std::vector<iovec> parts;
    for (auto& line : lines) parts.push_back({line.data(), line.size()});
    return sd_journal_sendv(parts.data(), static_cast<int>(parts.size())) >= 0;
}

std::string quoted(const std::string& value) {
    std::string out = "\"";
    for (const char c : value) {
        if (c == '"' || c == '\\') out += '\\';
        out += c;
    }
    return out + "\"";
}

void to_stderr(Level level, std::string_view event, std::string_view sentence, const Fields& fields) {
    std::string line;
    if (stderr_is_journal()) line = "<" + std::to_string(static_cast<int>(level)) + ">";
    line += process_name + ": " + std::string(event) + ": " + std::string(sentence);
    for (const auto& [key, value] : fields) {
        const bool plain = value.find_first_of(" \t\"=") == std::string::npos && !value.empty();
        line += " " + key + "=" + (plain ? value : quoted(value));
    }
    // A line is a line: what a stranger sent may neither begin another nor speak to the terminal.
    for (char& c : line)
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = ' ';
    line += '\n';
    // One write, so that lines of several processes do not mix. Nobody can be told if it fails.
    [[maybe_unused]] const auto written = ::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace

void note(Level level, std::string_view event, std::string_view sentence, const Fields& fields) {
    if (level > lowest_shown) return;
    if (stays && stderr_is_journal() && to_journal(level, event, sentence, fields)) return;
    to_stderr(level, event, sentence, fields);
}

void speak_as(std::string_view process) { process_name = process; }
void settled(bool now) { stays = now; }
void show(Level lowest) { lowest_shown = lowest; }

bool RateLimit::allows(Instant now) {
    const auto earned = interval_ > Duration::zero() ? (now - earned_at_) / interval_ : spent_;
    if (earned >= spent_) {
        spent_ = 0;
        earned_at_ = now;
    } else if (earned > 0) {
        spent_ -= static_cast<unsigned>(earned);
        earned_at_ += earned * interval_;
    }
    if (spent_ >= burst_) {
        ++swallowed_;
        return false;
    }
    ++spent_;
    told_ = std::exchange(swallowed_, 0u);
    return true;
}

}  // namespace koi::log
