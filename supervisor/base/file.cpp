#include "supervisor/base/file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cstdlib>

#include "supervisor/base/fd.h"

namespace koi {

namespace {

Outcome write_new(const std::string& path, std::string_view content, mode_t mode, bool sync) {
    Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode));
    if (!fd) return from_errno("creating " + path);
    while (!content.empty()) {
        const ssize_t n = ::write(fd.get(), content.data(), content.size());
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return from_errno("writing " + path);
        content.remove_prefix(static_cast<std::size_t>(n));
    }
    if (sync && ::fsync(fd.get()) != 0) return from_errno("syncing " + path);
    return Done{};
}

std::string directory(const char* variable, const char* otherwise) {
    const char* given = std::getenv(variable);
    if (!given || !*given) return otherwise;
    return std::string(given).substr(0, std::string(given).find(':'));  // systemd joins several with ':'
}

}  // namespace

Result<std::string> read_whole(int fd, const std::string& path, std::size_t most) {
    std::string content;
    char chunk[16384];
    for (;;) {
        const ssize_t n = ::read(fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return from_errno("reading " + path);
        if (n == 0) return content;
        content.append(chunk, static_cast<std::size_t>(n));
        if (content.size() > most)
            return Error{"reading " + path + ": larger than " + std::to_string(most) + " bytes", EFBIG};
    }
}

Result<std::string> read_whole(const std::string& path, std::size_t most) {
    // O_NONBLOCK: a FIFO without a writer must not hold us up.
    Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (!fd) return from_errno("opening " + path);
    struct stat about;
    if (::fstat(fd.get(), &about) == 0 && S_ISDIR(about.st_mode))
        return Error{"reading " + path + ": it is a directory", EISDIR};
    return read_whole(fd.get(), path, most);
}

Outcome write_whole(const std::string& path, std::string_view content, mode_t mode, bool sync) {
    const std::string beside = path + ".new";
    ::unlink(beside.c_str());  // what a crash left may have another mode, or be somebody's link
    auto done = write_new(beside, content, mode, sync);
    if (done && ::rename(beside.c_str(), path.c_str()) != 0) done = from_errno("renaming " + beside + " to " + path);
    if (!done) ::unlink(beside.c_str());
    return done;
}

std::string runtime_directory() { return directory("RUNTIME_DIRECTORY", "/run/koi"); }
std::string state_directory() { return directory("STATE_DIRECTORY", "/var/lib/koi"); }

}  // namespace koi
