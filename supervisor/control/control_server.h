// supervisor/control/control_server.h
//
// HTTP on a Unix socket (libmicrohttpd with external polling, on our loop). It knows paths, methods and who is asking
// (peer credentials); what the answers say is the supervisor's business, given as handlers. Reads and writes are for
// root and members of group `koi`; anybody else gets 403 with a sentence. One request at a time per connection,
// bodies up to 16 MiB, 32 connections, idle ones are dropped after 60 s: nothing a client does may hold up the
// worker.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "supervisor/base/loop.h"
#include "supervisor/base/result.h"

namespace koi::control {

struct Request {
    std::string method, path;                  // "GET", "/v1/status"
    std::map<std::string, std::string> query;  // ?part=roles
    std::string body;
    unsigned uid = 0;
};
struct Answer {
    int status = 200;
    std::string type = "application/json";
    std::string body;
};
// Answers now; or later through `reply`, which may be called once at any time (from the loop), or never if the client
// went away.
using Reply = std::function<void(Answer)>;
using Handler = std::function<void(const Request&, Reply)>;

class ControlServer {
public:
    // Replaces a leftover socket file at `path`; mode 0660, group koi if that exists.
    static Result<std::unique_ptr<ControlServer>> open(Loop&, const std::string& path, Handler);
    ~ControlServer();

    // Sends one more line to every open GET /v1/events?follow=1 (chunked NDJSON).
    void publish(const std::string& line);

private:
    struct Inside;
    explicit ControlServer(std::unique_ptr<Inside>);
    std::unique_ptr<Inside> inside_;
};

}  // namespace koi::control
