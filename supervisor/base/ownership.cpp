#include "supervisor/base/ownership.h"

#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

namespace koi {

namespace {

std::string name_of(uid_t uid) {
    const passwd* entry = ::getpwuid(uid);
    return entry ? entry->pw_name : std::to_string(uid);
}

}  // namespace

Error told_with_owner(Error error, const std::string& path) {
    if (error.code != EACCES && error.code != EPERM) return error;
    const std::string folder = path.substr(0, path.rfind('/'));
    for (const auto& place : {path, folder}) {
        struct stat about;
        if (::stat(place.c_str(), &about) != 0 || about.st_uid == ::geteuid()) continue;
        const auto us = name_of(::geteuid());
        error.story += "; " + place + " belongs to " + name_of(about.st_uid) + " and koid runs as " + us +
                       " now, run: chown -R " + us + ": " + folder;
        break;
    }
    return error;
}

}  // namespace koi
