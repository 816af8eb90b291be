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
    }

    void watch(const std::string& path) {
        const PoolSettings pool{.name = "web", .source = FileSource{.path = path}, .port = {}};
        reader = std::make_unique<FileReader>(*loop, *watches, pool,
                                              [this](const Answer& a) { told.push_back(in_words(a)); });
    }

    void run(Duration time, const std::function<bool()>& enough) {
        const auto end = std::chrono::steady_clock::now() + time;
        while (!enough() && std::chrono::steady_clock::now() < end) sd_event_run(loop->raw(), 10'000);
    }

    // Runs the loop until the source has told this, last of all. The bound is generous: it means "never".
    testing::AssertionResult tells(const std::string& expected) {
        run(20s, [&] { return !told.empty() && told.back() == expected; });
        if (!told.empty() && told.back() == expected) return testing::AssertionSuccess();
        auto failure = testing::AssertionFailure() << "waited for \"" << expected << "\", was told";
        for (const auto& one : told) failure << " | " << one;
        return failure;
    }

    // Lets the loop go on, for what must not happen.
    void wait(Duration time) {
        run(time, [] { return false; });
    }

    TemporaryDirectory dir;
    std::optional<Loop> loop;
    std::optional<PathWatches> watches;
    std::vector<std::string> told;
    std::unique_ptr<FileReader> reader;
};

const std::string one = "10.0.0.1:80*1", two = "10.0.0.2:80*1", three = "10.0.0.3:80*1";

TEST_F(FileSourceTest, TellsWhatIsThereAtOnce) {
    write(dir / "web", "10.0.0.1:80\n");
    watch(dir / "web");
    EXPECT_EQ(told, std::vector<std::string>{one});
}

TEST_F(FileSourceTest, SeesAFileWrittenInPlace) {
    write(dir / "web", "10.0.0.1:80\n");
    watch(dir / "web");
    write(dir / "web", "10.0.0.2:80\n");
    EXPECT_TRUE(tells(two));
    std::ofstream(dir / "web", std::ios::app) << "10.0.0.3:80\n";
    EXPECT_TRUE(tells(two + " " + three));
}

TEST_F(FileSourceTest, SeesAFileRenamedOverIt) {
    write(dir / "web", "10.0.0.1:80\n");
    watch(dir / "web");
    for (int round = 0; round < 5; ++round) {
        const auto& next = round % 2 ? one : two;
        write(dir / "web.new", round % 2 ? "10.0.0.1:80\n" : "10.0.0.2:80\n");
        fs::rename(dir / "web.new", dir / "web");
        EXPECT_TRUE(tells(next)) << "round " << round;
    }
}

TEST_F(FileSourceTest, SeesAFileDeletedAndCreatedAnew) {
    write(dir / "web", "10.0.0.1:80\n");
    watch(dir / "web");
    fs::remove(dir / "web");
    EXPECT_TRUE(tells("there is no " + (dir / "web")));
    write(dir / "web", "10.0.0.2:80\n");
    EXPECT_TRUE(tells(two));
    fs::remove(dir / "web");
    write(dir / "web", "10.0.0.3:80\n");
    EXPECT_TRUE(tells(three));
}

TEST_F(FileSourceTest, SeesADirectoryOfAConfigMapSwapped) {
    // As Kubernetes does it: web → ..data/web, ..data → ..2026, and a new ..data renamed over the old one.
    fs::create_directory(dir / "..1");
    write(dir / "..1/web", "10.0.0.1:80\n");
    fs::create_symlink("..1", dir / "..data");
    fs::create_symlink("..data/web", dir / "web");
    watch(dir / "web");
    EXPECT_TRUE(tells(one));
    for (int version = 2; version < 6; ++version) {
        const auto directory = ".." + std::to_string(version), address = "10.0.0." + std::to_string(version) + ":80";
        fs::create_directory(dir / directory);
        write(dir / (directory + "/web"), address + "\n");
        fs::create_symlink(directory, dir / "..data_tmp");
        fs::rename(dir / "..data_tmp", dir / "..data");
        fs::remove_all(dir / (".." + std::to_string(version - 1)));
        EXPECT_TRUE(tells(address + "*1"));
    }
}

