// supervisor/control/unix_socket.h
//
// The socket file that operators' programs connect to, and who is asking. No name service is consulted while a
// request is answered: the kernel itself tells a peer's user and groups.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "supervisor/base/fd.h"
#include "supervisor/base/result.h"

namespace koi::control {

// A listening Unix socket and its file, which goes with it.
class SocketFile {
public:
    SocketFile() = default;
    // A leftover file is replaced; a socket that somebody still answers, or a file that is no socket, is an error.
    // Mode 0660; `group`, if there is one, becomes the file's group (if we may not give it away, that is logged).
    static Result<SocketFile> listen(const std::string& path, std::optional<gid_t> group);
    SocketFile(SocketFile&& other) noexcept { *this = std::move(other); }
    SocketFile& operator=(SocketFile&&) noexcept;
    ~SocketFile();

    int fd() const { return fd_.get(); }
    // Somebody else closes the descriptor from now on.
    void keep_open_by_another() { fd_.release(); }

private:
    void remove();

    Fd fd_;
    std::string path_;
    dev_t device_ = 0;
    ino_t inode_ = 0;  // only our own file is removed in the end
};

struct Peer {
    unsigned uid = 0;
    std::vector<gid_t> groups;  // the primary one first
};
std::optional<Peer> peer_of(int fd);

std::optional<gid_t> group_id(const char* name);

// Root, members of `group`, and the user this process runs as (who may stop it anyway).
bool may_ask(const Peer&, std::optional<gid_t> group);

}  // namespace koi::control
