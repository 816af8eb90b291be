#include "supervisor/main/keygen.h"

#include <fcntl.h>
#include <pwd.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <sstream>
#include <string_view>
#include <vector>

#include "supervisor/base/fd.h"
#include "supervisor/base/file.h"
#include "supervisor/base/secret.h"
#include "supervisor/main/worker_tool.h"

namespace koi::control {

namespace {

constexpr int fine = 0, failed = 1;

// A password has at most 19 bytes; 43 characters of six bits each are more than the 256 bits that sign.
struct Kind {
    std::string_view name, what;
    std::size_t length;
};
constexpr Kind kinds[] = {{"carp.key", "the CARP password", 19}, {"auth.key", "signs the adverts", 43}};

int complain(const std::string& sentence) {
    std::fprintf(stderr, "koi: %s\n", sentence.c_str());
    return failed;
}

void say(const std::string& line) { std::printf("%s\n", line.c_str()); }

// Characters that need no quotes anywhere: each is six bits of the kernel's randomness.
Result<std::string> random_text(std::size_t length) {
    constexpr std::string_view letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._";
    static_assert(letters.size() == 64);
    std::string text(length, '\0');
    if (::getrandom(text.data(), text.size(), 0) != static_cast<ssize_t>(length))
        return from_errno("asking for randomness");
    for (char& c : text) c = letters[static_cast<unsigned char>(c) & 63];
    return text;
}

struct Owner {
    std::string name;
    uid_t uid;
    gid_t gid;
};

class Keys {
public:
    Keys(const KeygenWish& wish, Owner owner)
        : wish_(wish),
          owner_(std::move(owner)),
          directory_(wish.directory.empty() ? keys_directory : wish.directory) {}

    int make();
    int adopt();

private:
    Outcome ready_directory();
    Outcome write(const Kind&, bool replaces);
    Result<bool> give(const std::string& path);  // true: something was changed
    std::vector<std::string> found(bool& readable);
    void explain() const;
    void warn_of_closed_folders(const std::string& path) const;
    std::string adopt_command() const {
        return "koi keygen --adopt" + (directory_ == keys_directory ? "" : " --directory " + directory_) +
               (owner_.name == unit_user ? "" : " --owner " + owner_.name);
    }
    std::string path_of(std::string_view name) const { return directory_ + "/" + std::string(name); }

    const KeygenWish& wish_;
    Owner owner_;
    std::string directory_;
};

// root writes here and the owner reads; a folder of the operator's own stays as it is.
Outcome Keys::ready_directory() {
    const char* path = directory_.c_str();
    const bool made = ::mkdir(path, 0750) == 0;
    if (!made && errno != EEXIST) return from_errno("making " + directory_);
    struct stat about;
    if (::stat(path, &about) != 0) return from_errno("looking at " + directory_);
    if (!S_ISDIR(about.st_mode)) return Error{directory_ + " is no directory", ENOTDIR};
    if (made || directory_ == keys_directory) {
        if (::chown(path, 0, owner_.gid) != 0 || ::chmod(path, 0750) != 0)
            return from_errno("setting owner and mode of " + directory_);
    } else if (about.st_uid != 0) {
        return Error{directory_ + " does not belong to root; whoever owns it could change the keys", EPERM};
    } else if ((about.st_mode & 022) != 0) {
        return Error{"others than its owner can write in " + directory_ + "; keys do not belong there", EPERM};
    }
    return Done{};
}

Outcome Keys::write(const Kind& kind, bool replaces) {
    const auto path = path_of(kind.name);
    const auto text = random_text(kind.length);
    if (!text) return text.error();
    if (auto written = write_whole(path, *text + "\n", 0400); !written) return written;
    if (::lchown(path.c_str(), owner_.uid, owner_.gid) != 0)
        return from_errno("giving " + path + " to " + owner_.name);
    say(path + ": " + (replaces ? "replaced by a new one" : "new") + "; " + std::string(kind.what));
    return Done{};
}

int Keys::make() {
    if (auto ready = ready_directory(); !ready) return complain(ready.error().story);
    bool replaced = false;
    for (const Kind& kind : kinds) {
        const auto path = path_of(kind.name);
        struct stat about;
        const bool is_there = ::lstat(path.c_str(), &about) == 0;
        if (is_there && !wish_.force) {
            say(path + ": is there already and stays" +
                (about.st_uid == owner_.uid && (about.st_mode & 077) == 0
                     ? ""
                     : ", though user " + owner_.name + " cannot use it as it is; run: " + adopt_command()));
            continue;
        }
        if (is_there && S_ISDIR(about.st_mode)) return complain(path + " is a directory; move it away");
        if (auto done = write(kind, is_there); !done) return complain(done.error().story);
        replaced = replaced || is_there;
    }
    if (replaced)
        say("\nUntil the other nodes have the new keys, and all have read them (koi reload, on all within a minute), "
            "they\n"
            "do not hear each other.");
    explain();
    return fine;
}

void Keys::explain() const {
    const auto slash = directory_.rfind('/');
    const auto above = slash == 0 ? "/" : directory_.substr(0, slash), last = directory_.substr(slash + 1);
    std::printf(
        "\n"
        "The other nodes need the same two files, by any way that nobody reads. For example from here, where NODE "
        "lets\n"
        "root in by ssh:\n"
        "  sudo tar -C %s -c %s | ssh root@NODE tar -C %s -x\n"
        "If they arrive there as another user's: sudo %s\n"
        "\n"
        "In koi.yaml, on all nodes:\n"
        "  carp:\n"
        "    key_file: %s\n"
        "    auth: require\n"
        "    auth_keys: { 1: %s }\n",
        above.c_str(), last.c_str(), above.c_str(), adopt_command().c_str(), path_of("carp.key").c_str(),
        path_of("auth.key").c_str());
}

// A plain file of one name, whoever it belonged to: root is asked for in so many words, and follows no link.
Result<bool> Keys::give(const std::string& path) {
    Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW));
    if (!fd)
        return errno == ELOOP ? Error{path + " is a link; name the file itself", ELOOP}
                              : from_errno("opening " + path);
    struct stat about;
    if (::fstat(fd.get(), &about) != 0) return from_errno("looking at " + path);
    if (!S_ISREG(about.st_mode) || about.st_nlink != 1)
        return Error{path + " is no plain file with one name", EINVAL};
    if (about.st_size > 4096 || (about.st_mode & 07111) != 0)  // what read_secret() takes at most
        return Error{path + " cannot be a key: it is larger than 4096 bytes, or a program", EINVAL};
    if (about.st_uid == owner_.uid && (about.st_mode & 0777 & ~0600) == 0) return false;
    if (::fchown(fd.get(), owner_.uid, owner_.gid) != 0 || ::fchmod(fd.get(), 0400) != 0)
        return from_errno("giving " + path + " to " + owner_.name);
    return true;
}

