// supervisor/vip/rtnetlink.h
//
// A socket to rtnetlink, through libnl: requests with answers, and events. Knows how to talk, not what is said; that
// is kernel_addresses.cpp. Not seen outside this folder.
//
// Promises: no request waits longer than a second for a part of its answer; after a wait in vain the socket is opened
// anew, so that a late answer cannot be taken for the next one. An Error from the kernel carries its errno.
#pragma once

#include <netlink/msg.h>
#include <netlink/netlink.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "supervisor/base/result.h"

namespace koi::vip {

// One message being built: a type, a fixed header, attributes.
class Request {
public:
    template <class Header>
    Request(int type, int flags, const Header& header) : Request(type, flags, &header, sizeof header) {}

    Request& put(int attribute, std::span<const std::uint8_t>);
    Request& put8(int attribute, std::uint8_t);
    Request& put32(int attribute, std::uint32_t);
    Request& put_text(int attribute, const std::string&);
    // Puts 32 bits inside nests inside nests: nests from the outermost.
    Request& put32_in(std::span<const int> nests, int attribute, std::uint32_t);

    nl_msg* raw() const { return message_.get(); }

private:
    Request(int type, int flags, const void* header, std::size_t size);
    struct Free {
        void operator()(nl_msg* m) const noexcept { nlmsg_free(m); }
    };
    std::unique_ptr<nl_msg, Free> message_;
};

class Rtnetlink {
public:
    using Each = std::function<void(nlmsghdr*)>;

    static Result<Rtnetlink> for_requests();
    static Result<Rtnetlink> for_events(std::span<const int> groups);

    // Sends, gives every message of the answer to `each`, and waits for the end of it. EINTR: what was listed changed
    // meanwhile; ask again.
    Outcome ask(const Request&, const Each& each = {});

    // Gives every waiting event to `each`; false if the kernel had to drop some.
    bool hear(const Each& each);
    int fd() const { return nl_socket_get_fd(socket_.get()); }

private:
    struct Free {
        void operator()(nl_sock* s) const noexcept { nl_socket_free(s); }
    };
    using Socket = std::unique_ptr<nl_sock, Free>;
    explicit Rtnetlink(Socket socket) : socket_(std::move(socket)) {}
    static Result<Socket> connected();

    Socket socket_;
};

}  // namespace koi::vip
