// supervisor/base/secret.h
//
// Files that hold a secret, and who may see them.
//
// read_secret(): refused unless it is a plain file that nobody but its owner can read, and the owner is root, the
// user koi (as whom koid runs under its unit) or whoever reads it. The group koi may use the control socket and may
// not read a key. What a systemd credential adds for the unit's own user (an entry of an access list) is no other
// reader. Each refusal names the command that cures it. refusal() is the judgement, pure; names instead of numbers.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "supervisor/base/result.h"

namespace koi {

inline constexpr const char* unit_user = "koi";                 // of the unit; its group is the control socket's
inline constexpr const char* keys_directory = "/etc/koi/keys";  // 0750 root:koi

// One trailing line end is cut off.
Result<std::string> read_secret(const std::string& path, std::size_t most = 4096);

// For whoever tests a configuration as root: why koid under its unit could not read a secret that root can. Nothing
// where there is no such unit to come: no systemd, or no user koi.
std::optional<std::string> why_unit_cannot_read(const std::string& path);

namespace secret {

struct File {
    std::string path, owner, group;
    bool group_can = false, others_can = false;  // anything at all
};
struct Reader {
    std::string user = unit_user;
    bool has_unit_user = true;  // this machine has a user koi
};

// What is wrong with it, and what to run; nothing if it may be used. opened: the kernel let the reader in.
std::optional<std::string> refusal(const File&, const Reader&, bool opened);
// The same for a folder on the way to it that the reader may not enter.
std::string closed(const std::string& path, const std::string& folder, const Reader&);

}  // namespace secret

}  // namespace koi
