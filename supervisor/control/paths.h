// supervisor/control/paths.h — the words both ends of the control socket use.
//
//     GET  /v1/status?part=roles&format=json|yaml|text&colour=1&columns=100
//                                       the status value, rendered; columns: 40 to 100
//     GET  /v1/plan                     POST /v1/plan with the files themselves (sent_files.h)
//                                       {"changes": [{"kind": "ipvs", "text": "add backend …"}], "notes": ["…"]}; 422
//                                       with complaints
//     GET  /v1/events?after=N&most=N&follow=1
//                                       NDJSON, one event a line; follow keeps the connection open
//     POST /v1/reload                   answers when applied: {"outcome": "applied"|"refused"|"unchanged",
//                                       "complaints": [{"text": "…"}]}
//     POST /v1/step-down {"vhid": 51}   POST /v1/step-up {"vhid": 51}
//     GET  /v1/versions                 {"speaker": …, "worker": …, "scout": …, "installed": …,
//                                       "upgrade": {"number": N, "running": false, "failed": "", "from": …, "to": …}}
//     POST /v1/upgrade                  answers when it has begun; then ask for versions until the number has grown
//     GET  /metrics                     GET /healthz
//
// Errors: {"error": "sentence"} with 4xx or 5xx, and where a configuration is wrong "complaints": [{"text": "…"}].
#pragma once

#include <string>

#include "supervisor/base/file.h"

namespace koi::control {

inline std::string socket_path() { return runtime_directory() + "/koi.sock"; }

}  // namespace koi::control
