// supervisor/speaker/memory.h
//
// What a node must not forget between two runs, in two files of the state directory:
//
//   counter   who this node is in trailers, and a number above all that its adverts ever carried (carp/counter.h)
//   heard     for each vhid the last counter of each sender (carp/replay.h)
//
// Text, written whole. Nothing waits for the disk: a thread writes, always the newest content. A file that makes no
// sense is set aside as FILE.damaged and named. Without `counter` the node is a new one to its peers; without `heard`
// it tells the recordings of before this start by their clock alone.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "carp/replay.h"
#include "supervisor/base/types.h"

namespace koi::speaker {

using HeardLines = std::map<Vhid, std::vector<carp::Replay::Line>>;

// The files' text. Pure; whatever one writes the other reads, and nothing else.
std::string to_text(const carp::Counter::Kept&);
std::string to_text(const HeardLines&);
std::optional<carp::Counter::Kept> read_counter(std::string_view);
std::optional<HeardLines> read_heard(std::string_view);

// An identity that nobody else has.
std::uint64_t random_sender();

class Memory {
public:
    using Problem = std::function<void(const std::string& sentence)>;
    // directory: exists, or its absence is a problem. random: for a new identity.
    static Memory open(const std::string& directory, std::uint64_t random, const Problem&);

    // Goes on with what a program that this one replaces knew, whatever the files say.
    static Memory go_on(const std::string& directory, const carp::Counter::Kept&, HeardLines);

    const carp::Counter::Kept& counter() const { return counter_; }
    const HeardLines& heard() const { return heard_; }
    const std::vector<carp::Replay::Line>& heard(Vhid) const;

    void keep(const carp::Counter::Kept&);
    void keep(const HeardLines&);  // what heard() says from now on, too
    std::string trouble() const;   // of each file: why its last writing failed; empty: none did
    bool is_idle() const;          // all is written
    void finish(Duration most);    // waits until all is written, but no longer than that

private:
    class Writer;
    Memory(std::string directory, std::shared_ptr<Writer> writer)
        : directory_(std::move(directory)), writer_(std::move(writer)) {}

    std::string directory_;
    carp::Counter::Kept counter_;
    HeardLines heard_;
    std::shared_ptr<Writer> writer_;  // shared with a thread that may hang in the disk for longer than we live
};

}  // namespace koi::speaker
