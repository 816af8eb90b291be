// discovery/file_source.h
//
// A pool's members from a file, in the formats of parse.h. Read when it changes (path_watch.h), whenever look() finds
// another file or another time stamp there, and at most 64 MiB. Unchanged content is not parsed again and nothing is
// told twice.
//
// A file that is being written is read when its writer closes it; if he does not, once he has been quiet for 100 ms,
// and no later than a second after he began. A file that is missing, unreadable, empty or wrong is a failure with the
// place and the remedy; the members stay as they were.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "discovery/path_watch.h"
#include "discovery/source.h"

namespace koi::discovery {

class FileReader final : public Source {
public:
    FileReader(Loop&, PathWatches&, const PoolSettings&, Tell);  // the pool has a FileSource
    void look() override;
    void tell_again() override;

    unsigned parsed() const { return parsed_; }  // how often the content was new

private:
    struct Stamp {
        std::uint64_t device = 0, inode = 0, size = 0;
        std::int64_t modified = 0, changed = 0;  // ns
        friend bool operator==(const Stamp&, const Stamp&) = default;
    };
    std::optional<Stamp> stamp() const;

    void stirred(Stir);
    void read();
    void take(std::string_view content);
    void fail(std::string story);

    Loop& loop_;
    PoolSettings pool_;
    FileSource file_;
    Tell tell_;
    std::optional<Stamp> stamp_;          // of the file when it was last read
    std::optional<std::size_t> digest_;   // of the content that answer_ was made from
    Answer answer_;                       // what the content says
    std::optional<std::string> failure_;  // told instead, while the file cannot be read
    bool told_ = false;                   // answer_ is what was told last
    unsigned parsed_ = 0;
    std::optional<Instant> stirring_since_;
    Watch due_;
    std::unique_ptr<PathWatch> watch_;
};

// Why this process cannot read a file that is there: who it is, what stops it, what to do.
std::string why_unreadable(const std::string& path);

}  // namespace koi::discovery
