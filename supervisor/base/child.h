// supervisor/base/child.h
//
// Starts a program with what it is given and nothing else: its descriptors, its environment, no blocked or ignored
// signals. Watch its end with Loop::on_end().
//
// A program that cannot be started is an Error that names it. To know that, spawn() waits for the exec, but not for
// long, because the election must not wait for a slow disk; a failure that comes later is seen as exit status 127.
//
// Call it from the process's main thread: `when_parent_dies` is about the thread that called.
#pragma once

#include <chrono>
#include <csignal>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "supervisor/base/privileges.h"
#include "supervisor/base/result.h"

namespace koi {

struct Spawn {
    std::vector<std::string> command;                // [0] is looked up in PATH unless it has a '/'
    std::string argv0 = {};                          // what the program is told it is called; default: command[0]
    std::vector<std::pair<int, int>> keep_fds = {};  // ours → its number. 0, 1 and 2 are inherited unless named here
    std::map<std::string, std::string> environment = {};  // added to ours, or instead of ours
    // Not passed on: systemd listens to us, not to our children.
    std::vector<std::string> without = {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"};
    // What it has of ours (permitted, if not in effect): of the rest nothing passes the exec. A root that may still
    // gain privileges by exec gains those of the bounding set all the same.
    std::set<Capability> capabilities = {};
    // The signal it gets when we die, however we die; 0: none. A change of user, by setuid() or a set-uid program,
    // makes the kernel forget this; become_user() in privileges.h restores it. Even then it only arrives, as any
    // signal of ours, if the program runs as our user or we have CAP_KILL.
    int when_parent_dies = SIGTERM;
    std::chrono::milliseconds wait_for_exec = std::chrono::milliseconds(100);
};

// The pid of the started program.
Result<int> spawn(const Spawn&);

}  // namespace koi
