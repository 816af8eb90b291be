// Any bytes as a message between worker and scout: what is read is written as the same bytes.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "discovery/messages.h"
#include "supervisor/base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::span bytes(data, size);
    if (const auto message = koi::discovery::decode(bytes))
        KOI_CHECK(std::ranges::equal(koi::discovery::encode(*message, *koi::discovery::format_of(bytes)), bytes));
    return 0;
}
