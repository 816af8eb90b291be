#include "ipvs/kernel/kernel_datapath.h"

#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <poll.h>
#include <sys/socket.h>

#include <chrono>
#include <set>
#include <utility>

#include "ipvs/kernel/proc_table.h"
#include "ipvs/kernel/wire.h"
#include "ipvs/refusal.h"
#include "ipvs/second_try.h"
#include "supervisor/base/file.h"

namespace koi::ipvs {

namespace {

// A batch holds the kernel's generic-netlink lock, so it stays short. Even if every message of it failed, the answers
// (charged 768 bytes each) fit the receive buffer.
constexpr std::size_t most_messages = 256, most_bytes = 48 * 1024;
constexpr std::size_t weight_of_service_edit = 16;  // a change of scheduler waits for all CPUs inside the call
constexpr int buffer_bytes = 256 * 1024;
constexpr std::chrono::milliseconds patience{2000};

using SteadyClock = std::chrono::steady_clock;

struct FreeSocket {
    void operator()(nl_sock* s) const noexcept { nl_socket_free(s); }
};
using Socket = std::unique_ptr<nl_sock, FreeSocket>;

void set_option(int fd, int level, int option, int value) { setsockopt(fd, level, option, &value, sizeof value); }

// One netlink conversation at a time. After a failure the socket is thrown away, because an answer to the old
// question may still be in it; the next use opens a new one.
class Conversation {
public:
    Outcome open() {
        if (socket_) return Done{};
        Socket fresh(nl_socket_alloc());
        if (!fresh) return from_errno("allocating a netlink socket", ENOMEM);
        if (const int e = genl_connect(fresh.get()); e < 0)
            return Error{std::string("opening netlink: ") + nl_geterror(e), 0};
        const int fd = nl_socket_get_fd(fresh.get());
        const timeval limit{.tv_sec = 2, .tv_usec = 0};
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        const int number =
            genl_ctrl_resolve(fresh.get(), wire::family_name);  // loads the module where the kernel may
        if (number == -NLE_OBJ_NOTFOUND) return refusal(ENODEV);
        if (number < 0) return Error{std::string("finding IPVS in the kernel: ") + nl_geterror(number), 0};
        widen(fd);
        family_ = static_cast<std::uint16_t>(number);
        socket_ = std::move(fresh);
        return Done{};
    }
    void close() { socket_.reset(); }

    wire::Envelope envelope() { return {.family = family_, .sequence = ++sequence_}; }

    Outcome send(const wire::Bytes& bytes) {
        const sockaddr_nl kernel{.nl_family = AF_NETLINK, .nl_pad = 0, .nl_pid = 0, .nl_groups = 0};
        const auto sent =
            sendto(fd(), bytes.data(), bytes.size(), 0, reinterpret_cast<const sockaddr*>(&kernel), sizeof kernel);
        if (sent < 0) return lost(from_errno("sending to the kernel"));
        return Done{};
    }

    // Hands every reply to `hear` until that says it has heard enough. The time limit is for each wait.
    template <class Hear>
    Outcome listen(Hear hear) {
        while (true) {
            auto datagram = receive();
            if (!datagram) return lost(datagram.error());
            for (auto rest = *datagram; const auto reply = wire::next_reply(rest, family_);)
                if (hear(*reply)) return Done{};
        }
    }

private:
    int fd() const { return nl_socket_get_fd(socket_.get()); }

    static void widen(int fd) {
        for (const int option : {SO_RCVBUF, SO_SNDBUF, SO_RCVBUFFORCE, SO_SNDBUFFORCE})
            set_option(fd, SOL_SOCKET, option, buffer_bytes);
        set_option(fd, SOL_NETLINK, NETLINK_CAP_ACK, 1);  // an error does not bring the whole request back
        set_option(fd, SOL_NETLINK, NETLINK_EXT_ACK, 1);
    }

