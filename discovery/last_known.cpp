#include "discovery/last_known.h"

#include <sys/stat.h>

#include "discovery/parse.h"
#include "supervisor/base/file.h"

namespace koi::discovery::last_known {

namespace {

Outcome make_directory(const std::string& path) {
    if (::mkdir(path.c_str(), 0755) == 0 || errno == EEXIST) return Done{};
    return from_errno("creating " + path);
}

}  // namespace

std::string path(const std::string& pool) { return state_directory() + "/pools/" + pool + ".json"; }

std::string as_json(const Snapshot& members) {
    std::string out = "{\"backends\": [";
    for (const auto& [place, weight] : members) {
        out += out.ends_with('[') ? "\n" : ",\n";
        out += "  {\"address\": \"" + place.address.text() + "\", \"port\": " + std::to_string(place.port.value()) +
               ", \"weight\": " + std::to_string(weight.value()) + "}";
    }
    return out + "\n]}\n";
}

Result<Snapshot> from_json(std::string_view content) {
    const auto parsed = parse(content, FileFormat::json);
    if (const auto* complaints = std::get_if<std::vector<ParseComplaint>>(&parsed))
        return Error{complaints->front().text()};
    auto resolved =
        resolve(std::get<std::vector<Member>>(parsed), PoolSettings{.name = "", .source = {}, .port = {}});
    if (const auto* wrong = std::get_if<std::string>(&resolved)) return Error{*wrong};
    return std::get<Snapshot>(std::move(resolved));
}

Outcome save(const std::string& pool, const Snapshot& members) {
    const auto target = path(pool);
    const auto content = as_json(members);
    if (const auto there = read_whole(target); there && *there == content) return Done{};
    if (auto made = make_directory(state_directory()); !made) return made;
    if (auto made = make_directory(state_directory() + "/pools"); !made) return made;
    if (auto written = write_whole(target, content); !written)
        return during("keeping the list of pool " + pool + " for the next start", written.error());
    return Done{};
}

Result<Snapshot> load(const std::string& pool) {
    const auto content = read_whole(path(pool));
    if (!content) return content.error();
    auto members = from_json(*content);
    if (!members) return during(path(pool), members.error());
    return members;
}

}  // namespace koi::discovery::last_known
