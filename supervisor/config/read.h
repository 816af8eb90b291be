// supervisor/config/read.h
//
// A file → Config, or all complaints at once, each with file:line:column, the path of the key, and a proposal where
// one can be made ("did you mean"). Unknown keys, wrong types, values out of range, a vip that no vhid owns, one vhid
// twice, two services at one place: each is an error. A key that is designed but not in this version is named as
// such. Only a file that is no YAML is complained about alone. No complaint ever shows a password. read() is pure (a
// loader gives it files); load() opens the real ones and also reads the key files.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "supervisor/base/result.h"
#include "supervisor/config/config.h"

namespace koi::config {

struct Complaint {
    std::string file;
    unsigned line = 0, column = 0;  // from 1; 0: the whole file
    std::string path;               // "services[0].pool"; "" for the file itself
    std::string what;               // a sentence without a full stop
    std::string text() const;  // koi.yaml:14:11  services[0].pool: there is no pool called "wbe"; did you mean "web"?
};

// As the code of a loader's Error about a secret: it is not for the reader to see, and that is no mistake in the
// file.
constexpr int withheld = -1;

struct Loader {
    std::function<Result<std::string>(const std::string& path)> file;
    std::function<Result<std::string>(const std::string& path)> secret;
    // Worth a warning about a secret that could be read; may be empty.
    std::function<std::optional<std::string>(const std::string& path)> about_secret = {};
    std::function<std::vector<std::string>(const std::string& pattern)> glob;  // for !include, sorted
    std::string host_name;
};

struct Reading {
    std::optional<Config> config;       // only without complaints
    std::vector<Complaint> complaints;  // sorted by file and line
    std::vector<Complaint> warnings;    // true, but think again: e.g. advbase 0 towards ucarp, a pool nobody uses
    std::vector<std::string> key_files = {};  // that are named, each once; also with complaints
    std::map<std::string, std::string> withheld =
        {};  // key file → why it was not looked at; its key is empty in `config`
};

Reading read(const std::string& path, const Loader&);
Reading load(const std::string& path);  // from disk
Loader disk();                          // load()'s

// The configuration in full, defaults included, as YAML (key files named, never their content). Reads in again as
// itself.
std::string print(const Config&);

}  // namespace koi::config