    // What is there is taken without asking poll first: the kernel answers within the call that asked.
    Result<wire::View> receive() {
        for (const auto deadline = SteadyClock::now() + patience;;) {
            sockaddr_nl from{};
            socklen_t length = sizeof from;
            const auto got = recvfrom(fd(), buffer_.data(), buffer_.size(), MSG_DONTWAIT | MSG_TRUNC,
                                      reinterpret_cast<sockaddr*>(&from), &length);
            if (got > static_cast<ssize_t>(buffer_.size()))
                return Error{"the kernel's answer is too long to read", EMSGSIZE};
            if (got >= 0 && from.nl_pid == 0) return wire::View(buffer_).first(static_cast<std::size_t>(got));
            if (got < 0 && errno == ENOBUFS) return refusal(ENOBUFS);
            if (got < 0 && errno != EINTR && errno != EAGAIN) return from_errno("hearing the kernel");
            if (auto more = wait_until(deadline); !more) return more.error();
        }
    }

    Outcome wait_until(SteadyClock::time_point deadline) {
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - SteadyClock::now());
        if (left.count() <= 0) return refusal(ETIMEDOUT);
        pollfd readable{.fd = fd(), .events = POLLIN, .revents = 0};
        if (poll(&readable, 1, static_cast<int>(left.count())) < 0 && errno != EINTR)
            return from_errno("waiting for the kernel");
        return Done{};
    }

    Error lost(Error why) {
        close();
        return why;
    }

    Socket socket_;
    std::uint16_t family_ = 0;
    std::uint32_t sequence_ = 0;
    wire::Bytes buffer_ = wire::Bytes(64 * 1024);
};

}  // namespace

struct KernelDatapath::Inside {
    Conversation kernel;
    ProcTable proc;

    // One dump. take: what to do with a row; false if it makes no sense. Tells how the kernel ended it.
    template <class Take>
    Outcome dump(const wire::Bytes& request, std::uint32_t sequence, Take take) {
        if (auto sent = kernel.send(request); !sent) return sent;
        int code = 0;
        bool understood = true;
        const auto heard = kernel.listen([&](const wire::Reply& reply) {
            if (reply.sequence != sequence) return false;
            if (reply.kind == wire::Reply::Kind::row) understood = take(reply.row) && understood;
            code = reply.code;
            return reply.kind == wire::Reply::Kind::end || reply.kind == wire::Reply::Kind::answer;
        });
        if (!heard) return heard;
        if (code) return refusal(code);
        if (!understood)
            return Error{"the kernel described an entry in a way this version of Koi does not understand", EPROTO};
        return Done{};
    }

    Result<std::vector<wire::ServiceRow>> services() {
        std::vector<wire::ServiceRow> rows;
        wire::Bytes request;
        const auto to = kernel.envelope();
        wire::append_list_services(request, to);
        const auto done = dump(request, to.sequence, [&rows](wire::View bytes) {
            auto row = wire::decode_service(bytes);
            if (row) rows.push_back(std::move(*row));
            return row.has_value();
        });
        if (!done) return done.error();
        return rows;
    }

    template <class Take>
    Outcome backends(const ServiceKey& key, Take take) {
        wire::Bytes request;
        const auto to = kernel.envelope();
        wire::append_list_backends(request, key, to);
        return dump(request, to.sequence, [&](wire::View bytes) {
            const auto row = wire::decode_backend(bytes, family(key));
            if (row) take(*row);
            return row.has_value();
        });
    }

