#include "discovery/parse.h"

#include "discovery/backend_list.h"
#include "discovery/quote.h"

namespace koi::discovery {

namespace {

Spot spot_of(std::string_view content, std::size_t at) {
    Spot spot{1, 1};
    for (const char c : content.substr(0, at)) {
        ++spot.column;
        if (c == '\n') spot = {spot.line + 1, 1};
    }
    return spot;
}

}  // namespace

std::string ParseComplaint::text() const {
    if (line == 0) return what;
    return std::to_string(line) + ":" + std::to_string(column) + ": " + what;
}

FileFormat format_of(const FileSource& file) {
    if (file.format != FileFormat::automatic) return file.format;
    if (file.path.ends_with(".json")) return FileFormat::json;
    if (file.path.ends_with(".yaml") || file.path.ends_with(".yml")) return FileFormat::yaml;
    return FileFormat::lines;
}

void read_lines(std::string_view content, BackendList& list) {
    constexpr std::string_view blanks = " \t\r";
    list.begin_list({1, 1});
    // A file that is being written is empty for a moment. One that is meant to be empty can say so.
    if (content.find_first_not_of(" \t\r\n") == std::string_view::npos)
        list.complain(
            {}, "empty, which is what a half-written file looks like; for a pool without backends write \"# none\"");
    for (unsigned line = 1; !content.empty(); ++line) {
        const auto end = content.find('\n');
        auto text = content.substr(0, end);
        content.remove_prefix(end == std::string_view::npos ? content.size() : end + 1);
        text = text.substr(0, text.find('#'));
        const auto begin = text.find_first_not_of(blanks);
        if (begin == std::string_view::npos) continue;
        text = text.substr(begin, text.find_last_not_of(blanks) - begin + 1);
        list.scalar({line, static_cast<unsigned>(begin) + 1}, text);
    }
    list.end_list();
}

Parsed parse(std::string_view content, FileFormat format) {
    if (content.starts_with("\xEF\xBB\xBF")) content.remove_prefix(3);
    BackendList list;
    if (const auto broken = find_broken_utf8(content); broken != std::string_view::npos) {
        list.begin_list({});
        list.complain(spot_of(content, broken), "not UTF-8 text from here on");
        return list.finish();
    }
    switch (format) {
        case FileFormat::json: read_json(content, list); break;
        case FileFormat::yaml: read_yaml(content, list); break;
        case FileFormat::automatic:
        case FileFormat::lines: read_lines(content, list); break;
    }
    return list.finish();
}

std::optional<Member> parse_member(std::string_view text, std::string& why) {
    auto read = read_member(text);
    if (auto* member = std::get_if<Member>(&read)) return *member;
    why = std::get<MemberFault>(read).why;
    return std::nullopt;
}

}  // namespace koi::discovery
