// Any text as lines of the file of events: what is taken is numbered without gaps, and its lines are read as the
// same.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "supervisor/base/check.h"
#include "supervisor/event_file.h"

using namespace koi;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto read = read_event_lines(std::string_view(reinterpret_cast<const char*>(data), size));
    std::string text;
    for (std::size_t n = 0; n < read.events.size(); ++n) {
        KOI_CHECK(read.events[n].number == read.events[0].number + n && read.events[n].number != 0);
        text += event_line(read.events[n]);
    }
    const auto again = read_event_lines(text);
    KOI_CHECK(again.whole && again.events.size() == read.events.size());
    for (std::size_t n = 0; n < read.events.size(); ++n)
        KOI_CHECK(event_line(again.events[n]) == event_line(read.events[n]));
    return 0;
}
