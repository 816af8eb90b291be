#include "supervisor/control/control_server.h"

#include <microhttpd.h>
#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "supervisor/base/check.h"
#include "supervisor/control/sent_files.h"
#include "supervisor/control/unix_socket.h"
#include "supervisor/control/words.h"

namespace koi::control {

namespace {

constexpr unsigned most_connections = 32;
constexpr unsigned idle_seconds = 60;
constexpr std::size_t most_followers = 16;         // the other half is for everybody else
constexpr std::size_t longest_backlog = 4u << 20;  // a follower that is further behind than this is let go of

struct DestroyResponse {
    void operator()(MHD_Response* r) const noexcept { MHD_destroy_response(r); }
};
using Response = std::unique_ptr<MHD_Response, DestroyResponse>;

MHD_Result queue(MHD_Connection* connection, const Answer& answer, Response response) {
    if (!response) return MHD_NO;
    MHD_add_response_header(response.get(), MHD_HTTP_HEADER_CONTENT_TYPE, answer.type.c_str());
    return MHD_queue_response(connection, static_cast<unsigned>(answer.status), response.get());
}

// One request and what becomes of it. MHD holds a plain pointer to it; whoever answers later holds a weak one.
struct Exchange {
    MHD_Connection* connection = nullptr;
    Request request;
    std::optional<Answer> answer;
    bool handed_over = false;  // the handler has it
    bool suspended = false;
    bool gone = false;  // the client hung up
    Watch hang_up;      // MHD does not look at a suspended connection, so we do

    // GET /v1/events?follow=1, once it is answered:
    bool follows = false;
    std::string backlog;  // what was published and not sent yet
};

bool wants_to_follow(const Request& request) {
    const auto follow = request.query.find("follow");
    return request.method == "GET" && request.path == "/v1/events" && follow != request.query.end() &&
           follow->second != "0";
}

std::size_t announced_length(MHD_Connection* connection) {
    const char* text = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
    return text ? std::strtoull(text, nullptr, 10) : 0;
}

}  // namespace

struct ControlServer::Inside {
    Inside(Loop& the_loop, std::string path, Handler the_handler)
        : loop(the_loop), socket_path(std::move(path)), handler(std::move(the_handler)) {}
    ~Inside();

    Outcome listen();
    void run();
    void publish(const std::string& line);

    // The C border.
    static MHD_Result on_request(void*, MHD_Connection*, const char*, const char*, const char*, const char*,
                                 std::size_t*, void**) noexcept;
    static void on_completed(void*, MHD_Connection*, void**, MHD_RequestTerminationCode) noexcept;
    static ssize_t on_read(void*, std::uint64_t, char*, std::size_t) noexcept;

    MHD_Result begin(MHD_Connection*, const char* url, const char* method, void** kept);
    MHD_Result take_body(Exchange&, const char* data, std::size_t& size);
    MHD_Result hand_over(Exchange&);
    MHD_Result send_answer(Exchange&);
    MHD_Result send_stream(Exchange&);
    void suspend(Exchange&);
    void resume(Exchange&);

    Loop& loop;
    std::string socket_path;
    Handler handler;
    std::optional<gid_t> group;
    SocketFile file;
    MHD_Daemon* daemon = nullptr;
    std::map<Exchange*, std::shared_ptr<Exchange>> exchanges;
    Watch io, timer;
};

ControlServer::Inside::~Inside() {
    for (const auto& [plain, exchange] : exchanges) resume(*exchange);  // MHD stops no daemon that has suspended ones
    io.reset();
    if (daemon) MHD_stop_daemon(daemon);
}

Outcome ControlServer::Inside::listen() {
    group = group_id("koi");
    auto opened = SocketFile::listen(socket_path, group);
    if (!opened) return opened.error();
    file = std::move(*opened);

    std::array<MHD_OptionItem, 5> options = {{
        {MHD_OPTION_LISTEN_SOCKET, file.fd(), nullptr},
        {MHD_OPTION_CONNECTION_LIMIT, most_connections, nullptr},
        {MHD_OPTION_CONNECTION_TIMEOUT, idle_seconds, nullptr},
        {MHD_OPTION_NOTIFY_COMPLETED, reinterpret_cast<std::intptr_t>(&Inside::on_completed), this},
        {MHD_OPTION_END, 0, nullptr},
    }};
    daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, nullptr, nullptr, &Inside::on_request,
                              this, MHD_OPTION_ARRAY, options.data(), MHD_OPTION_END);
    if (!daemon)
        return Error{"starting the HTTP server on " + socket_path + " failed (libmicrohttpd does not say why)"};
    file.keep_open_by_another();