// The keys of the directory, and those that the configuration names.
std::vector<std::string> Keys::found(bool& readable) {
    std::vector<std::string> paths;
    std::error_code none;
    for (const auto& entry : std::filesystem::directory_iterator(directory_, none))
        // In a folder that others use as well, only what keygen itself would write there.
        if (directory_ == keys_directory
                ? entry.path().extension() == ".key"
                : std::ranges::any_of(kinds, [&](const Kind& kind) { return entry.path().filename() == kind.name; }))
            paths.push_back(entry.path().string());
    if (::access(wish_.configuration.c_str(), F_OK) == 0) {
        const auto told = ask_worker_program({"keys", "--configuration", wish_.configuration});
        readable = told && told->code == fine;
        if (!told) complain(told.error().story);
        std::istringstream lines(told ? told->out : "");
        for (std::string line; std::getline(lines, line);) paths.push_back(line);
    }
    std::ranges::sort(paths);
    paths.erase(std::unique(paths.begin(), paths.end()), paths.end());
    return paths;
}

void Keys::warn_of_closed_folders(const std::string& path) const {
    for (const std::string hidden : {"/root/", "/home/", "/run/user/"})
        if (path.starts_with(hidden)) {
            complain(secret::closed(path, hidden.substr(0, hidden.size() - 1), {owner_.name, true}));
            return;
        }
    for (auto slash = path.find('/', 1); slash != std::string::npos; slash = path.find('/', slash + 1)) {
        const auto folder = path.substr(0, slash);
        struct stat about;
        if (::stat(folder.c_str(), &about) != 0) return;
        const mode_t needed = about.st_uid == owner_.uid ? 0100 : about.st_gid == owner_.gid ? 0010 : 0001;
        if ((about.st_mode & needed) != 0) continue;
        complain(secret::closed(path, folder, {owner_.name, true}));
        return;
    }
}

int Keys::adopt() {
    if (directory_ == keys_directory && ::access(keys_directory, F_OK) == 0)
        if (auto ready = ready_directory(); !ready) return complain(ready.error().story);
    bool readable = true;
    const auto paths = found(readable);
    int code = readable ? fine : failed;
    for (const auto& path : paths) {
        const auto changed = give(path);
        if (!changed) {
            code = complain(changed.error().story);
            continue;
        }
        say(path + (*changed ? ": belongs to " : ": is right, it belongs to ") + owner_.name +
            (*changed ? " now, and only " + owner_.name + " can read it" : ""));
        warn_of_closed_folders(path);
    }
    if (paths.empty())
        return complain("there is no key to adopt, neither in " + directory_ + " nor in " + wish_.configuration +
                        "; copy them from another node, or make them with: koi keygen");
    return code;
}

}  // namespace

int keygen(const KeygenWish& wish) {
    if (::geteuid() != 0)
        return complain("keygen gives the keys to user " + wish.owner + ", which only root can; use sudo");
    const passwd* user = ::getpwnam(wish.owner.c_str());
    if (!user)
        return complain("there is no user " + wish.owner + " on this machine" +
                        (wish.owner == unit_user
                             ? "; the package koi makes it. Where koid runs as another one: --owner USER"
                             : ""));
    KeygenWish absolute = wish;
    std::error_code unknown;
    if (!wish.directory.empty()) {
        auto path = std::filesystem::absolute(wish.directory, unknown).lexically_normal().string();
        if (path.size() > 1 && path.ends_with('/')) path.pop_back();
        absolute.directory = unknown ? wish.directory : path;
    }
    Keys keys(absolute, {user->pw_name, user->pw_uid, user->pw_gid});
    return wish.adopt ? keys.adopt() : keys.make();
}

}  // namespace koi::control
