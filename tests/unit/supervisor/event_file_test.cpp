#include "supervisor/event_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "supervisor/base/file.h"

namespace koi {
namespace {

using status::Event;
using status::EventLog;

struct EventFolder {
    std::string path = [] {
        char name[] = "/tmp/koi-events-XXXXXX";
        return std::string(::mkdtemp(name));
    }();
    std::string file = path + "/events";
    ~EventFolder() { std::filesystem::remove_all(path); }
    std::string content() const { return read_whole(file).value(); }
};

Event named(const std::string& sentence) {
    return {0, Instant(123456us), 4, "role", sentence, {{"vhid", "51"}, {"because", "a \"reason\"\n"}}};
}

// As a worker does: the log and its file.
struct Life {
    EventLog log;
    EventFile file;
    explicit Life(const EventFolder& folder, std::size_t most = 2000) : log(most), file(folder.path) {
        log.go_on(file.read());
    }
    Outcome tell(const std::string& sentence) {
        log.add(named(sentence));
        return file.write(log);
    }
};

TEST(EventFile, TheNextGoesOnWithWhatWasTold) {
    const EventFolder folder;
    {
        Life life(folder);
        EXPECT_EQ(life.log.last(), 0u);
        for (const char* sentence : {"one", "two", "three"}) ASSERT_TRUE(life.tell(sentence));
    }
    Life next(folder);
    const auto events = next.log.after(0);
    ASSERT_EQ(events.size(), 3u);
    EXPECT_EQ(events[1].number, 2u);
    EXPECT_EQ(events[1].sentence, "two");
    EXPECT_EQ(events[1].event, "role");
    EXPECT_EQ(events[1].level, 4);
    EXPECT_EQ(events[1].at, named("").at);
    EXPECT_EQ(events[1].fields, named("").fields);
    ASSERT_TRUE(next.tell("four"));
    Life third(folder);
    ASSERT_EQ(third.log.after(0).size(), 4u);
    EXPECT_EQ(third.log.after(3).front().sentence, "four");
}

TEST(EventFile, IsTheOwnersAlone) {
    const EventFolder folder;
    Life life(folder);
    ASSERT_TRUE(life.tell("one"));
    struct stat found {};
    ASSERT_EQ(::stat(folder.file.c_str(), &found), 0);
    EXPECT_EQ(found.st_mode & 0777u, 0600u);
}

TEST(EventFile, NeverHasMoreThanHalfAsManyAgain) {
    const EventFolder folder;
    {
        Life life(folder, 10);
        for (int i = 1; i <= 100; ++i) {
            ASSERT_TRUE(life.tell(std::to_string(i)));
            const auto text = folder.content();
            ASSERT_LE(std::ranges::count(text, '\n'), 1 + 15) << i;
        }
    }
    Life next(folder, 10);
    ASSERT_EQ(next.log.after(0).size(), 10u);
    EXPECT_EQ(next.log.after(0).front().sentence, "91");
    EXPECT_EQ(next.log.last(), 100u);
}

TEST(EventFile, ALineThatWasCutOffIsLeftOut) {
    const EventFolder folder;
    {
        Life life(folder);
        ASSERT_TRUE(life.tell("one"));
        ASSERT_TRUE(life.tell("two"));
    }
    const auto text = folder.content();
    std::ofstream(folder.file) << text << text.substr(text.rfind('\n', text.size() - 2) + 1, 20);
    {
        Life next(folder);
        EXPECT_EQ(next.log.last(), 0u) << "what comes before nonsense is left out, too";
        ASSERT_TRUE(next.tell("three"));
    }
    Life third(folder);
    ASSERT_EQ(third.log.after(0).size(), 1u);
    EXPECT_EQ(third.log.after(0).front().sentence, "three");
}

TEST(EventFile, WhatMakesNoSenseOrIsOfAnotherBootIsNone) {
    const EventFolder folder;
    {
        Life life(folder);
        ASSERT_TRUE(life.tell("one"));
    }
    const auto text = folder.content();
    const auto first = text.find('\n') + 1;
    for (const auto& wrong :
         {std::string(), std::string("nonsense"), "{\"boot\":\"another\"}\n" + text.substr(first), text.substr(first),
          text.substr(0, first) + "7\n", text.substr(0, first) + "{\"number\":\"one\"}\n",
          text.substr(0, first) + "{\"number\":0}\n", text.substr(0, first) + "\n"}) {
        std::ofstream(folder.file) << wrong;
        Life next(folder);
        EXPECT_EQ(next.log.last(), 0u) << wrong;
        EXPECT_TRUE(next.tell("new"));
        EXPECT_EQ(Life(folder).log.last(), 1u) << wrong;
    }
}

TEST(EventFile, AFailureIsToldOnceAndTriedAgain) {
    const EventFolder folder;
    Life life(folder);
    ASSERT_TRUE(life.tell("one"));
    std::filesystem::remove_all(folder.path);
    Life lost(folder);
    EXPECT_FALSE(lost.tell("two"));
    for (int i = 0; i < 250; ++i) EXPECT_TRUE(lost.tell("more")) << "it was said already";
    std::filesystem::create_directory(folder.path);
    for (int i = 0; i < 150; ++i) ASSERT_TRUE(lost.tell("again"));
    EXPECT_EQ(Life(folder).log.last(), lost.log.last()) << "nothing is missing";
}

}  // namespace
}  // namespace koi
