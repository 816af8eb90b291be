// What a client says on the control socket, to a real server whose handler asks for every word and quotes what it
// got. The first byte chooses: the rest is bytes of the wire as they are; or a line with a path and a query, and a
// body, which the harness makes a request of; or that with the body's last line repeated; or that in two pieces, with
// a client that may hang up between them.
//
// Laws: whole requests reach the handler once, as they were said, or are refused by number; an answer that says that
// it is JSON is; a member of a body is what a whole JSON parser finds there; the server lives.
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "supervisor/base/check.h"
#include "supervisor/base/fd.h"
#include "supervisor/control/control_server.h"
#include "supervisor/control/words.h"

namespace {

using namespace koi;
using namespace koi::control;
using nlohmann::json;

// By reference only: there may be thousands of brackets, and a copy goes as deep as they do.
template <class Value>
void check_member(const json& tree, const char* name, const std::optional<Value>& read, auto fits) {
    const auto there = tree.is_object() ? tree.find(name) : tree.end();
    const bool is_there = tree.is_object() && there != tree.end() && fits(*there);
    KOI_CHECK(read.has_value() == is_there);
    if (is_there) KOI_CHECK(there->template get<Value>() == *read);
}

void check_body(const std::string& body) {
    const auto tree = json::parse(body, nullptr, false);
    check_member(tree, "configuration", text_in(body, "configuration"), [](const json& j) { return j.is_string(); });
    check_member(tree, "vhid", number_in(body, "vhid"), [](const json& j) {
        return j.is_number_integer() && (!j.is_number_unsigned() || j.get<std::uint64_t>() <= INT64_MAX);
    });
}

class Server {
public:
    Server() {
        char name[] = "/tmp/koi-control-fuzz-XXXXXX";
        KOI_CHECK(::mkdtemp(name));
        folder_ = name;
        auto opened = ControlServer::open(loop_, path(), [this](const Request& request, const Reply& reply) {
            requests.push_back(request);
            if (request.path.starts_with("/later")) return waiting_.push_back(reply);
            reply(answer(request));
        });
        KOI_CHECK(opened);
        server_ = std::move(*opened);
    }
    ~Server() {
        server_.reset();
        std::filesystem::remove_all(folder_);
    }

    std::string path() const { return folder_ + "/koi.sock"; }
    // Until there is nothing more to do.
    void run() {
        int turns = 0;
        while (sd_event_run(loop_.raw(), 0) > 0) KOI_CHECK(++turns < 100'000);
    }
    void reply_to_all() {
        for (const auto& reply : std::exchange(waiting_, {})) reply(error(503, "later"));
        server_->publish("{\"event\": \"something\"}");
        run();
    }
    std::vector<Request> requests;

private:
    static Answer answer(const Request& request) {
        check_body(request.body);
        const auto configuration = text_in(request.body, "configuration");
        const auto vhid = number_in(request.body, "vhid");
        json query = json::object();
        for (const auto& [key, value] : request.query) query[word(request, key, "none")] = number(request, key, 7);
        return as_json({{"what", request.method + " " + request.path},
                        {"part", word(request, "part", "all")},
                        {"query", query},
                        {"configuration", configuration.value_or("none")},
                        {"vhid", vhid.value_or(0)}},
                       vhid == 404 ? 404 : 200);
    }

    Loop loop_ = std::move(*Loop::open());
    std::string folder_;
    std::unique_ptr<ControlServer> server_;
    std::vector<Reply> waiting_;
};

Server& server() {
    static Server one;
    return one;
}

class Client {
public:
    Client() : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
        sockaddr_un where{};
        where.sun_family = AF_UNIX;
        server().path().copy(where.sun_path, sizeof where.sun_path - 1);
        KOI_CHECK(::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&where), sizeof where) == 0);
    }
    // Nothing comes of it once the server has closed its end.
    void say(std::string_view bytes) {
        for (bool goes_on = true; goes_on;) {
            const auto n = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (n > 0) bytes.remove_prefix(static_cast<std::size_t>(n));
            server().run();
            goes_on = listen() || (n > 0 && !bytes.empty());
        }
    }
    void hang_up() {
        fd_.reset();
        server().run();
    }
    bool listen() {
        char chunk[65536];
        const auto n = ::recv(fd_.get(), chunk, sizeof chunk, 0);
        if (n > 0) heard_.append(chunk, static_cast<std::size_t>(n));
        return n > 0;
    }
    const std::string& heard() const { return heard_; }