    const auto* epoll = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_EPOLL_FD);
    KOI_CHECK(epoll);
    io = loop.on_io(epoll->epoll_fd, EPOLLIN, Priority::idle, "control", [this](std::uint32_t) { run(); });
    timer = loop.at(Instant::max(), Priority::idle, "control timeout", [this] { run(); });
    return Done{};
}

void ControlServer::Inside::run() {
    MHD_run(daemon);
    MHD_UNSIGNED_LONG_LONG ms = 0;
    const bool waits = MHD_get_timeout(daemon, &ms) == MHD_YES;
    Loop::move(timer, waits ? loop.now() + std::chrono::milliseconds(ms) : Instant::max());
}

void ControlServer::Inside::publish(const std::string& line) {
    for (const auto& [plain, exchange] : exchanges) {
        if (!exchange->follows || exchange->gone) continue;
        if (exchange->backlog.size() > longest_backlog) {
            exchange->gone = true;
            exchange->backlog = {};
            continue;
        }
        exchange->backlog += line;
        if (!line.ends_with('\n')) exchange->backlog += '\n';
        resume(*exchange);
    }
}

// ---- a request, step by step ----

MHD_Result ControlServer::Inside::on_request(void* self, MHD_Connection* connection, const char* url,
                                             const char* method, const char*, const char* data, std::size_t* size,
                                             void** kept) noexcept {
    auto& server = *static_cast<Inside*>(self);
    if (!*kept) return server.begin(connection, url, method, kept);
    auto& exchange = *static_cast<Exchange*>(*kept);
    if (exchange.gone) return MHD_NO;
    if (*size > 0) return server.take_body(exchange, data, *size);
    if (!exchange.handed_over) return server.hand_over(exchange);
    return exchange.answer ? server.send_answer(exchange) : MHD_NO;
}

// The headers are there. Who may not ask, or wants to say too much, is told so before the body is read.
MHD_Result ControlServer::Inside::begin(MHD_Connection* connection, const char* url, const char* method,
                                        void** kept) {
    auto exchange = std::make_shared<Exchange>();
    exchange->connection = connection;
    exchange->request.method = method;
    exchange->request.path = url;
    *kept = exchange.get();
    exchanges.emplace(exchange.get(), exchange);

    const auto* fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    const auto peer = fd ? peer_of(fd->connect_fd) : std::nullopt;
    if (!peer || !may_ask(*peer, group)) {
        exchange->handed_over = true;
        exchange->answer =
            error(403, "this socket answers root and members of the group koi; you are uid " +
                           (peer ? std::to_string(peer->uid) : "unknown") + "; use sudo, or run: adduser USER koi");
        return send_answer(*exchange);
    }
    exchange->request.uid = peer->uid;
    if (announced_length(connection) > largest_body) {
        exchange->handed_over = true;
        exchange->answer = error(413, "a request's body may have 16 MiB at most");
        return send_answer(*exchange);
    }
    const auto collect = [](void* query, MHD_ValueKind, const char* key, const char* value) noexcept {
        static_cast<std::map<std::string, std::string>*>(query)->insert_or_assign(key, value ? value : "");
        return MHD_YES;
    };
    MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, collect, &exchange->request.query);
    return MHD_YES;
}

MHD_Result ControlServer::Inside::take_body(Exchange& exchange, const char* data, std::size_t& size) {
    // A chunked body announces no length; one that grows too long ends the connection.
    if (!exchange.handed_over) exchange.request.body.append(data, size);
    size = 0;
    return exchange.request.body.size() > largest_body ? MHD_NO : MHD_YES;
}

