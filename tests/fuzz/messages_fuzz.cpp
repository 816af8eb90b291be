// What speaker and worker read from each other: any bytes give a message or nothing, and a message can be written
// again.
#include "supervisor/base/check.h"
#include "supervisor/link/messages.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace koi::link;
    const std::span bytes(data, size);
    if (const auto message = decode(bytes)) KOI_CHECK(decode(encode(*message, *format_of(bytes))) == message);
    return 0;
}
