// What a speaker reads of the program before it: any bytes are an estate or none, and an estate is written as the
// same bytes. The descriptors it names are not looked at here.
#include <algorithm>

#include "supervisor/base/check.h"
#include "supervisor/speaker/estate.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace koi::speaker;
    const std::span bytes(data, size);
    if (const auto estate = decode_estate(bytes)) {
        constexpr std::size_t behind_magic = 8;
        KOI_CHECK(std::ranges::equal(encode(*estate, data[behind_magic]), bytes));
    }
    return 0;
}
