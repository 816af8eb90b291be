// supervisor/base/file.h
//
// Whole files. write_whole() writes beside the target, syncs and renames, so that a reader or a crash sees the old
// content or the new one, never half of either.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <string>
#include <string_view>

#include "supervisor/base/result.h"

namespace koi {

// most: refuse files larger than this many bytes, because a configuration is never a gigabyte.
Result<std::string> read_whole(const std::string& path, std::size_t most = 64u << 20);
// The same of an open file; path: how it is called in an Error.
Result<std::string> read_whole(int fd, const std::string& path, std::size_t most);
Outcome write_whole(const std::string& path, std::string_view content, mode_t mode = 0644, bool sync = true);

// The directories systemd gives a unit (RUNTIME_DIRECTORY, STATE_DIRECTORY), else /run/koi and /var/lib/koi.
std::string runtime_directory();
std::string state_directory();

}  // namespace koi
