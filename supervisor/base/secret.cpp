#include "supervisor/base/secret.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstring>

#include "supervisor/base/fd.h"
#include "supervisor/base/file.h"

namespace koi {

// ---- the judgement ----

namespace secret {

namespace {

bool may_own(const std::string& owner, const Reader& reader) {
    return owner == "root" || owner == unit_user || owner == reader.user;
}

// As one line for a shell.
std::string run(const std::string& new_owner, const File& file) {
    const bool close = file.group_can || file.others_can;
    std::string out = new_owner.empty() ? "" : "chown " + new_owner + " " + file.path;
    if (close) out += (out.empty() ? "" : " && ") + ("chmod 0400 " + file.path);
    return "run: " + out;
}

// It is there, and the kernel does not let the reader in.
std::string not_for_us(const File& file, const Reader& reader) {
    if (file.owner == reader.user)
        return file.path + " cannot be read by its owner, user " + reader.user + "; run: chmod 0400 " + file.path;
    const auto told = file.path + " belongs to " + file.owner + ", and ";
    const auto remedy = run(reader.user, file);
    if (reader.user == "root")
        return told + "root may read only what is its own here (no CAP_DAC_OVERRIDE); " + remedy;
    if (reader.user == unit_user) return told + "user koi, as whom koid runs, may not read it; " + remedy;
    return told + "user " + reader.user + " may not read it; use sudo, or " + remedy;
}

}  // namespace

std::optional<std::string> refusal(const File& file, const Reader& reader, bool opened) {
    if (!opened) return not_for_us(file, reader);
    const bool right_owner = may_own(file.owner, reader);
    const std::string new_owner = right_owner ? "" : reader.has_unit_user ? unit_user : "root";
    if (file.others_can) return file.path + " can be read by others than its owner; " + run(new_owner, file);
    if (file.group_can && file.group == unit_user)
        return file.path +
               " can be read by the group koi, whose members may use the control socket but hold no key; " +
               run(new_owner, file);
    if (file.group_can) return file.path + " can be read by the group " + file.group + "; " + run(new_owner, file);
    if (!right_owner)
        return file.path + " belongs to " + file.owner + ", who could change it; " + run(new_owner, file);
    return std::nullopt;
}

std::string closed(const std::string& path, const std::string& folder, const Reader& reader) {
    const auto told = path + " cannot be reached: user " + reader.user + " may not enter " + folder;
    if (reader.user != "root" && reader.user != unit_user) return told + "; use sudo";
    if (folder != "/etc/koi" && !folder.starts_with("/etc/koi/"))
        return told + "; move the key to " + keys_directory + ", and name that place in the configuration";
    const auto mode = folder == "/etc/koi" ? "0755 " : "0750 ";  // lists of backends in /etc/koi are for all
    return told + "; run: chown root:koi " + folder + " && chmod " + mode + folder;
}

}  // namespace secret

namespace {

// ---- what the machine says ----

std::string user_name(uid_t uid) {
    const passwd* user = ::getpwuid(uid);
    return user ? user->pw_name : std::to_string(uid);
}

std::string group_name(gid_t gid) {
    const group* found = ::getgrgid(gid);
    return found ? found->gr_name : std::to_string(gid);
}

secret::Reader we() { return {user_name(::geteuid()), ::getpwnam(unit_user) != nullptr}; }

// With an access list the group's bits of the mode are its mask, and who can read stands in an attribute: a version,
// and entries of 8 bytes.
struct AclEntry {
    std::uint16_t tag, permissions;
    std::uint32_t id;
};
enum AclTag : std::uint16_t { user_obj = 1, user = 2, group_obj = 4, mask = 0x10, other = 0x20 };

// Whether the list lets in more than the owner, root, koi and us; nothing if there is no list.
std::optional<bool> others_by_acl(int fd, const secret::Reader& reader) {
    std::array<char, 4 + 64 * sizeof(AclEntry)> raw;
    const ssize_t size = ::fgetxattr(fd, "system.posix_acl_access", raw.data(), raw.size());
    if (size < 4) return errno == ERANGE ? std::optional(true) : std::nullopt;
    std::array<AclEntry, 64> entries;
    const auto n = (static_cast<std::size_t>(size) - 4) / sizeof(AclEntry);
    std::memcpy(entries.data(), raw.data() + 4, n * sizeof(AclEntry));
    std::uint16_t effective = 7;
    for (std::size_t i = 0; i < n; ++i)
        if (entries[i].tag == mask) effective = entries[i].permissions;
    for (std::size_t i = 0; i < n; ++i) {
        const auto& [tag, permissions, id] = entries[i];
        if (tag == user_obj || tag == mask) continue;
        if (tag == user && secret::refusal({"", user_name(id), "", false, false}, reader, true) == std::nullopt)
            continue;
        if ((tag == other ? permissions : permissions & effective) != 0) return true;
    }
    return false;
}

secret::File described(const std::string& path, const struct stat& about, int fd, const secret::Reader& reader) {
    secret::File file{path, user_name(about.st_uid), group_name(about.st_gid), (about.st_mode & 070) != 0,
                      (about.st_mode & 07) != 0};
    if (!file.group_can || fd < 0) return file;
    if (const auto others = others_by_acl(fd, reader)) {
        file.group_can = false;
        file.others_can = *others;
    }
    return file;
}

// Why it could not be opened, better than the kernel says it.
std::string why_closed(const std::string& path, const std::string& otherwise) {
    struct stat about;
    if (::stat(path.c_str(), &about) == 0)
        return secret::refusal(described(path, about, -1, we()), we(), false).value_or(otherwise);
    for (auto slash = path.find('/', 1); slash != std::string::npos; slash = path.find('/', slash + 1)) {
        const auto folder = path.substr(0, slash);
        if (::access(folder.c_str(), X_OK) != 0 && errno == EACCES) return secret::closed(path, folder, we());
    }
    return otherwise;
}

}  // namespace

Result<std::string> read_secret(const std::string& path, std::size_t most) {
    Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (!fd) {
        Error error = from_errno("opening " + path);
        if (error.code == EACCES) error.story = why_closed(path, error.story);
        return error;
    }
    struct stat about;
    if (::fstat(fd.get(), &about) != 0) return from_errno("looking at " + path);
    if (!S_ISREG(about.st_mode)) return Error{path + " is not a plain file", EINVAL};
    const auto reader = we();
    if (const auto refused = secret::refusal(described(path, about, fd.get(), reader), reader, true))
        return Error{*refused, EACCES};
    auto content = read_whole(fd.get(), path, most);
    if (!content || !content->ends_with('\n')) return content;
    content->pop_back();
    if (content->ends_with('\r')) content->pop_back();
    return content;
}

std::optional<std::string> why_unit_cannot_read(const std::string& path) {
    struct stat about;
    if (::geteuid() != 0 || !we().has_unit_user || ::sd_booted() <= 0) return std::nullopt;
    if (::stat(path.c_str(), &about) != 0 || user_name(about.st_uid) == unit_user) return std::nullopt;
    Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (fd && (about.st_mode & 070) != 0) return std::nullopt;  // accepted so far: an access list lets koi in
    return secret::refusal(described(path, about, -1, {}), {}, false);
}

}  // namespace koi
