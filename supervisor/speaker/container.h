// supervisor/speaker/container.h
//
// What koid says first when it is the first process of a container: there no unit has seen to capabilities, modules
// and a configuration, and nobody reads anything but this output.
#pragma once

#include <optional>
#include <set>
#include <string>

#include "supervisor/base/kernel_features.h"
#include "supervisor/base/privileges.h"

namespace koi::speaker {

struct Surroundings {
    std::set<Capability> missing;  // of those koid needs
    bool configured = true;        // its file is there
    KernelFeatures kernel;
};
Surroundings look_around(const std::string& configuration);

// The one sentence, and the code to end with; no code: go on. Nothing to say where nothing is missing.
struct FirstWords {
    std::string sentence;
    std::optional<int> end;
    friend bool operator==(const FirstWords&, const FirstWords&) = default;
};
std::optional<FirstWords> first_words(const Surroundings&, const std::string& configuration);

// koid as process 1: says the above, splits off the daemon (nullopt: we are it), watches over it, and lets go of what
// it left, as ExecStopPost= of the unit does. Then the exit code.
std::optional<int> first_process(const std::string& configuration);

}  // namespace koi::speaker
