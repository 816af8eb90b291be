// Any bytes as a file of backends; the first one chooses the format.
//
// Laws: members or complaints, never both and never neither; a complaint is one line of clean text; members written
// as lines are read as the same members.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "discovery/parse.h"
#include "discovery/quote.h"
#include "supervisor/base/check.h"

using namespace koi;
using namespace koi::discovery;

namespace {

std::string as_line(const Member& member) {
    std::string out = member.port ? Endpoint{member.address, *member.port}.text() : member.address.text();
    if (member.weight) out += " " + std::to_string(member.weight->value());
    return out + "\n";
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const auto format = data[0] % 3 == 0 ? FileFormat::lines : data[0] % 3 == 1 ? FileFormat::json : FileFormat::yaml;
    const auto parsed = parse({reinterpret_cast<const char*>(data + 1), size - 1}, format);
    if (const auto* complaints = std::get_if<std::vector<ParseComplaint>>(&parsed)) {
        KOI_CHECK(!complaints->empty());
        for (const auto& complaint : *complaints) {
            const auto text = complaint.text();
            KOI_CHECK(find_broken_utf8(text) == std::string::npos);
            for (const char c : text) KOI_CHECK(static_cast<unsigned char>(c) >= ' ');
        }
        return 0;
    }
    const auto& members = std::get<std::vector<Member>>(parsed);
    std::string lines = "#\n";
    for (const auto& member : members) lines += as_line(member);
    const auto again = parse(lines, FileFormat::lines);
    KOI_CHECK(std::holds_alternative<std::vector<Member>>(again) && std::get<std::vector<Member>>(again) == members);
    return 0;
}