    // Everything there is: service(row) makes the entry and tells whether it is new, backend(entry, row) likewise.
    // A dump goes by position, so an entry seen twice means that the table moved meanwhile.
    template <class Map, class MakeService, class MakeBackend>
    Result<Map> walk(MakeService make_service, MakeBackend make_backend) {
        Map map;
        for (int attempt = 0; attempt < 3; ++attempt) {
            if (auto ready = kernel.open(); !ready) return ready.error();
            map.clear();
            bool surprised = false;
            const auto rows = services();
            if (!rows) {
                if (rows.error().code != ENOENT) return rows.error();
                kernel.close();  // the module was loaded anew and has another number now
                continue;
            }
            for (const auto& row : *rows) {
                const auto [entry, is_new] = map.emplace(row.key, make_service(row));
                surprised = surprised || !is_new;
                const auto done = backends(row.key, [&, at = entry](const wire::BackendRow& backend) {
                    surprised = !at->second.backends.emplace(backend.key, make_backend(backend)).second || surprised;
                });
                if (!done) return done.error();
            }
            if (!surprised) return map;
        }
        return Error{"the table changed each time it was read; somebody else is writing it", EAGAIN};
    }

    // One send, and all its answers.
    Outcome carry_out(wire::Bytes& batch, std::size_t last_begins, std::uint32_t first, std::uint32_t count,
                      std::size_t at, std::vector<Failure>& failures) {
        wire::ask_for_answer(batch, last_begins);
        if (auto sent = kernel.send(batch); !sent) return sent;
        return kernel.listen([&](const wire::Reply& reply) {
            const std::uint32_t which = reply.sequence - first;
            if (reply.kind != wire::Reply::Kind::answer || which >= count) return false;
            if (reply.code) failures.push_back({at + which, reply.code});
            return which == count - 1;
        });
    }

    Result<std::vector<Failure>> attempt(const std::vector<Change>& changes) {
        std::vector<Failure> failures;
        wire::Bytes batch;
        for (std::size_t at = 0; at < changes.size();) {
            batch.clear();
            const std::size_t from = at;
            std::size_t begin = 0, weight = 0;
            std::uint32_t first = 0;
            while (at < changes.size() && weight < most_messages && batch.size() < most_bytes - 512) {
                const auto to = kernel.envelope();
                if (at == from) first = to.sequence;
                begin = wire::append(batch, changes[at], to);
                weight += std::holds_alternative<EditService>(changes[at]) ? weight_of_service_edit : 1;
                ++at;
            }
            const auto count = static_cast<std::uint32_t>(at - from);
            if (auto done = carry_out(batch, begin, first, count, from, failures); !done) return done.error();
        }
        return failures;
    }
};

KernelDatapath::KernelDatapath(std::unique_ptr<Inside> inside) : inside_(std::move(inside)) {}
KernelDatapath::~KernelDatapath() = default;

Result<std::unique_ptr<KernelDatapath>> KernelDatapath::open() {
    auto inside = std::make_unique<Inside>();
    if (auto ready = inside->kernel.open(); !ready) return ready.error();
    return std::unique_ptr<KernelDatapath>(new KernelDatapath(std::move(inside)));
}

Result<Table> KernelDatapath::read() {
    auto table = inside_->walk<Table>(
        [](const wire::ServiceRow& row) {
            return ServiceEntry{row.service, {}};
        },
        [](const wire::BackendRow& row) { return row.backend; });
    if (!table) return during("reading the virtual server table", table.error());
    return table;
}

Result<Counters> KernelDatapath::counters() {
    auto counters = inside_->walk<Counters>(
        [](const wire::ServiceRow& row) {
            return ServiceCounters{row.traffic, {}};
        },
        [](const wire::BackendRow& row) { return row.counters; });
    if (!counters) return during("reading the counters of the virtual servers", counters.error());
    return counters;
}

Result<std::vector<Refused>> KernelDatapath::change(const std::vector<Change>& changes) {
    if (auto ready = inside_->kernel.open(); !ready)
        return during("changing the virtual server table", ready.error());
    auto refused = with_second_try(changes, [this](const std::vector<Change>& c) { return inside_->attempt(c); });
    if (!refused) return during("changing the virtual server table", refused.error());
    return refused;
}

bool KernelDatapath::looks_like(const Table& table) {
    const auto text = read_whole("/proc/thread-self/net/ip_vs");
    return text && inside_->proc.shows(*text, table);
}

}  // namespace koi::ipvs
