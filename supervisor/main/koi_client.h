// supervisor/main/koi_client.h
//
// The operator's end of the control socket: HTTP through libcurl, blocking, one request at a time. Errors are whole
// sentences with a remedy; nobody_answers() tells the ones that mean that no koid is there.
#pragma once

#include <functional>
#include <string>

#include "supervisor/base/result.h"

namespace koi::control {

struct Heard {
    long status = 0;  // HTTP's
    std::string body;
};

class Client {
public:
    explicit Client(std::string socket) : socket_(std::move(socket)) {}

    // path: with its query, "/v1/status?part=roles". An answer that says no (4xx, 5xx) is an answer.
    Result<Heard> get(const std::string& path);
    Result<Heard> post(const std::string& path, const std::string& body);
    // Calls for every whole line as it arrives, until the other end closes or `line` returns false. An answer that
    // says no comes back as its body.
    using Line = std::function<bool(const std::string&)>;
    Result<Heard> follow(const std::string& path, const Line& line);

private:
    std::string socket_;
};

bool nobody_answers(const Error&);

// Text as it stands in a URL's query.
std::string in_query(const std::string&);

}  // namespace koi::control
