#include "supervisor/control/control_server.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "supervisor/base/fd.h"
#include "supervisor/control/unix_socket.h"

namespace koi::control {
namespace {

constexpr auto patience = 20s;  // a bound for what should take milliseconds

Fd connect_to(const std::string& path) {
    Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_un where{};
    where.sun_family = AF_UNIX;
    path.copy(where.sun_path, sizeof where.sun_path - 1);
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&where), sizeof where) != 0) return {};
    return fd;
}

// Somebody who connects, says bytes and collects what comes back. Everything happens in one thread, step by step.
class Client {
public:
    explicit Client(const std::string& path) : fd_(connect_to(path)) {}
    Client& say(std::string_view bytes) {
        unsent_ += bytes;
        return *this;
    }
    Client& get(const std::string& what) { return say("GET " + what + " HTTP/1.1\r\nHost: koi\r\n\r\n"); }
    Client& post(const std::string& what, const std::string& body) {
        return say("POST " + what + " HTTP/1.1\r\nHost: koi\r\nContent-Length: " + std::to_string(body.size()) +
                   "\r\n\r\n" + body);
    }
    void step() {
        if (const auto n = ::send(fd_.get(), unsent_.data(), unsent_.size(), MSG_NOSIGNAL | MSG_DONTWAIT); n > 0)
            unsent_.erase(0, static_cast<std::size_t>(n));
        if (!reads_) return;
        char chunk[65536];
        const auto n = ::recv(fd_.get(), chunk, sizeof chunk, MSG_DONTWAIT);
        if (n > 0) heard_.append(chunk, static_cast<std::size_t>(n));
        if (n == 0 || (n < 0 && errno != EAGAIN)) closed_ = true;
    }
    void stop_reading() { reads_ = false; }
    void read_again() { reads_ = true; }
    void hang_up() { fd_.reset(); }
    bool connected() const { return static_cast<bool>(fd_); }
    bool closed() const { return closed_; }
    const std::string& heard() const { return heard_; }
    bool heard(std::string_view words) const { return heard_.find(words) != std::string::npos; }

private:
    Fd fd_;
    std::string unsent_, heard_;
    bool closed_ = false, reads_ = true;
};

class ControlServerTest : public testing::Test {
protected:
    void SetUp() override {
        char name[] = "/tmp/koi-control-XXXXXX";
        ASSERT_TRUE(::mkdtemp(name));
        folder_ = name;
        path_ = folder_ + "/koi.sock";
        open();
    }
    void TearDown() override {
        server_.reset();
        std::filesystem::remove_all(folder_);
    }
    void open() {
        auto server = ControlServer::open(loop_, path_, [this](const Request& request, Reply reply) {
            requests_.push_back(request);
            if (request.path == "/later")
                later_.push_back(std::move(reply));
            else
                reply({200, "text/plain", "you asked " + request.path + "\n"});
        });
        ASSERT_TRUE(server) << server.error().story;
        server_ = std::move(*server);
    }
    // Lets the loop run and the clients speak until it is true.
    bool until(const std::vector<Client*>& clients, const std::function<bool()>& is_true) {
        const auto end = std::chrono::steady_clock::now() + patience;
        while (!is_true()) {
            if (std::chrono::steady_clock::now() > end) return false;
            for (Client* client : clients) client->step();
            sd_event_run(loop_.raw(), 1000);
        }
        return true;
    }
    // A newcomer is answered: the server lives and is not held up.
    bool answers() {
        Client client(path_);
        client.get("/alive");
        return client.connected() && until({&client}, [&] { return client.heard("you asked /alive\n"); });
    }

    Loop loop_ = std::move(*Loop::open());
    std::string folder_, path_;
    std::vector<Request> requests_;
    std::vector<Reply> later_;
    std::unique_ptr<ControlServer> server_;
};

TEST_F(ControlServerTest, TellsTheHandlerWhatWasAsked) {
    Client client(path_);
    client.get("/v1/status?part=roles&format=a%20b&colour");
    ASSERT_TRUE(until({&client}, [&] { return client.heard("you asked /v1/status\n"); }));
    EXPECT_TRUE(client.heard("HTTP/1.1 200"));
    EXPECT_TRUE(client.heard("Content-Type: text/plain"));
    ASSERT_EQ(requests_.size(), 1u);
    EXPECT_EQ(requests_[0].method, "GET");
    EXPECT_EQ(requests_[0].query,
              (std::map<std::string, std::string>{{"part", "roles"}, {"format", "a b"}, {"colour", ""}}));
    EXPECT_EQ(requests_[0].uid, ::getuid());
}

