#include "discovery/file_source.h"

#include <pwd.h>
#include <sys/stat.h>

#include <algorithm>

#include "discovery/parse.h"
#include "supervisor/base/file.h"

namespace koi::discovery {

namespace {

constexpr Duration quiet = 100ms, patience = 1s;
constexpr std::size_t largest_file = 64u << 20;

std::string tell_complaints(const std::string& path, const std::vector<ParseComplaint>& complaints) {
    const auto& first = complaints.front();
    std::string story = path + (first.line == 0 ? ": " : ":") + first.text();
    if (complaints.size() > 1) story += " (and " + std::to_string(complaints.size() - 1) + " more)";
    return story;
}

Answer understand(std::string_view content, const FileSource& file, const PoolSettings& pool) {
    const auto parsed = parse(content, format_of(file));
    if (const auto* complaints = std::get_if<std::vector<ParseComplaint>>(&parsed))
        return tell_complaints(file.path, *complaints);
    auto resolved = resolve(std::get<std::vector<Member>>(parsed), pool);
    if (const auto* wrong = std::get_if<std::string>(&resolved)) return file.path + ": " + *wrong;
    return resolved;
}

std::string who_we_are() {
    const passwd* user = ::getpwuid(::geteuid());
    return "user " + (user ? std::string(user->pw_name) : std::to_string(::geteuid()));
}

std::int64_t nanoseconds(const timespec& t) { return t.tv_sec * std::int64_t{1'000'000'000} + t.tv_nsec; }

}  // namespace

std::string why_unreadable(const std::string& path) {
    for (auto slash = path.find('/', 1); slash != std::string::npos; slash = path.find('/', slash + 1)) {
        const auto directory = path.substr(0, slash);
        if (::access(directory.c_str(), X_OK) != 0 && errno == EACCES)
            return path + " cannot be read: " + who_we_are() + " may not enter " + directory + "; run: chmod o+x " +
                   directory + ", or put the file elsewhere";
    }
    return path + " cannot be read: " + who_we_are() + " may not; run: chmod o+r " + path;
}

FileReader::FileReader(Loop& loop, PathWatches& watches, const PoolSettings& pool, Tell tell)
    : loop_(loop), pool_(pool), file_(std::get<FileSource>(pool.source)), tell_(std::move(tell)) {
    due_ = loop_.at(Instant::max(), Priority::facts, "file source", [this] { read(); });
    Loop::move(due_, Instant::max());
    watch_ = watches.watch(file_.path, [this](Stir stir) { stirred(stir); });
    read();
}

void FileReader::stirred(Stir stir) {
    const Instant now = loop_.now();
    if (!stirring_since_) stirring_since_ = now;
    Loop::move(due_, stir == Stir::finished ? now : std::min(now + quiet, *stirring_since_ + patience));
}

void FileReader::look() {
    if (stirring_since_) return;  // it will be read soon
    if (stamp() != stamp_) read();
}

void FileReader::tell_again() {
    if (failure_) return tell_(*failure_);
    if (told_) tell_(answer_);
}

std::optional<FileReader::Stamp> FileReader::stamp() const {
    struct stat about;
    if (::stat(file_.path.c_str(), &about) != 0) return std::nullopt;
    return Stamp{.device = about.st_dev,
                 .inode = about.st_ino,
                 .size = static_cast<std::uint64_t>(about.st_size),
                 .modified = nanoseconds(about.st_mtim),
                 .changed = nanoseconds(about.st_ctim)};
}

void FileReader::read() {
    stirring_since_.reset();
    Loop::move(due_, Instant::max());
    stamp_ = stamp();  // before reading: what changes meanwhile has another one
    struct stat about;
    if (::stat(file_.path.c_str(), &about) == 0 && !S_ISREG(about.st_mode))
        return fail(file_.path + " is not a plain file");
    const auto content = read_whole(file_.path, largest_file);
    if (content) return take(*content);
    if (content.error().code == EACCES) return fail(why_unreadable(file_.path));
    if (content.error().code == ENOENT) return fail("there is no " + file_.path);
    fail(content.error().story);
}

void FileReader::take(std::string_view content) {
    // 64 bits are enough: nobody gains by making two of his own files look alike.
    const auto digest = std::hash<std::string_view>{}(content);
    const bool known = digest_ == digest;
    if (known && told_) return;
    if (!known) {
        answer_ = understand(content, file_, pool_);
        digest_ = digest;
        ++parsed_;
    }
    failure_.reset();
    told_ = true;
    tell_(answer_);
}

void FileReader::fail(std::string story) {
    if (failure_ == story) return;
    failure_ = std::move(story);
    told_ = false;
    tell_(*failure_);
}

}  // namespace koi::discovery
