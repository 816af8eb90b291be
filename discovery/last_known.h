// discovery/last_known.h
//
// The last good list of each pool on disk, for a start while no source answers: state_directory()/pools/NAME.json, in
// the JSON format of parse.h, so that an operator can read it and even use it as a source. Read and written by the
// worker.
#pragma once

#include <string>

#include "discovery/pool.h"
#include "supervisor/base/result.h"

namespace koi::discovery::last_known {

std::string path(const std::string& pool);
// Written whole: a crash leaves the list before or the new one. Nothing is written if it is the same already.
Outcome save(const std::string& pool, const Snapshot&);
Result<Snapshot> load(const std::string& pool);  // code ENOENT: never saved

// Pure.
std::string as_json(const Snapshot&);
Result<Snapshot> from_json(std::string_view);

}  // namespace koi::discovery::last_known
