// discovery/parse.h
//
// Files of backends, in three formats, into members. Pure. All complaints of a file at once, each with line and
// column where the format has them; a file with a complaint gives no members at all, because half a list is a wrong
// list.
//
//   lines   10.0.0.7:8080 5      # ip, ip:port, [ipv6]:port or ipv6, then an optional weight; '#' begins a comment
//   json    ["10.0.0.7:8080", {"address": "10.0.0.7", "port": 8080, "weight": 5}]  or {"backends": [...]}
//   yaml    the same as a YAML list, or under "backends:"
//
// Unknown keys, names instead of addresses, and addresses where no backend can be, are complaints. So is a file of
// nothing but blanks, because that is what a half-written file looks like: an empty list is a comment line, or [].
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "discovery/pool.h"

namespace koi::discovery {

struct ParseComplaint {
    unsigned line = 0, column = 0;  // from 1; 0: unknown
    std::string what;
    std::string text() const;  // "7:1: "10.0.0.300:80" is not an address"
};
using Parsed = std::variant<std::vector<Member>, std::vector<ParseComplaint>>;

FileFormat format_of(const FileSource&);
Parsed parse(std::string_view content, FileFormat);
// One member as it is written in lines and in configuration ("10.0.0.7:8080 5"); nullopt with `why` set.
std::optional<Member> parse_member(std::string_view, std::string& why);

}  // namespace koi::discovery
