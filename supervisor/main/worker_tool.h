// supervisor/main/worker_tool.h
//
// What needs the configuration's language is asked of the worker's program, so that koi links no YAML. It runs with
// the rights of whoever called koi, and its complaints go to stderr by themselves.
#pragma once

#include <string>
#include <vector>

#include "supervisor/base/result.h"

namespace koi::control {

struct Told {
    int code = 0;  // its exit code
    std::string out;
};
Result<Told> ask_worker_program(const std::vector<std::string>& arguments);

}  // namespace koi::control
