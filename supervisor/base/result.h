// supervisor/base/result.h
//
// A value, or the story of why there is none. Result borrows the names of std::expected, so that the day Koi compiles
// as C++23 it can become one. Each layer that passes an Error up adds what it was doing, with during().
//
//     auto socket = netlink::open(NETLINK_GENERIC);
//     if (!socket) return during("reading the virtual server table", socket.error());
#pragma once

#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace koi {

struct Error {
    std::string story;  // a sentence without a full stop, for an operator
    int code = 0;       // errno where there was one, else 0
};

inline Error during(std::string_view deed, Error cause) {
    cause.story.insert(0, std::string(deed) + ": ");
    return cause;
}

// The last system call's failure, told as "deed: reason".
inline Error from_errno(std::string_view deed, int code = errno) {
    return {std::string(deed) + ": " + std::strerror(code), code};
}

struct Done {};

template <class T = Done>
class [[nodiscard]] Result {
public:
    Result(T value) : held_(std::in_place_index<0>, std::move(value)) {}
    Result(Error error) : held_(std::in_place_index<1>, std::move(error)) {}

    bool has_value() const { return held_.index() == 0; }
    explicit operator bool() const { return has_value(); }

    T& value() & { return std::get<0>(held_); }
    const T& value() const& { return std::get<0>(held_); }
    T&& value() && { return std::get<0>(std::move(held_)); }
    T& operator*() & { return value(); }
    const T& operator*() const& { return value(); }
    T&& operator*() && { return std::move(*this).value(); }
    T* operator->() { return &value(); }
    const T* operator->() const { return &value(); }

    const Error& error() const { return std::get<1>(held_); }

private:
    std::variant<T, Error> held_;
};

using Outcome = Result<Done>;

}  // namespace koi
