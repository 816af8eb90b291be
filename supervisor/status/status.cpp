#include "supervisor/status/status.h"

#include <algorithm>
#include <array>
#include <functional>
#include <map>

#include "supervisor/status/words.h"

namespace koi::status {

namespace {

constexpr std::size_t longest_line = 200;

// "master of 51 and 53, backup of 52"
std::string roles(const Status& s) {
    if (!s.speaker_known) return "roles not known yet";
    std::map<carp::Role, std::string, std::greater<>> vhids;  // masters first
    for (const auto& v : s.speaker.vhids) {
        std::string& list = vhids[v.role];
        list += (list.empty() ? "" : " and ") + std::to_string(v.vhid.value());
    }
    std::string out;
    for (const auto& [role, list] : vhids) {
        if (!out.empty()) out += ", ";
        out += std::string(to_string(role)) + " of " + list;
    }
    return out.empty() ? "no vhid" : out;
}

// "5 of 6 backends": those that take connections, of those that should be there. A node that serves nothing just now
// tells how many its pools know.
std::string backends(const Status& s) {
    std::size_t wanted = 0, serving = 0, known = 0;
    bool serves = false;
    for (const auto& service : s.services) {
        if (!service.desired) continue;
        serves = true;
        for (const auto& b : service.backends) {
            if (!b.desired_weight || b.draining || b.sorry) continue;
            ++wanted;
            if (b.observed_weight.value_or(0) > 0) ++serving;
        }
    }
    for (const auto& p : s.pools)
        known += static_cast<std::size_t>(
            std::ranges::count_if(p.members, [](const auto& m) { return !m.draining_until; }));
    if (!serves) return counted(known, "backend", "backends") + " known";
    return std::to_string(serving) + " of " + counted(wanted, "backend", "backends");
}

}  // namespace

bool other_configuration(std::uint64_t ours, const link::PeerReport& peer) {
    const auto theirs = peer.condition ? peer.condition->configuration : 0;
    return ours != 0 && theirs != 0 && ours != theirs;
}

std::string trailer_word(const link::PeerReport& peer) {
    if (peer.condition) return "valid";
    return peer.doubt ? std::string(to_string(*peer.doubt)) : "none";
}

std::optional<Part> part_of(std::string_view word) {
    static constexpr std::array<std::pair<std::string_view, Part>, 8> words = {{{"all", Part::all},
                                                                                {"roles", Part::roles},
                                                                                {"vips", Part::vips},
                                                                                {"services", Part::services},
                                                                                {"pools", Part::pools},
                                                                                {"sources", Part::sources},
                                                                                {"troubles", Part::troubles},
                                                                                {"peers", Part::peers}}};
    for (const auto& [known, part] : words)
        if (known == word) return part;
    return std::nullopt;
}

std::string as_line(const Status& s) {
    const auto ours = static_cast<std::size_t>(std::ranges::count(s.services, false, &ServiceStatus::foreign));
    std::string out = roles(s);
    if (ours > 0) out += "; " + counted(ours, "service", "services") + ", " + backends(s);
    if (!s.troubles.empty())
        out += "; " + counted(s.troubles.size(), "trouble", "troubles") + ": " + s.troubles.front().sentence;
    const auto lines = wrap(clean(out), longest_line);
    return lines.size() == 1 ? lines[0] : lines[0] + " …";
}

}  // namespace koi::status