MHD_Result ControlServer::Inside::hand_over(Exchange& exchange) {
    exchange.handed_over = true;
    handler(exchange.request, [this, weak = std::weak_ptr(exchanges.at(&exchange))](Answer answer) {
        const auto waiting = weak.lock();
        if (!waiting || waiting->answer) return;
        waiting->answer = std::move(answer);
        // From here on the client misses nothing that is published, even if its first lines are still on their way.
        waiting->follows = wants_to_follow(waiting->request) && waiting->answer->status == 200;
        resume(*waiting);
    });
    if (exchange.answer) return send_answer(exchange);
    suspend(exchange);
    return MHD_YES;
}

void ControlServer::Inside::suspend(Exchange& exchange) {
    exchange.suspended = true;
    MHD_suspend_connection(exchange.connection);
    const auto* fd = MHD_get_connection_info(exchange.connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    KOI_CHECK(fd);
    // No events: EPOLLHUP is always told, and a client that only closed its sending half still waits for its answer.
    exchange.hang_up =
        loop.on_io(fd->connect_fd, 0, Priority::idle, "control client", [this, &exchange](std::uint32_t) {
            exchange.gone = true;
            resume(exchange);
        });
}

void ControlServer::Inside::resume(Exchange& exchange) {
    exchange.hang_up.reset();
    if (!std::exchange(exchange.suspended, false)) return;
    MHD_resume_connection(exchange.connection);
    Loop::move(timer, loop.now());  // MHD takes it up at its next run
}

MHD_Result ControlServer::Inside::send_answer(Exchange& exchange) {
    if (exchange.follows) return send_stream(exchange);
    std::string& body = exchange.answer->body;
    Response response(MHD_create_response_from_buffer(body.size(), body.data(), MHD_RESPMEM_MUST_COPY));
    return queue(exchange.connection, *exchange.answer, std::move(response));
}

MHD_Result ControlServer::Inside::send_stream(Exchange& exchange) {
    const auto followers = std::ranges::count_if(exchanges, [](const auto& e) { return e.second->follows; });
    if (static_cast<std::size_t>(followers) > most_followers) {
        exchange.follows = false;
        exchange.answer = error(503, "too many follow the events already; ask without follow");
        return send_answer(exchange);
    }
    exchange.backlog.insert(0, exchange.answer->body);
    exchange.answer->body.clear();
    Response response(MHD_create_response_from_callback(
        MHD_SIZE_UNKNOWN, 16384, &Inside::on_read, new std::pair(this, &exchange),
        [](void* both) noexcept { delete static_cast<std::pair<Inside*, Exchange*>*>(both); }));
    return queue(exchange.connection, *exchange.answer, std::move(response));
}

// A follower can take more. Nothing there: its connection sleeps until something is published.
ssize_t ControlServer::Inside::on_read(void* both, std::uint64_t, char* out, std::size_t room) noexcept {
    const auto& [server, exchange] = *static_cast<std::pair<Inside*, Exchange*>*>(both);
    if (exchange->gone) return MHD_CONTENT_READER_END_WITH_ERROR;
    const std::size_t n = std::min(room, exchange->backlog.size());
    if (n == 0) {
        server->suspend(*exchange);
        return 0;
    }
    std::memcpy(out, exchange->backlog.data(), n);
    exchange->backlog.erase(0, n);
    return static_cast<ssize_t>(n);
}

void ControlServer::Inside::on_completed(void* self, MHD_Connection*, void** kept,
                                         MHD_RequestTerminationCode) noexcept {
    static_cast<Inside*>(self)->exchanges.erase(static_cast<Exchange*>(*kept));
    *kept = nullptr;
}

// ---- the face ----

Result<std::unique_ptr<ControlServer>> ControlServer::open(Loop& loop, const std::string& path, Handler handler) {
    auto inside = std::make_unique<Inside>(loop, path, std::move(handler));
    if (auto listening = inside->listen(); !listening) return during("opening the control socket", listening.error());
    return std::unique_ptr<ControlServer>(new ControlServer(std::move(inside)));
}

ControlServer::ControlServer(std::unique_ptr<Inside> inside) : inside_(std::move(inside)) {}
ControlServer::~ControlServer() = default;

void ControlServer::publish(const std::string& line) { inside_->publish(line); }

}  // namespace koi::control