TEST_F(FileSourceTest, SeesALinkPointedElsewhereAndItsTargetWritten) {
    fs::create_directory(dir / "a");
    fs::create_directory(dir / "b");
    write(dir / "a/web", "10.0.0.1:80\n");
    write(dir / "b/web", "10.0.0.2:80\n");
    fs::create_symlink(dir / "a/web", dir / "web");
    watch(dir / "web");
    EXPECT_TRUE(tells(one));
    fs::create_symlink("b/../b/./web", dir / "web.new");
    fs::rename(dir / "web.new", dir / "web");
    EXPECT_TRUE(tells(two));
    write(dir / "b/web", "10.0.0.3:80\n");
    EXPECT_TRUE(tells(three));
    write(dir / "a/web", "10.0.0.9:80\n");  // nobody's any more
    wait(300ms);
    EXPECT_EQ(told.back(), three);
}

TEST_F(FileSourceTest, SeesADirectoryThatAppearsLater) {
    watch(dir / "not/yet/web");
    EXPECT_EQ(told, std::vector<std::string>{"there is no " + (dir / "not/yet/web")});
    fs::create_directories(dir / "not/yet");
    write(dir / "not/yet/web", "10.0.0.1:80\n");
    EXPECT_TRUE(tells(one));
    fs::rename(dir / "not/yet", dir / "not/gone");
    EXPECT_TRUE(tells("there is no " + (dir / "not/yet/web")));
    fs::create_directory(dir / "not/yet");
    write(dir / "not/yet/web", "10.0.0.2:80\n");
    EXPECT_TRUE(tells(two));
}

TEST_F(FileSourceTest, SeesAWriterThroughAnotherNameOfTheFile) {
    fs::create_directory(dir / "a");
    write(dir / "a/web", "10.0.0.1:80\n");
    fs::create_directory(dir / "b");
    fs::create_hard_link(dir / "a/web", dir / "b/other");
    watch(dir / "a/web");
    write(dir / "b/other", "10.0.0.2:80\n");
    EXPECT_TRUE(tells(two));
}

TEST_F(FileSourceTest, DoesNotReadAFileThatIsBeingWritten) {
    write(dir / "web", "10.0.0.1:80\n");
    watch(dir / "web");
    auto longest = std::chrono::steady_clock::duration::zero();
    {
        std::ofstream out(dir / "web");  // empty from here on
        for (const std::string part : {"10.0.0", ".2:80\n10.0.0", ".3:80\n"}) {
            const auto before = std::chrono::steady_clock::now();
            out << part << std::flush;
            wait(20ms);
            longest = std::max(longest, std::chrono::steady_clock::now() - before);
        }
    }
    EXPECT_TRUE(tells(two + " " + three));
    if (longest < 80ms) {  // else this machine was too busy to be a quick writer
        EXPECT_EQ(told.size(), 2u) << "nothing in between";
    }
}

TEST_F(FileSourceTest, ReadsAFileThatItsWriterKeepsOpen) {
    write(dir / "web", "10.0.0.1:80\n");
    watch(dir / "web");
    std::ofstream out(dir / "web");
    out << "10.0.0.2:80\n" << std::flush;
    EXPECT_TRUE(tells(two)) << "once the writer is quiet";
}

TEST_F(FileSourceTest, AnEmptyFileIsAFailureAndNotAnEmptyList) {
    write(dir / "web", "10.0.0.1:80\n");
    watch(dir / "web");
    write(dir / "web", "");
    EXPECT_TRUE(
        tells((dir / "web") +
              ": empty, which is what a half-written file looks like; for a pool without backends write \"# none\""));
    write(dir / "web", "# none\n");
    EXPECT_TRUE(tells("nobody"));
}

TEST_F(FileSourceTest, ABrokenFileIsNamedWithItsPlace) {
    write(dir / "web", "10.0.0.1:80\n10.0.0.300:80\nx\n");
    watch(dir / "web");
    EXPECT_EQ(told.back(), (dir / "web") + ":2:1: \"10.0.0.300:80\" is not an address (and 1 more)");
    write(dir / "web", "10.0.0.1\n");
    EXPECT_TRUE(
        tells((dir / "web") + ": 10.0.0.1 has no port; write it as 10.0.0.1:80, or give the pool a \"port\""));
    fs::remove(dir / "web");
    fs::create_directory(dir / "web");
    EXPECT_TRUE(tells((dir / "web") + " is not a plain file"));
}

