// The file source on a real loop, with real inotify, in every way people and programs replace a file.
#include "discovery/file_source.h"

#include <fcntl.h>
#include <sys/wait.h>

#include <optional>

#include "supervisor/base/privileges.h"
#include "tests/unit/discovery/temporary_directory.h"

namespace koi::discovery {
namespace {

namespace fs = std::filesystem;

std::string in_words(const Answer& answer) {
    if (const auto* story = std::get_if<std::string>(&answer)) return *story;
    std::string out;
    for (const auto& [place, weight] : std::get<Snapshot>(answer))
        out += (out.empty() ? "" : " ") + place.text() + "*" + std::to_string(weight.value());
    return out.empty() ? "nobody" : out;
}

struct FileSourceTest : testing::Test {
    void SetUp() override {
        auto opened = Loop::open();
        ASSERT_TRUE(opened);
        loop.emplace(std::move(*opened));
        watches.emplace(*loop);
        ASSERT_EQ(watches->limits(), "");
        turn = loop->after_each_turn(Priority::settle, "turn", [this] {
            if (done && done()) loop->stop(0);
        });
    }

    void watch(const std::string& path) {
        const PoolSettings pool{.name = "web", .source = FileSource{.path = path}, .port = {}};
        reader = std::make_unique<FileReader>(*loop, *watches, pool, [this](const Answer& a) { told.push_back(in_words(a)); });
    }

    // Runs the loop until the source has told this, as the last of all. A generous bound: it means "never".
    testing::AssertionResult tells(const std::string& expected) {
        if (!told.empty() && told.back() == expected) return testing::AssertionSuccess();
        done = [&] { return !told.empty() && told.back() == expected; };
        const auto guard = loop->at(loop->now() + 20s, Priority::idle, "too long", [this] { loop->stop(1); });
        const bool in_time = loop->run() == 0;
        done = nullptr;
        restart();
        if (in_time) return testing::AssertionSuccess();
        auto failure = testing::AssertionFailure() << "waited for \"" << expected << "\", was told";
        for (const auto& one : told) failure << " | " << one;
        return failure;
    }

    // Lets the loop go on for a while, for what must not happen.
    void wait(Duration time) {
        const auto end = loop->at(loop->now() + time, Priority::idle, "end", [this] { loop->stop(0); });
        loop->run();
        restart();
    }

    // sd-event runs once; what the source knows moves to a new loop.
    void restart() {
        auto opened = Loop::open();
        ASSERT_TRUE(opened);
    }

    TemporaryDirectory dir;
    std::optional<Loop> loop;
    std::optional<PathWatches> watches;
    Watch turn;
    std::function<bool()> done;
    std::vector<std::string> told;
    std::unique_ptr<FileReader> reader;
};

}  // namespace
}  // namespace koi::discovery
