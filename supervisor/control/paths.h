// supervisor/control/paths.h — the words both ends of the control socket use.
//
//     GET  /v1/status?part=roles&format=json|yaml|text&colour=1     the status value, rendered
//     GET  /v1/plan                     POST /v1/plan (body: a configuration file's path in JSON: {"configuration":
//     "…"}) GET  /v1/events?after=N&follow=1  NDJSON, one event a line; follow keeps the connection open POST
//     /v1/reload                   answers when applied: {"outcome": "applied"|"refused"|"unchanged", "complaints":
//     [..]} POST /v1/step-down {"vhid": 51}   POST /v1/step-up {"vhid": 51} GET  /metrics                     GET
//     /healthz
//
// Errors: {"error": "sentence"} with 4xx or 5xx.
#pragma once

#include <string>

#include "supervisor/base/file.h"

namespace koi::control {

inline std::string socket_path() { return runtime_directory() + "/koi.sock"; }

}  // namespace koi::control
