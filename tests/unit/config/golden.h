// The golden configurations, and files that exist only in a test.
#pragma once

#include <glob.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "supervisor/config/read.h"

namespace koi::config {

// A loader over files that are given as text. Every key file holds "sesame", except some with a name that says so.
struct Files {
    std::map<std::string, std::string> files;

    Loader loader() const {
        return {.file = [this](const std::string& path) -> Result<std::string> {
                    const auto found = files.find(path);
                    if (found == files.end()) return Error{"opening " + path + ": No such file or directory", ENOENT};
                    return found->second;
                },
                .secret = [](const std::string& path) -> Result<std::string> {
                    if (path.ends_with("missing.key"))
                        return Error{"opening " + path + ": No such file or directory", ENOENT};
                    if (path.ends_with("open.key"))
                        return Error{path + " can be read by others than its owner; run: chmod 0400 " + path, EACCES};
                    if (path.ends_with("empty.key")) return std::string();
                    if (path.ends_with("long.key")) return std::string(20, 'x');
                    if (path.ends_with("nul.key")) return std::string("ab\0cd", 5);
                    if (path.ends_with("auth.key") || path.ends_with("auth2.key")) return std::string(44, 'k');
                    return std::string("sesame");
                },
                .glob =
                    [this](const std::string& pattern) {
                        // Enough of a glob for tests: one "*".
                        std::vector<std::string> found;
                        const auto star = pattern.find('*');
                        const auto begin = pattern.substr(0, star), end = pattern.substr(star + 1);
                        for (const auto& [path, content] : files)
                            if (path.starts_with(begin) && path.ends_with(end) &&
                                path.size() >= begin.size() + end.size())
                                found.push_back(path);
                        return found;
                    },
                .host_name = "lb1"};
    }
};

inline std::string content_of(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

// All files under tests/golden/config, by their path from there.
inline Files golden_files() {
    const std::filesystem::path root = KOI_SOURCE_DIR "/tests/golden/config";
    Files out;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(root))
        if (entry.is_regular_file())
            out.files[std::filesystem::relative(entry.path(), root).string()] = content_of(entry.path().string());
    return out;
}

// The text of one file, read alone.
inline Reading read_text(const std::string& text) {
    const Files files{{{"koi.yaml", text}}};
    return read("koi.yaml", files.loader());
}

inline std::string all_told(const Reading& reading) {
    std::string out;
    for (const auto& complaint : reading.complaints) out += complaint.text() + "\n";
    for (const auto& warning : reading.warnings) out += "warning: " + warning.text() + "\n";
    return out;
}

// A configuration that is good but for what a test adds.
inline std::string good(const std::string& services = "", const std::string& pools = "") {
    return "carp: { interface: eth0, key_file: /etc/koi/carp.key }\n"
           "vips: [ { vhid: 51, addresses: [192.0.2.10/24] } ]\n" +
           (services.empty() ? "" : "services:\n" + services) + (pools.empty() ? "" : "pools:\n" + pools);
}

}  // namespace koi::config
