// discovery/source.h — the face of everything that knows a pool's members.
#pragma once

#include <functional>
#include <string>
#include <variant>

#include "discovery/pool.h"

namespace koi::discovery {

// A whole snapshot, or the story of why there is none. A failure is never an empty list.
using Answer = std::variant<Snapshot, std::string>;
using Tell = std::function<void(const Answer&)>;

// Tells its first answer soon after it is made, and every answer that differs from the one before.
class Source {
public:
    virtual ~Source() = default;
    virtual void look() = 0;        // see whether there is news; called every few seconds
    virtual void tell_again() = 0;  // for a listener who may have missed it
};

}  // namespace koi::discovery
