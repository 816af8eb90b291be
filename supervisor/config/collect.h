// supervisor/config/collect.h
//
// A configuration that is read in one place and judged in another: koid sees neither homes nor /tmp, so whoever asks
// what a file would change reads it, and all that it includes, with their own rights, and sends the text. No secret
// is among it: of key files the names alone are known.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "supervisor/config/read.h"

namespace koi::config {

struct Collected {
    std::map<std::string, std::string> files;                  // path → content
    std::map<std::string, std::vector<std::string>> patterns;  // of !include → what they match
    friend bool operator==(const Collected&, const Collected&) = default;
};

// `complaints`: what cannot be read, or is no YAML; as read() has them.
Collected collect(const std::string& path, const Loader&, std::vector<Complaint>& complaints);

// The other end: gives what was collected and looks at no file. `host` gives secrets and the host name.
Loader replay(Collected, Loader host);

}  // namespace koi::config