private:
    Fd fd_;
    std::string heard_;
};

void check_answer(const std::string& heard) {
    KOI_CHECK(heard.empty() || heard.starts_with("HTTP/1."));
    const auto head = heard.find("\r\n\r\n");
    if (head == std::string::npos || heard.find("application/json") > head || heard.find("Content-Length: ") > head)
        return;
    const std::size_t length = std::strtoull(heard.c_str() + heard.find("Content-Length: ") + 16, nullptr, 10);
    KOI_CHECK(heard.size() >= head + 4 + length);
    KOI_CHECK(json::accept(heard.substr(head + 4, length)));
}

// The text up to the next line end, which is taken away with it.
std::string_view line(std::string_view& text) {
    const auto end = std::min(text.find('\n'), text.size());
    const auto taken = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    return taken;
}

struct Asked {
    std::string method, bytes, body;
};

Asked request(std::uint8_t chosen, std::string_view text) {
    Asked asked{.method = chosen & 4 ? "GET" : "POST", .bytes = {}, .body = {}};
    std::string target = "/";
    for (const char c : line(text)) {
        constexpr std::string_view digits = "0123456789ABCDEF";
        const auto byte = static_cast<unsigned char>(c);
        if (byte > ' ' && byte < 127 && c != '#')
            target += c;
        else
            target += {'%', digits[byte >> 4], digits[byte & 15]};
    }
    if ((chosen & 3) == 2) {
        asked.body = line(text);
        const std::size_t times = std::size_t{1} << (chosen >> 4);
        for (std::size_t i = 0; i < times && asked.body.size() < 100'000; ++i) asked.body += text;
    } else {
        asked.body = text;
    }
    asked.bytes = asked.method + " " + target + " HTTP/1.1\r\nHost: koi\r\n";
    if (chosen & 8) {
        char size[32];
        std::snprintf(size, sizeof size, "%zx\r\n", asked.body.size());
        asked.bytes += "Transfer-Encoding: chunked\r\n\r\n";
        if (!asked.body.empty()) asked.bytes += size + asked.body + "\r\n";
        asked.bytes += "0\r\n\r\n";
    } else {
        asked.bytes += "Content-Length: " + std::to_string(asked.body.size()) + "\r\n\r\n" + asked.body;
    }
    return asked;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const std::uint8_t chosen = data[0];
    const std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
    server().requests.clear();
    Client client;
    if ((chosen & 3) == 0) {
        client.say(text);
        server().reply_to_all();
        while (client.listen()) server().run();
        check_answer(client.heard());
        client.hang_up();
        return 0;
    }
    const auto asked = request(chosen, text);
    if ((chosen & 3) == 3) {
        const auto first = asked.bytes.size() * (chosen >> 5) / 8;
        client.say(asked.bytes.substr(0, first));
        if (chosen & 16) {
            client.hang_up();
            server().reply_to_all();
            return 0;
        }
        client.say(asked.bytes.substr(first));
    } else {
        client.say(asked.bytes);
    }
    const auto& requests = server().requests;
    KOI_CHECK(requests.size() <= 1);
    if (!requests.empty()) KOI_CHECK(requests[0].method == asked.method && requests[0].body == asked.body);
    server().reply_to_all();
    while (client.listen()) server().run();
    KOI_CHECK(!client.heard().empty());
    if (requests.empty())
        KOI_CHECK(client.heard().starts_with("HTTP/1.1 4") || client.heard().starts_with("HTTP/1.1 5"));
    check_answer(client.heard());
    client.hang_up();
    return 0;
}