TEST_F(FileSourceTest, UnchangedContentIsNeitherParsedNorToldAgain) {
    write(dir / "web", "10.0.0.1:80\n");
    watch(dir / "web");
    write(dir / "web.new", "10.0.0.1:80\n");
    fs::rename(dir / "web.new", dir / "web");
    wait(300ms);
    reader->look();
    EXPECT_EQ(reader->parsed(), 1u);
    EXPECT_EQ(told.size(), 1u);
    fs::remove(dir / "web");
    EXPECT_TRUE(tells("there is no " + (dir / "web")));
    write(dir / "web", "10.0.0.1:80\n");
    EXPECT_TRUE(tells(one)) << "the end of a failure is told";
    EXPECT_EQ(reader->parsed(), 1u) << "without parsing what is known";
}

TEST_F(FileSourceTest, TellsAgainWhatItToldLast) {
    watch(dir / "web");
    reader->tell_again();
    write(dir / "web", "10.0.0.1:80\n");
    EXPECT_TRUE(tells(one));
    reader->tell_again();
    EXPECT_EQ(told.size(), 4u);
    EXPECT_EQ(told[1], told[0]);
    EXPECT_EQ(told[3], one);
}

TEST_F(FileSourceTest, WithoutInotifyTheSlowLookFindsIt) {
    write(dir / "web", "10.0.0.1:80\n");
    watch(dir / "web");
    write(dir / "web.new", "10.0.0.2:80\n");
    fs::rename(dir / "web.new", dir / "web");
    reader->look();  // no turn of the loop, so no event
    EXPECT_EQ(told.back(), two);
}

TEST_F(FileSourceTest, ManyFilesOfOneDirectoryDoNotDisturbEachOther) {
    write(dir / "web", "10.0.0.1:80\n");
    write(dir / "other", "10.0.0.9:80\n");
    watch(dir / "web");
    std::vector<std::string> others;
    const PoolSettings pool{.name = "other", .source = FileSource{.path = dir / "other"}, .port = {}};
    auto other =
        std::make_unique<FileReader>(*loop, *watches, pool, [&](const Answer& a) { others.push_back(in_words(a)); });
    write(dir / "web", "10.0.0.2:80\n");
    EXPECT_TRUE(tells(two));
    EXPECT_EQ(others.size(), 1u);
    other.reset();  // the directory's watch must stay
    write(dir / "web", "10.0.0.3:80\n");
    EXPECT_TRUE(tells(three));
}

TEST_F(FileSourceTest, SaysWhoMayNotReadAndWhatToDo) {
    if (::geteuid() != 0) GTEST_SKIP() << "becoming another user needs root";
    write(dir / "web", "10.0.0.1:80\n");
    ASSERT_EQ(::chmod((dir / "web").c_str(), 0600), 0);
    fs::create_directory(dir / "closed");
    write(dir / "closed/web", "10.0.0.1:80\n");
    ASSERT_EQ(::chmod((dir / "closed").c_str(), 0700), 0);
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    const pid_t child = ::fork();
    if (child == 0) {
        // A loop does not outlive a fork.
        watches.reset();
        loop.emplace(std::move(*Loop::open()));
        watches.emplace(*loop);
        if (!become_user("nobody")) ::_exit(1);
        watch(dir / "web");
        watch(dir / "closed/web");
        const std::string all = told[0] + "\n" + told[1] + "\n";
        ::_exit(::write(ends[1], all.data(), all.size()) > 0 ? 0 : 1);
    }
    ::close(ends[1]);
    std::string said(4096, '\0');
    const auto n = ::read(ends[0], said.data(), said.size());
    ::close(ends[0]);
    said.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
    EXPECT_EQ(said, (dir / "web") + " cannot be read: user nobody may not; run: chmod o+r " + (dir / "web") + "\n" +
                        (dir / "closed/web") + " cannot be read: user nobody may not enter " + (dir / "closed") +
                        "; run: chmod o+x " + (dir / "closed") + ", or put the file elsewhere\n");
}

}  // namespace
}  // namespace koi::discovery
