// The scout as its worker sees it: a process at the other end of a channel.
#include "discovery/scout.h"

#include <sys/wait.h>

#include <optional>
#include <thread>

#include "discovery/messages.h"
#include "supervisor/base/channel.h"
#include "tests/unit/discovery/temporary_directory.h"

namespace koi::discovery {
namespace {

struct ScoutTest : testing::Test {
    void SetUp() override {
        auto pair = Channel::pair();
        ASSERT_TRUE(pair);
        channel.emplace(std::move(pair->first));
        pid = ::fork();
        ASSERT_GE(pid, 0);
        if (pid == 0) {
            channel.reset();
            ::_exit(scout_main(pair->second.get()));
        }
    }
    void TearDown() override { EXPECT_EQ(ends(), 0); }

    int ends() {
        if (pid == 0) return 0;
        channel.reset();
        int status = -1;
        ::waitpid(pid, &status, 0);
        pid = 0;
        return status;
    }

    void watch(const std::vector<PoolSettings>& pools) { ASSERT_TRUE(channel->send(encode(WatchPools{pools}))); }

    // The next message of this kind; heartbeats and others pass by. The bound means "never".
    template <class Kind>
    std::optional<Kind> next() {
        const auto end = std::chrono::steady_clock::now() + 20s;
        while (std::chrono::steady_clock::now() < end && !channel->closed()) {
            channel->flush();
            for (const auto& bytes : channel->receive(1)) {
                const auto message = decode(bytes);
                EXPECT_TRUE(message);
                if (message && std::holds_alternative<Kind>(*message)) return std::get<Kind>(*message);
            }
            std::this_thread::sleep_for(1ms);
        }
        return std::nullopt;
    }

    std::string line_of_status(const std::string& key) const {
        std::ifstream in("/proc/" + std::to_string(pid) + "/status");
        for (std::string line; std::getline(in, line);)
            if (line.starts_with(key)) return line.substr(key.size() + 1);
        return "";
    }

    TemporaryDirectory dir;
    std::optional<Channel> channel;
    pid_t pid = 0;
};

PoolSettings file_pool(const std::string& path) {
    return {.name = "web", .source = FileSource{.path = path}, .port = {}};
}
PoolSettings static_pool() {
    return {.name = "fixed", .source = StaticSource{{{*IpAddress::parse("10.0.0.9"), {}, {}}}}, .port = Port::of(80)};
}

TEST_F(ScoutTest, TellsWhatItsSourcesSay) {
    write(dir / "web", "10.0.0.1:80\n");
    watch({file_pool(dir / "web"), static_pool()});
    const auto first = next<PoolSnapshot>(), second = next<PoolSnapshot>();
    ASSERT_TRUE(first && second);
    EXPECT_EQ(first->pool, "web");
    EXPECT_EQ(first->members, (Snapshot{{*Endpoint::parse("10.0.0.1:80"), *Weight::of(1)}}));
    EXPECT_EQ(second->pool, "fixed");
    EXPECT_EQ(second->members, (Snapshot{{*Endpoint::parse("10.0.0.9:80"), *Weight::of(1)}}));

    write(dir / "web", "10.0.0.2:80 7\n");
    const auto changed = next<PoolSnapshot>();
    ASSERT_TRUE(changed);
    EXPECT_EQ(changed->members, (Snapshot{{*Endpoint::parse("10.0.0.2:80"), *Weight::of(7)}}));

    std::filesystem::remove(dir / "web");
    const auto failed = next<SourceFailed>();
    ASSERT_TRUE(failed);
    EXPECT_EQ(failed->story, "there is no " + (dir / "web"));
}

TEST_F(ScoutTest, TellsEverythingAgainWhenItIsToldAgainWhatToWatch) {
    watch({static_pool()});
    ASSERT_TRUE(next<PoolSnapshot>());
    watch({static_pool()});
    ASSERT_TRUE(next<PoolSnapshot>());
    auto other = static_pool();
    other.port = Port::of(81);
    watch({other});
    const auto changed = next<PoolSnapshot>();
    ASSERT_TRUE(changed);
    EXPECT_EQ(changed->members.begin()->first.text(), "10.0.0.9:81");
}

TEST_F(ScoutTest, IsAliveEverySecond) {
    ASSERT_TRUE(next<ScoutAlive>());
    ASSERT_TRUE(next<ScoutAlive>());
}

TEST_F(ScoutTest, HoldsNothing) {
    ASSERT_TRUE(next<ScoutAlive>());
    EXPECT_EQ(line_of_status("CapEff:"), "0000000000000000");
    EXPECT_EQ(line_of_status("CapPrm:"), "0000000000000000");
    EXPECT_EQ(line_of_status("CapAmb:"), "0000000000000000");
    EXPECT_EQ(line_of_status("NoNewPrivs:"), "1");
    if (::geteuid() != 0) GTEST_SKIP() << "another user needs root";
    EXPECT_NE(line_of_status("Uid:").substr(0, 2), "0\t");
    EXPECT_EQ(line_of_status("Groups:").find_first_not_of(" "), std::string::npos);
}

TEST_F(ScoutTest, EndsWhenTheWorkerIsGone) {
    ASSERT_TRUE(next<ScoutAlive>());
    EXPECT_EQ(ends(), 0);
}

TEST_F(ScoutTest, EndsCalmlyWhenItsNextWordMeetsNobody) {
    // While it still prepares the second list, the worker has heard the first and goes.
    StaticSource many;
    for (unsigned i = 0; i < 60'000; ++i)
        many.members.push_back(
            {IpAddress::v4({10, 0, static_cast<std::uint8_t>(i >> 8), static_cast<std::uint8_t>(i)}), {}, {}});
    auto large = static_pool();
    large.name = "large";
    large.source = many;
    watch({static_pool(), large});
    ASSERT_TRUE(next<PoolSnapshot>());
    EXPECT_EQ(ends(), 0);
}

TEST_F(ScoutTest, SurvivesNonsense) {
    ASSERT_TRUE(channel->send(std::vector<std::uint8_t>{1, 2, 3}));
    watch({static_pool()});
    EXPECT_TRUE(next<PoolSnapshot>());
}

TEST(Scout, WithoutAChannelItSaysWhoStartsIt) { EXPECT_EQ(scout_main(999), 2); }

}  // namespace
}  // namespace koi::discovery
