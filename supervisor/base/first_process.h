// supervisor/base/first_process.h
//
// The first process of a container. The kernel treats process 1 unlike any other: signals without a handler do not
// reach it, not even those that abort() sends, and whatever loses its parent becomes its child and is a zombie until
// it waits for it. So koid does not speak as process 1: it forks, the child is the daemon as everywhere else, and the
// parent does these duties and nothing else.
//
//     const auto daemon = split_off_daemon();
//     if (daemon && *daemon == 0) return run_as_ever();
//     return watch_over(*daemon);
//
// Call it before anything was opened or blocked. Neither needs to be process 1; a test is a subreaper instead.
#pragma once

#include "supervisor/base/result.h"

namespace koi {

// In the parent the daemon's pid, in the daemon 0. From here on the parent receives no signal but in watch_over().
// The daemon has a process group of its own: what a terminal sends (Ctrl-C) reaches it once, through us.
Result<int> split_off_daemon();

// Hands every signal on to the daemon, reaps whatever ends, and returns when the daemon did: with its exit code, or
// 128 and the number of the signal that ended it.
int watch_over(int daemon);

}  // namespace koi
