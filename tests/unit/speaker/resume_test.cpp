#include "supervisor/speaker/resume.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace koi::speaker {
namespace {

const Vhid vhid = *Vhid::of(51);
const Instant now{Duration(1h)};

carp::Settings settings(int advbase, int advskew) {
    carp::Settings s;
    s.advbase = *carp::Advbase::of(advbase);
    s.advskew = *carp::Advskew::of(advskew);
    return s;
}

struct Folder {
    std::string path = [] {
        char name[] = "/tmp/koi-resume-XXXXXX";
        return std::string(::mkdtemp(name));
    }();
    ~Folder() { std::filesystem::remove_all(path); }
};

TEST(Resume, AMasterWhosePeersStillWaitGoesOn) {
    EXPECT_TRUE(may_resume({carp::Role::master, now - 1s}, settings(1, 0), now));
    EXPECT_TRUE(may_resume({carp::Role::master, now - 2800ms}, settings(1, 0), now));
    EXPECT_FALSE(may_resume({carp::Role::master, now - 2900ms}, settings(1, 0), now))
        << "the least patient peer took over";
    EXPECT_FALSE(may_resume({carp::Role::backup, now - 1s}, settings(1, 0), now));
}

TEST(Resume, OurOwnSkewSaysNothingAboutOurPeersPatience) {
    EXPECT_FALSE(may_resume({carp::Role::master, now - 3100ms}, settings(1, 200), now));
}

TEST(Resume, WithoutABaseThreeBeatsCount) {
    EXPECT_TRUE(may_resume({carp::Role::master, now - 90ms}, settings(0, 10), now));
    EXPECT_FALSE(may_resume({carp::Role::master, now - 100ms}, settings(0, 10), now));
}

TEST(Resume, ANoteOfTheFutureIsOfAnotherBoot) {
    EXPECT_FALSE(may_resume({carp::Role::master, now + 1s}, settings(1, 0), now));
}

TEST(Notes, SurviveTheProcessThatWroteThem) {
    const Folder folder;
    std::string problem;
    {
        auto notes = Notes::open(folder.path, problem);
        EXPECT_FALSE(notes.of(vhid));
        notes.note(vhid, {carp::Role::master, now});
    }
    auto notes = Notes::open(folder.path, problem);
    EXPECT_EQ(problem, "");
    ASSERT_TRUE(notes.of(vhid));
    EXPECT_EQ(notes.of(vhid)->role, carp::Role::master);
    EXPECT_EQ(notes.of(vhid)->last_advert, now);
    notes.forget(vhid);
    EXPECT_FALSE(notes.of(vhid));
}

TEST(Notes, AFileThatMakesNoSenseIsAnEmptyOne) {
    const Folder folder;
    std::ofstream(folder.path + "/resume") << std::string(10000, 'x');
    std::string problem;
    auto notes = Notes::open(folder.path, problem);
    for (int n = 1; n < 256; ++n) EXPECT_FALSE(notes.of(*Vhid::of(n)));
}

TEST(Notes, WithoutAFolderTheyLiveInMemoryAndSaySo) {
    std::string problem;
    auto notes = Notes::open("/nonexistent", problem);
    EXPECT_NE(problem.find("/nonexistent/resume"), std::string::npos);
    notes.note(vhid, {carp::Role::backup, now});
    EXPECT_TRUE(notes.of(vhid));
}

TEST(Held, WhatIsWrittenIsRead) {
    const Folder folder;
    const std::set<vip::Held> held = {{"eth0", *Prefix::parse("192.0.2.10/24")},
                                      {"eth1", *Prefix::parse("2001:db8::10/64")}};
    ASSERT_TRUE(write_held(folder.path, held));
    EXPECT_EQ(*read_held(folder.path), held);
}

TEST(Held, NoRecordMeansNothingIsHeld) {
    const Folder folder;
    ASSERT_TRUE(read_held(folder.path));
    EXPECT_TRUE(read_held(folder.path)->empty());
}

}  // namespace
}  // namespace koi::speaker
