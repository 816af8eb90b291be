// Any text as one of the two files that outlive a run: what is read is written as the same text. A file that a fault
// of the disk has changed is therefore none, however little it was.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "supervisor/base/check.h"
#include "supervisor/speaker/memory.h"

using namespace koi;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const auto kept = speaker::read_counter(text);
    if (kept) {
        KOI_CHECK(speaker::to_text(*kept) == text);
        KOI_CHECK(kept->sender != 0);
        // Whoever goes on from it can still count.
        carp::Counter counter(*kept);
        KOI_CHECK(counter.next({}) > kept->high);
    }
    const auto heard = speaker::read_heard(text);
    KOI_CHECK(!kept || !heard);
    if (!heard) return 0;
    KOI_CHECK(speaker::to_text(*heard) == text);
    // What the table takes in of it, it writes so that it is read again.
    speaker::HeardLines taken;
    for (const auto& [vhid, lines] : *heard) {
        carp::Replay replay;
        replay.recall(lines, Instant{});
        taken[vhid] = replay.all();
        KOI_CHECK(taken[vhid].size() <= 2 * carp::Replay::most_senders);
    }
    KOI_CHECK(speaker::read_heard(speaker::to_text(taken)) == taken);
    return 0;
}
