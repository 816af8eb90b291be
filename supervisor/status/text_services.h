// supervisor/status/text_services.h
//
// Services and their backends as a table for a terminal. Pure.
#pragma once

#include <vector>

#include "supervisor/status/layout.h"
#include "supervisor/status/status.h"

namespace koi::status {

// no: of a service with very many backends only some are shown, the unusual ones first, and how many are left out.
enum class EveryBackend { no, yes };
Table services_table(const std::vector<ServiceStatus>&, EveryBackend);

}  // namespace koi::status
