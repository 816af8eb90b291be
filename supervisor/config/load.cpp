// supervisor/config/load.cpp — the real files behind read().
#include <glob.h>
#include <unistd.h>

#include <climits>

#include "supervisor/base/file.h"
#include "supervisor/base/secret.h"
#include "supervisor/config/read.h"

namespace koi::config {

namespace {

constexpr std::size_t largest_file = 16u << 20;

std::vector<std::string> matching(const std::string& pattern) {
    glob_t found{};
    std::vector<std::string> paths;
    if (::glob(pattern.c_str(), 0, nullptr, &found) == 0)
        for (std::size_t i = 0; i < found.gl_pathc; ++i) paths.emplace_back(found.gl_pathv[i]);
    ::globfree(&found);
    return paths;
}

std::string host_name() {
    char name[HOST_NAME_MAX + 1] = {};
    return ::gethostname(name, sizeof name - 1) == 0 ? name : "";
}

}  // namespace

Loader disk() {
    return {.file = [](const std::string& p) { return read_whole(p, largest_file); },
            .secret = [](const std::string& p) { return read_secret(p); },
            .about_secret = why_unit_cannot_read,
            .glob = matching,
            .host_name = host_name()};
}

Reading load(const std::string& path) { return read(path, disk()); }

}  // namespace koi::config
