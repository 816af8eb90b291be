#include "supervisor/control/unix_socket.h"

#include <grp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "supervisor/base/log.h"

namespace koi::control {

namespace {

constexpr int waiting_clients = 32;
constexpr mode_t mode = 0660;

std::optional<sockaddr_un> address_of(const std::string& path) {
    sockaddr_un where{};
    where.sun_family = AF_UNIX;
    if (path.empty() || path.size() >= sizeof where.sun_path) return std::nullopt;
    path.copy(where.sun_path, path.size());
    return where;
}

const sockaddr* plain(const sockaddr_un& where) { return reinterpret_cast<const sockaddr*>(&where); }

// A path is free if there is nothing, or a socket nobody answers any more, which is removed.
Outcome make_free(const std::string& path, const sockaddr_un& where) {
    struct stat about;
    if (::lstat(path.c_str(), &about) != 0)
        return errno == ENOENT ? Outcome(Done{}) : from_errno("looking at " + path);
    if (!S_ISSOCK(about.st_mode)) return Error{path + " is there and is no socket; move it away", EEXIST};
    Fd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!probe) return from_errno("creating a socket");
    if (::connect(probe.get(), plain(where), sizeof where) == 0 || errno == EAGAIN)
        return Error{"another koid answers on " + path + "; stop it first", EADDRINUSE};
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) return from_errno("removing the leftover " + path);
    return Done{};
}

void give_to(const std::string& path, gid_t group) {
    if (::chown(path.c_str(), static_cast<uid_t>(-1), group) == 0) return;
    log::note(log::Level::warning, "control",
              std::string("the group koi cannot use ") + path + ": " + std::strerror(errno) +
                  "; give the unit Group=koi or SupplementaryGroups=koi, or use koi as root",
              {{"path", path}});
}

}  // namespace

Result<SocketFile> SocketFile::listen(const std::string& path, std::optional<gid_t> group) {
    const auto where = address_of(path);
    if (!where) return Error{"the path of a socket has 1 to 107 bytes, and this one does not: " + path, ENAMETOOLONG};
    if (auto is_free = make_free(path, *where); !is_free) return is_free.error();

    SocketFile file;
    file.fd_ = Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!file.fd_) return from_errno("creating a socket");
    ::fchmod(file.fd_.get(), 0600);  // the file is born with it, so that nobody slips in before its group is set
    if (::bind(file.fd_.get(), plain(*where), sizeof *where) != 0) return from_errno("binding " + path);
    file.path_ = path;
    struct stat about;
    if (::lstat(path.c_str(), &about) != 0) return from_errno("looking at " + path);
    file.device_ = about.st_dev;
    file.inode_ = about.st_ino;
    if (group) give_to(path, *group);
    if (::chmod(path.c_str(), mode) != 0) return from_errno("setting the mode of " + path);
    if (::listen(file.fd_.get(), waiting_clients) != 0) return from_errno("listening on " + path);
    return file;
}

SocketFile& SocketFile::operator=(SocketFile&& other) noexcept {
    if (this == &other) return *this;
    remove();
    fd_ = std::move(other.fd_);
    path_ = std::exchange(other.path_, {});
    device_ = other.device_;
    inode_ = other.inode_;
    return *this;
}

SocketFile::~SocketFile() { remove(); }

void SocketFile::remove() {
    struct stat about;
    if (path_.empty() || ::lstat(path_.c_str(), &about) != 0) return;
    if (about.st_dev == device_ && about.st_ino == inode_) ::unlink(path_.c_str());
}

std::optional<Peer> peer_of(int fd) {
    ucred credentials{};
    socklen_t size = sizeof credentials;
    if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) return std::nullopt;
    std::vector<gid_t> groups(64);
    for (;;) {
        auto bytes = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
        if (::getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &bytes) == 0) {
            groups.resize(bytes / sizeof(gid_t));
            break;
        }
        if (errno != ERANGE) {
            groups.clear();
            break;
        }
        groups.resize(bytes / sizeof(gid_t));  // the kernel said how many there are
    }
    groups.insert(groups.begin(), credentials.gid);
    return Peer{credentials.uid, std::move(groups)};
}

std::optional<gid_t> group_id(const char* name) {
    group entry{};
    group* found = nullptr;
    std::vector<char> room(65536);
    if (::getgrnam_r(name, &entry, room.data(), room.size(), &found) != 0 || !found) return std::nullopt;
    return entry.gr_gid;
}

bool may_ask(const Peer& peer, std::optional<gid_t> group) {
    if (peer.uid == 0 || peer.uid == ::geteuid()) return true;
    return group && std::ranges::find(peer.groups, *group) != peer.groups.end();
}

}  // namespace koi::control
