#include "supervisor/vip/rtnetlink.h"

#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/errno.h>
#include <netlink/handlers.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "supervisor/base/check.h"

namespace koi::vip {

namespace {

constexpr timeval patience{1, 0};
constexpr int event_queue = 1 << 20;  // bytes, as the kernel counts them; nothing is taken until it is needed
constexpr int most_events = 1024;     // in one turn, so that a storm of routes cannot hold up a timer

struct Answer {
    const Rtnetlink::Each* each;
    int error = 0;
    bool complete = false;
};

// The C border.
int on_message(nl_msg* message, void* answer) noexcept {
    const auto& each = *static_cast<Answer*>(answer)->each;
    if (each) each(nlmsg_hdr(message));
    return NL_OK;
}
int on_end(nl_msg*, void* answer) noexcept {
    static_cast<Answer*>(answer)->complete = true;
    return NL_STOP;
}
// libnl's own error numbers make one of several errnos, so the kernel's is read here.
int on_error(sockaddr_nl*, nlmsgerr* refusal, void* answer) noexcept {
    static_cast<Answer*>(answer)->error = -refusal->error;
    static_cast<Answer*>(answer)->complete = true;
    return NL_STOP;
}

// Events answer nothing, so their numbers say nothing.
int any_number(nl_msg*, void*) noexcept { return NL_OK; }

struct FreeCallbacks {
    void operator()(nl_cb* c) const noexcept { nl_cb_put(c); }
};
using Callbacks = std::unique_ptr<nl_cb, FreeCallbacks>;

Callbacks callbacks(Answer& answer) {
    Callbacks calls(nl_cb_alloc(NL_CB_DEFAULT));
    KOI_CHECK(calls);
    nl_cb_set(calls.get(), NL_CB_VALID, NL_CB_CUSTOM, on_message, &answer);
    nl_cb_set(calls.get(), NL_CB_FINISH, NL_CB_CUSTOM, on_end, &answer);
    nl_cb_set(calls.get(), NL_CB_ACK, NL_CB_CUSTOM, on_end, &answer);
    nl_cb_err(calls.get(), NL_CB_CUSTOM, on_error, &answer);
    return calls;
}

Error said(std::string_view deed, int libnl_error) {
    return {std::string(deed) + ": " + nl_geterror(libnl_error), 0};
}

}  // namespace

// Building fails only if memory is gone: a message has a page, and an address needs a hundred bytes of it.
Request::Request(int type, int flags, const void* header, std::size_t size)
    : message_(nlmsg_alloc_simple(type, flags)) {
    KOI_CHECK(message_ && nlmsg_append(raw(), const_cast<void*>(header), size, NLMSG_ALIGNTO) == 0);
}

Request& Request::put(int attribute, std::span<const std::uint8_t> some) {
    KOI_CHECK(nla_put(raw(), attribute, static_cast<int>(some.size()), some.data()) == 0);
    return *this;
}

Request& Request::put8(int attribute, std::uint8_t n) { return put(attribute, {&n, 1}); }

Request& Request::put32(int attribute, std::uint32_t n) {
    KOI_CHECK(nla_put_u32(raw(), attribute, n) == 0);
    return *this;
}

Request& Request::put_text(int attribute, const std::string& text) {
    KOI_CHECK(nla_put_string(raw(), attribute, text.c_str()) == 0);
    return *this;
}

Request& Request::put32_in(std::span<const int> nests, int attribute, std::uint32_t n) {
    if (nests.empty()) return put32(attribute, n);
    nlattr* nest = nla_nest_start(raw(), nests.front());
    KOI_CHECK(nest);
    put32_in(nests.subspan(1), attribute, n);
    nla_nest_end(raw(), nest);
    return *this;
}

Result<Rtnetlink::Socket> Rtnetlink::connected() {
    Socket socket(nl_socket_alloc());
    if (!socket) return Error{"opening rtnetlink: out of memory", ENOMEM};
    if (const int e = nl_connect(socket.get(), NETLINK_ROUTE); e < 0) return said("opening rtnetlink", e);
    return socket;
}

Result<Rtnetlink> Rtnetlink::for_requests() {
    auto socket = connected();
    if (!socket) return socket.error();
    if (::setsockopt(nl_socket_get_fd(socket->get()), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0)
        return from_errno("limiting the wait for rtnetlink");
    return Rtnetlink(std::move(*socket));
}

Result<Rtnetlink> Rtnetlink::for_events(std::span<const int> groups) {
    auto socket = connected();
    if (!socket) return socket.error();
    for (const int group : groups)
        if (const int e = nl_socket_add_memberships(socket->get(), group, 0); e < 0)
            return said("listening to rtnetlink", e);
    // The usual queue holds some eighty events, too few for a hundred vips. Without privilege it stays as it is.
    (void)::setsockopt(nl_socket_get_fd(socket->get()), SOL_SOCKET, SO_RCVBUFFORCE, &event_queue, sizeof event_queue);
    if (const int e = nl_socket_set_nonblocking(socket->get()); e < 0) return said("listening to rtnetlink", e);
    return Rtnetlink(std::move(*socket));
}

Outcome Rtnetlink::ask(const Request& request, const Each& each) {
    Answer answer{&each};
    const auto calls = callbacks(answer);
    int result = nl_send_auto(socket_.get(), request.raw());
    while (result >= 0 && !answer.complete) result = nl_recvmsgs(socket_.get(), calls.get());

    if (answer.complete && answer.error != 0) return Error{std::strerror(answer.error), answer.error};
    if (result == -NLE_DUMP_INTR) return Error{"it changed while it was read", EINTR};
    if (answer.complete) return Done{};
    auto again = for_requests();
    if (again) socket_ = std::move(again->socket_);
    if (result == -NLE_AGAIN) return Error{"the kernel did not answer within a second", ETIMEDOUT};
    return said("talking to rtnetlink", result);
}

bool Rtnetlink::hear(const Each& each) {
    Answer answer{&each};
    const auto calls = callbacks(answer);
    nl_cb_set(calls.get(), NL_CB_SEQ_CHECK, NL_CB_CUSTOM, any_number, nullptr);
    bool complete = true;
    for (int n = 0; n < most_events; ++n) {
        const int result = nl_recvmsgs(socket_.get(), calls.get());
        if (result == -NLE_AGAIN) break;
        if (result < 0) complete = false;  // ENOBUFS, which libnl calls NLE_NOMEM, or a message that makes no sense
    }
    return complete;
}

}  // namespace koi::vip
