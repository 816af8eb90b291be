// Any text as a configuration. What follows a line "%%%" is a file of its own, which the others can include by its
// number, so that the fuzzer also learns to include.
//
// Laws: either a configuration or a complaint; a complaint is one line of clean text; what is printed reads in again
// as itself.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "discovery/quote.h"
#include "supervisor/base/check.h"
#include "supervisor/config/read.h"

using namespace koi;

namespace {

std::vector<std::string> files_in(std::string_view text) {
    constexpr std::string_view separator = "\n%%%\n";
    std::vector<std::string> files;
    for (;;) {
        const auto end = text.find(separator);
        files.emplace_back(text.substr(0, end));
        if (end == std::string_view::npos) return files;
        text.remove_prefix(end + separator.size());
    }
}

config::Reading read(const std::vector<std::string>& files) {
    const config::Loader loader{.file = [&](const std::string& path) -> Result<std::string> {
                                    for (std::size_t i = 0; i < files.size(); ++i)
                                        if (path == "/" + std::to_string(i)) return files[i];
                                    return Error{"there is no such file", 2};
                                },
                                .secret = [](const std::string& path) -> Result<std::string> {
                                    if (path.size() % 4 == 0) return Error{"unreadable", 13};
                                    return std::string(path.size() % 23, 'x');
                                },
                                .glob =
                                    [&](const std::string&) {
                                        std::vector<std::string> all;
                                        for (std::size_t i = 1; i < files.size(); ++i)
                                            all.push_back("/" + std::to_string(i));
                                        return all;
                                    },
                                .host_name = "lb1"};
    return config::read("/0", loader);
}

void check_text(const std::vector<config::Complaint>& complaints) {
    for (const auto& complaint : complaints) {
        const auto text = complaint.text();
        KOI_CHECK(discovery::find_broken_utf8(text) == std::string::npos);
        for (const char c : text) KOI_CHECK(static_cast<unsigned char>(c) >= ' ');
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto reading = read(files_in({reinterpret_cast<const char*>(data), size}));
    KOI_CHECK(reading.config.has_value() == reading.complaints.empty());
    check_text(reading.complaints);
    check_text(reading.warnings);
    if (!reading.config) return 0;
    const auto printed = config::print(*reading.config);
    const auto again = read({printed});
    KOI_CHECK(again.config && *again.config == *reading.config);
    KOI_CHECK(config::print(*again.config) == printed);
    return 0;
}
