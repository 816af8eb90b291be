// supervisor/config/read_keys.cpp — what the key files hold: `key_file` and `auth_keys`. Their content is never
// shown.
#include <algorithm>

#include "supervisor/config/draft.h"

namespace koi::config {

namespace {

constexpr std::size_t shortest_auth_key = 32;
constexpr std::size_t longest_password = 19;  // ucarp and OpenBSD share it as 20 bytes with a NUL
constexpr std::string_view usual_folder = "/etc/koi/keys";

// How `koi keygen` makes it; a file of another name is the operator's own business.
std::string keygen(const std::string& path, std::string_view usual_name) {
    const auto slash = path.rfind('/');
    const auto folder = path.substr(0, slash);
    if (path.substr(slash + 1) != usual_name)
        return "koi keygen, which writes " + std::string(usual_folder) + "/" + std::string(usual_name) +
               ", and name that here";
    return folder == usual_folder ? "koi keygen" : "koi keygen --directory " + folder;
}

Error explained(Error error, const std::string& path, std::string_view usual_name) {
    if (error.code == ENOENT)
        error.story =
            "there is no " + path + "; copy it from another node, or make it with: " + keygen(path, usual_name);
    return error;
}

// The password in a key file, or why it cannot be used.
Result<std::string> password(const std::string& path, const Loader& loader) {
    auto key = loader.secret(path);
    if (!key) return explained(key.error(), path, "carp.key");
    if (key->empty()) return Error{path + " is empty; it must hold the password, 1 to 19 bytes"};
    if (key->size() > longest_password)
        return Error{path + " holds " + std::to_string(key->size()) +
                     " bytes; a CARP password has at most 19, and a longer one would be cut by other speakers"};
    if (key->find('\0') != std::string::npos)
        return Error{path + " holds a NUL byte, at which other speakers would cut it"};
    return key;
}

// A key of the trailer. It is not told from a password by its look, so at least a password's file is refused.
Result<std::string> auth_key(const std::string& path, const Loader& loader) {
    auto key = loader.secret(path);
    if (!key) return explained(key.error(), path, "auth.key");
    if (key->size() < shortest_auth_key)
        return Error{path + " holds " + std::to_string(key->size()) +
                     " bytes, which can be guessed; it needs at least " + std::to_string(shortest_auth_key) +
                     "; make one with: " + keygen(path, "auth.key")};
    return key;
}

// Each file is read once, and what is wrong with it is said once, where it is named first.
class KeyReader {
public:
    using Read = Result<std::string> (*)(const std::string&, const Loader&);
    KeyReader(Read read, const Loader& loader, Notes& notes, KeyFiles& files)
        : read_(read), loader_(loader), notes_(notes), files_(files) {}

    // Empty if there is none to be had, or it is withheld.
    const std::string& of(const std::string& path, const Spot& spot) {
        const auto [entry, is_new] = known_.try_emplace(path);
        if (!is_new) return entry->second;
        if (std::ranges::find(files_.named, path) == files_.named.end()) files_.named.push_back(path);
        auto key = read_(path, loader_);
        if (!key && key.error().code == withheld)
            files_.withheld.emplace(path, key.error().story);
        else if (!key)
            notes_.complain(spot, key.error().story);
        else if (const auto remark = loader_.about_secret ? loader_.about_secret(path) : std::nullopt)
            notes_.warn(spot, *remark);
        if (key) entry->second = std::move(*key);
        return entry->second;
    }

private:
    Read read_;
    const Loader& loader_;
    Notes& notes_;
    KeyFiles& files_;
    std::map<std::string, std::string> known_;
};

}  // namespace

KeyFiles read_keys(Draft& draft, const Loader& loader, Notes& notes) {
    KeyFiles files;
    KeyReader passwords(password, loader, notes, files), auth_keys(auth_key, loader, notes, files);
    for (auto& vip : draft.vips) {
        if (!vip.group.key_file.empty())  // else it has had its complaint
            vip.group.carp.password = passwords.of(vip.group.key_file, vip.written.of("key_file"));
        for (const auto& [id, path] : vip.group.auth_key_files)
            if (const auto& key = auth_keys.of(path, vip.written.of("auth_keys")); !key.empty())
                vip.group.carp.auth.keys[id] = key;
    }
    return files;
}

}  // namespace koi::config
