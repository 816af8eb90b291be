// What speaker and worker read from each other: any bytes give a message or nothing, and a message can be written
// again.
#include "supervisor/base/check.h"
#include "supervisor/link/messages.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (const auto message = koi::link::decode({data, size}))
        KOI_CHECK(koi::link::decode(koi::link::encode(*message)) == message);
    return 0;
}
