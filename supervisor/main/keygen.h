// supervisor/main/keygen.h
//
// `koi keygen`: both secrets of a pair, as koid wants them, and in plain words what to do with them. It asks no koid.
// Files that are there are never overwritten, unless --force says so.
#pragma once

#include <string>

namespace koi::control {

struct KeygenWish {
    std::string directory;                            // made if it is not there; empty: /etc/koi/keys
    std::string owner = "koi";                        // who reads them: the user of the unit
    std::string configuration = "/etc/koi/koi.yaml";  // adopt: the key files it names, too
    bool force = false;                               // new ones in place of those that are there
    bool adopt = false;                               // make none; those that are there become the owner's
};

int keygen(const KeygenWish&);  // the exit code

}  // namespace koi::control