TEST_F(ControlServerTest, TakesBodiesAndSeveralRequestsOnOneConnection) {
    Client client(path_);
    const std::string body(3'000'000, 'b');
    client.post("/one", body).post("/two", "{}");
    ASSERT_TRUE(until({&client}, [&] { return client.heard("you asked /two\n"); }));
    ASSERT_EQ(requests_.size(), 2u);
    EXPECT_EQ(requests_[0].body, body);
    EXPECT_EQ(requests_[1].body, "{}");
}

// ---- the file ----

TEST_F(ControlServerTest, TheFileIsForOwnerAndGroupAndGoesWithTheServer) {
    struct stat about;
    ASSERT_EQ(::stat(path_.c_str(), &about), 0);
    EXPECT_EQ(about.st_mode & 0777, 0660u);
    server_.reset();
    EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(ControlServerTest, ALeftoverFileIsReplaced) {
    server_.reset();
    {
        const Fd dead(::socket(AF_UNIX, SOCK_STREAM, 0));
        sockaddr_un where{};
        where.sun_family = AF_UNIX;
        path_.copy(where.sun_path, sizeof where.sun_path - 1);
        ASSERT_EQ(::bind(dead.get(), reinterpret_cast<const sockaddr*>(&where), sizeof where), 0);
    }
    ASSERT_TRUE(std::filesystem::exists(path_));
    open();
    EXPECT_TRUE(answers());
}

TEST_F(ControlServerTest, TheSocketOfALivingServerIsLeftAlone) {
    const auto second = ControlServer::open(loop_, path_, [](const Request&, const Reply&) {});
    ASSERT_FALSE(second);
    EXPECT_NE(second.error().story.find("another koid answers on " + path_), std::string::npos)
        << second.error().story;
    EXPECT_TRUE(answers());
}

TEST_F(ControlServerTest, AFileThatIsNoSocketIsLeftAlone) {
    const std::string other = folder_ + "/plain";
    std::ofstream(other) << "precious";
    const auto server = ControlServer::open(loop_, other, [](const Request&, const Reply&) {});
    ASSERT_FALSE(server);
    EXPECT_NE(server.error().story.find("is no socket"), std::string::npos) << server.error().story;
    EXPECT_EQ(std::filesystem::file_size(other), 8u);
}

TEST_F(ControlServerTest, APathThatCannotBeIsASentence) {
    for (const auto& path :
         {std::string(), folder_ + "/" + std::string(200, 'x'), folder_ + "/no/such/folder/koi.sock"}) {
        const auto server = ControlServer::open(loop_, path, [](const Request&, const Reply&) {});
        ASSERT_FALSE(server);
        EXPECT_TRUE(server.error().story.starts_with("opening the control socket: ")) << server.error().story;
    }
}

TEST_F(ControlServerTest, TheFileOfAnotherIsNotRemoved) {
    std::filesystem::remove(path_);
    std::ofstream(path_) << "somebody else's";
    server_.reset();
    EXPECT_TRUE(std::filesystem::exists(path_));
}

// ---- who is asking ----

TEST_F(ControlServerTest, AnUnprivilegedUserIsRefusedWithASentence) {
    if (::getuid() != 0) GTEST_SKIP() << "needs root to become somebody else";
    std::filesystem::permissions(folder_, std::filesystem::perms::all);
    std::filesystem::permissions(path_, std::filesystem::perms::all);  // else not even the connection is made
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    const Fd in(ends[0]);
    Fd out(ends[1]);
    const pid_t child = ::fork();
    if (child == 0) {
        // Only what is harmless after a fork.
        if (::setgid(65534) != 0 || ::setuid(65534) != 0) ::_exit(2);
        const Fd fd = connect_to(path_);
        constexpr std::string_view ask = "POST /v1/reload HTTP/1.1\r\nHost: koi\r\nContent-Length: 2\r\n\r\n{}";
        if (::send(fd.get(), ask.data(), ask.size(), 0) != std::ssize(ask)) ::_exit(3);
        pollfd ready{fd.get(), POLLIN, 0};
        ::poll(&ready, 1, 20000);
        char answer[4096];
        const auto n = ::recv(fd.get(), answer, sizeof answer, 0);
        ::_exit(n > 0 && ::write(ends[1], answer, static_cast<std::size_t>(n)) == n ? 0 : 4);
    }
    out.reset();
    int status = 0;
    ASSERT_TRUE(until({}, [&] { return ::waitpid(child, &status, WNOHANG) == child; }));
    ASSERT_EQ(status, 0);
    char text[4096];
    const std::string answer(text, static_cast<std::size_t>(::read(in.get(), text, sizeof text)));
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 403")) << answer;
    EXPECT_NE(answer.find("you are uid 65534"), std::string::npos) << answer;
    EXPECT_TRUE(requests_.empty());
}

TEST(MayAsk, RootTheGroupAndOurselves) {
    constexpr unsigned other = 4242;
    EXPECT_TRUE(may_ask({0, {0}}, std::nullopt));
    EXPECT_TRUE(may_ask({::geteuid(), {other}}, std::nullopt));
    EXPECT_FALSE(may_ask({other, {other, 7}}, std::nullopt));
    EXPECT_FALSE(may_ask({other, {other, 7}}, 8));
    EXPECT_TRUE(may_ask({other, {other, 8, 7}}, 8));
    EXPECT_TRUE(may_ask({other, {8}}, 8));
}

TEST(PeerOf, IsToldByTheKernelWithAllGroups) {
    int ends[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    const Fd one(ends[0]), two(ends[1]);
    const auto peer = peer_of(one.get());
    ASSERT_TRUE(peer);
    EXPECT_EQ(peer->uid, ::getuid());
    ASSERT_FALSE(peer->groups.empty());
    EXPECT_EQ(peer->groups.front(), ::getgid());
    EXPECT_EQ(std::ssize(peer->groups), ::getgroups(0, nullptr) + 1);
    EXPECT_FALSE(peer_of(-1));
}

// ---- bad manners ----

TEST_F(ControlServerTest, ASlowClientHoldsUpNobody) {
    Client slow(path_);
    slow.say("GET /v1/sta");
    Client slower(path_);
    slower.say("POST /v1/plan HTTP/1.1\r\nHost: koi\r\nContent-Length: 100\r\n\r\nonly a part");
    until({&slow, &slower}, [n = 0]() mutable { return ++n > 20; });
    EXPECT_TRUE(answers());
    slow.say("tus HTTP/1.1\r\nHost: koi\r\n\r\n");
    EXPECT_TRUE(until({&slow}, [&] { return slow.heard("you asked /v1/status\n"); }));
}

TEST_F(ControlServerTest, ABodyThatIsAnnouncedTooLargeIsRefusedUnread) {
    Client client(path_);
    client.say("POST /v1/plan HTTP/1.1\r\nHost: koi\r\nContent-Length: 99999999999\r\n\r\n");
    ASSERT_TRUE(until({&client}, [&] { return client.heard("16 MiB"); }));
    EXPECT_TRUE(client.heard("HTTP/1.1 413"));
    EXPECT_TRUE(requests_.empty());
    EXPECT_TRUE(answers());
}

TEST_F(ControlServerTest, ABodyThatGrowsTooLargeEndsTheConnection) {
    Client client(path_);
    client.say("POST /v1/plan HTTP/1.1\r\nHost: koi\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 18; ++i) client.say("100000\r\n" + std::string(1 << 20, 'x') + "\r\n");
    EXPECT_TRUE(until({&client}, [&] { return client.closed(); }));
    EXPECT_TRUE(requests_.empty());
    EXPECT_TRUE(answers());
}

TEST_F(ControlServerTest, GarbageIsNotHandedOn) {
    for (const std::string& garbage :
         {std::string("\0\1\2\3\r\n\r\n", 8), std::string("hello\r\n\r\n"), std::string(100'000, 'A'),
          std::string("GET / HTTP/9.9\r\n\r\n"),
          std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 15),
          std::string("POST / HTTP/1.1\r\nHost: koi\r\nContent-Length: -5\r\n\r\n"),
          std::string("POST / HTTP/1.1\r\nHost: koi\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")}) {
        Client client(path_);
        client.say(garbage);
        // It may be refused, closed, or waited for as a slow client's first bytes; nobody else notices.
        until({&client},
              [&, turns = 0]() mutable { return client.closed() || client.heard("HTTP/1.1 4") || ++turns > 200; });
        EXPECT_FALSE(client.heard("HTTP/1.1 2")) << garbage;
    }
    EXPECT_TRUE(requests_.empty());
    EXPECT_TRUE(answers());
}

// ---- later ----

TEST_F(ControlServerTest, AnAnswerMayComeLater) {
    Client patient(path_);
    patient.get("/later");
    ASSERT_TRUE(until({&patient}, [&] { return later_.size() == 1; }));
    EXPECT_TRUE(answers());
    EXPECT_EQ(patient.heard(), "");
    later_[0]({202, "text/plain", "at last\n"});
    later_[0]({500, "text/plain", "twice is once\n"});
    EXPECT_TRUE(until({&patient}, [&] { return patient.heard("at last\n"); }));
    EXPECT_TRUE(patient.heard("HTTP/1.1 202"));
    patient.get("/next");
    EXPECT_TRUE(until({&patient}, [&] { return patient.heard("you asked /next\n"); }));
    EXPECT_FALSE(patient.heard("twice"));
}

// More often than there are connections: one that is gone takes no place.
TEST_F(ControlServerTest, AClientThatGoesAwayBeforeTheAnswerLeavesNothingBehind) {
    for (std::size_t i = 1; i <= 80; ++i) {
        Client impatient(path_);
        impatient.get("/later");
        ASSERT_TRUE(until({&impatient}, [&] { return later_.size() == i; })) << i;
        if (i % 2 == 0) later_.back()({200, "text/plain", std::string(1 << 20, 'x')});
        impatient.hang_up();
    }
    EXPECT_TRUE(answers());
    for (const auto& reply : later_) reply({200, "text/plain", "nobody hears this\n"});
    EXPECT_TRUE(answers());
}

TEST_F(ControlServerTest, TheServerMayGoWhileClientsWait) {
    Client waits(path_), follows(path_);
    waits.get("/later");
    follows.get("/v1/events?follow=1");
    ASSERT_TRUE(until({&waits, &follows}, [&] { return later_.size() == 1 && follows.heard("you asked"); }));
    server_.reset();
    later_[0]({200, "text/plain", "too late\n"});
    EXPECT_TRUE(until({&waits, &follows}, [&] { return waits.closed() && follows.closed(); }));
}

// ---- followers ----

TEST_F(ControlServerTest, FollowersHearTheFirstLinesAndThenWhatIsPublished) {
    Client one(path_), two(path_), once(path_);
    one.get("/v1/events?after=0&follow=1");
    two.get("/v1/events?follow=1");
    once.get("/v1/events?after=0");
    ASSERT_TRUE(until({&one, &two, &once},
                      [&] { return one.heard("you asked") && two.heard("you asked") && once.heard("you asked"); }));
    server_->publish("{\"number\":1}");
    server_->publish("{\"number\":2}\n");
    ASSERT_TRUE(until({&one, &two}, [&] { return one.heard("{\"number\":2}\n") && two.heard("{\"number\":2}\n"); }));
    EXPECT_TRUE(one.heard("{\"number\":1}\n"));
    EXPECT_FALSE(one.heard("}\n\n"));
    server_->publish("{\"number\":3}");
    EXPECT_TRUE(until({&one, &two}, [&] { return one.heard("{\"number\":3}\n") && two.heard("{\"number\":3}\n"); }));
    EXPECT_FALSE(once.heard("number"));
}

TEST_F(ControlServerTest, FollowersThatGoAwayTakeNoPlace) {
    for (int i = 0; i < 80; ++i) {
        Client follower(path_);
        follower.get("/v1/events?follow=1");
        ASSERT_TRUE(until({&follower}, [&] { return follower.heard("you asked"); })) << i << follower.heard();
        if (i % 2 == 0) server_->publish("{}");
        follower.hang_up();
    }
    EXPECT_TRUE(answers());
}

TEST_F(ControlServerTest, FollowersLeaveRoomForOthers) {
    std::vector<std::unique_ptr<Client>> crowd;
    std::vector<Client*> all;
    for (int i = 0; i < 20; ++i) {
        all.push_back(crowd.emplace_back(std::make_unique<Client>(path_)).get());
        all.back()->get("/v1/events?follow=1");
        ASSERT_TRUE(until(all, [&] { return !all.back()->heard().empty(); }));
    }
    EXPECT_EQ(std::ranges::count_if(all, [](Client* c) { return c->heard("HTTP/1.1 200"); }), 16);
    EXPECT_EQ(std::ranges::count_if(all, [](Client* c) { return c->heard("HTTP/1.1 503"); }), 4);
    EXPECT_TRUE(answers());
}

TEST_F(ControlServerTest, AFollowerThatDoesNotReadIsLetGoOf) {
    Client deaf(path_), attentive(path_);
    deaf.get("/v1/events?follow=1");
    attentive.get("/v1/events?follow=1");
    ASSERT_TRUE(until({&deaf, &attentive}, [&] { return deaf.heard("you asked") && attentive.heard("you asked"); }));
    deaf.stop_reading();
    const std::string line(1000, 'e');
    for (int i = 0; i < 10'000; ++i) {
        server_->publish(line);
        if (i % 100 != 0) continue;
        const auto sent = static_cast<std::size_t>(i) * line.size();
        ASSERT_TRUE(until({&attentive}, [&] { return attentive.heard().size() > sent; }));
    }
    server_->publish("the end");
    EXPECT_TRUE(until({&attentive}, [&] { return attentive.heard("the end\n"); }));
    EXPECT_TRUE(answers());
    deaf.read_again();
    EXPECT_TRUE(until({&deaf}, [&] { return deaf.closed(); }));
    EXPECT_FALSE(deaf.heard("the end"));
}

}  // namespace
}  // namespace koi::control
