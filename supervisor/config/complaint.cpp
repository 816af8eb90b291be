#include "supervisor/config/complaint.h"

#include <algorithm>
#include <tuple>

namespace koi::config {

namespace {

bool earlier(const Complaint& a, const Complaint& b) {
    return std::tie(a.file, a.line, a.column) < std::tie(b.file, b.line, b.column);
}

// What stands under `carp:` is judged once for each vip.
bool same(const Complaint& a, const Complaint& b) {
    return std::tie(a.file, a.line, a.column, a.path, a.what) == std::tie(b.file, b.line, b.column, b.path, b.what);
}

std::string located(const std::string& file, unsigned line, unsigned column) {
    if (line == 0) return file;
    return file + ":" + std::to_string(line) + ":" + std::to_string(column);
}

}  // namespace

std::string Place::text() const { return located(file ? *file : "", line, column); }

std::string Complaint::text() const {
    const auto where = located(file, line, column);
    if (!path.empty()) return where + "  " + path + ": " + what;
    return where + (line == 0 ? ": " : "  ") + what;
}

Complaint complaint(const Spot& spot, std::string what) {
    return {.file = spot.place.file ? *spot.place.file : "",
            .line = spot.place.line,
            .column = spot.place.column,
            .path = spot.path,
            .what = std::move(what)};
}

void Notes::complain(const Spot& spot, std::string what) { complaints.push_back(complaint(spot, std::move(what))); }
void Notes::warn(const Spot& spot, std::string what) { warnings.push_back(complaint(spot, std::move(what))); }

void Notes::sort() {
    for (auto* list : {&complaints, &warnings}) {
        std::ranges::stable_sort(*list, earlier);
        list->erase(std::unique(list->begin(), list->end(), same), list->end());
    }
}

}  // namespace koi::config
