// supervisor/control/sent_files.h
//
// The body of POST /v1/plan: a configuration and what it includes, as their sender read them.
//
//     {"configuration": "/home/ada/koi.yaml",
//      "files": {"/home/ada/koi.yaml": "carp: …", "/home/ada/conf.d/web.yaml": "…"},
//      "patterns": {"/home/ada/conf.d/*.yaml": ["/home/ada/conf.d/web.yaml"]}}
//
// Pure. As with all that clients send, anything else in it is read past.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace koi::control {

inline constexpr std::size_t largest_body = 16u << 20;  // of a request

struct SentFiles {
    std::string configuration;
    std::map<std::string, std::string> files;
    std::map<std::string, std::vector<std::string>> patterns;
    friend bool operator==(const SentFiles&, const SentFiles&) = default;
};

std::string written(const SentFiles&);
std::optional<SentFiles> sent_files(const std::string& body);  // nothing: it has no "configuration" or no "files"

}  // namespace koi::control
