#include "supervisor/status/words.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>

namespace koi::status {

namespace {

struct Scaled {
    std::string digits;
    std::size_t power;  // of a thousand
};

// Cut and not rounded, so that 999,999 stays below a million.
Scaled scaled(std::uint64_t n) {
    std::size_t power = 0;
    std::uint64_t tenths = 0;
    while (n >= 1000 && power < 6) {
        tenths = n % 1000 / 100;
        n /= 1000;
        ++power;
    }
    std::string digits = std::to_string(n);
    if (power > 0 && n < 10) digits += "." + std::to_string(tenths);
    return {digits, power};
}

// The length of the UTF-8 sequence that begins `text`, 0 if none does (overlong forms and surrogates are none).
std::size_t sequence(std::string_view text) {
    const auto at = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const auto follows = [&](std::size_t from, std::size_t n) {
        if (text.size() < from + n) return false;
        for (std::size_t i = from; i < from + n; ++i)
            if ((at(i) & 0xc0) != 0x80) return false;
        return true;
    };
    const unsigned char first = at(0);
    if (first < 0x80) return 1;
    if (first >= 0xc2 && first <= 0xdf && follows(1, 1)) return 2;
    if (first >= 0xe0 && first <= 0xef && follows(1, 2)) {
        const bool overlong = first == 0xe0 && at(1) < 0xa0, surrogate = first == 0xed && at(1) > 0x9f;
        return overlong || surrogate ? 0 : 3;
    }
    if (first >= 0xf0 && first <= 0xf4 && follows(1, 3)) {
        const bool overlong = first == 0xf0 && at(1) < 0x90, too_large = first == 0xf4 && at(1) > 0x8f;
        return overlong || too_large ? 0 : 4;
    }
    return 0;
}

// The bytes that make up the first `columns` columns of clean text.
std::size_t bytes_of(std::string_view text, std::size_t columns) {
    std::size_t at = 0;
    while (at < text.size() && columns > 0) {
        ++at;
        while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80) ++at;
        --columns;
    }
    return at;
}

}  // namespace

std::string age(Duration d) {
    const auto seconds = std::max<std::int64_t>(std::chrono::duration_cast<std::chrono::seconds>(d).count(), 0);
    if (seconds < 100) return std::to_string(seconds) + " s";
    if (seconds < 100 * 60) return std::to_string(seconds / 60) + " min";
    if (seconds < 48 * 3600) return std::to_string(seconds / 3600) + " h";
    return std::to_string(seconds / 86400) + " d";
}

std::string amount(std::uint64_t n) {
    static constexpr std::array units = {"", "k", "M", "G", "T", "P", "E"};
    const Scaled s = scaled(n);
    return s.digits + units[s.power];
}

std::string bytes(std::uint64_t n) {
    static constexpr std::array units = {" B", " kB", " MB", " GB", " TB", " PB", " EB"};
    const Scaled s = scaled(n);
    return s.digits + units[s.power];
}

std::string counted(std::size_t n, std::string_view one, std::string_view many) {
    return std::to_string(n) + " " + std::string(n == 1 ? one : many);
}

std::string rfc3339(std::chrono::system_clock::time_point when) {
    const auto in_ms = std::chrono::floor<std::chrono::milliseconds>(when);
    const auto in_s = std::chrono::floor<std::chrono::seconds>(in_ms);
    const std::time_t t = std::chrono::system_clock::to_time_t(in_s);
    std::tm parts{};
    gmtime_r(&t, &parts);
    char day[40], out[64];
    std::strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &parts);
    std::snprintf(out, sizeof out, "%s.%03dZ", day, static_cast<int>((in_ms - in_s).count()));
    return out;
}

std::string clean(std::string_view text) {
    std::string out;
    while (!text.empty()) {
        const std::size_t size = sequence(text);
        const auto first = static_cast<unsigned char>(text[0]);
        const bool c1 = size == 2 && first == 0xc2 && static_cast<unsigned char>(text[1]) < 0xa0;
        if (first == '\n' || first == '\t' || first == '\r')
            out += ' ';
        else if (size == 0 || first < 0x20 || first == 0x7f || c1)
            out += '?';
        else
            out += text.substr(0, size);
        text.remove_prefix(std::max<std::size_t>(size, 1));
    }
    return out;
}

std::size_t width(std::string_view text) {
    std::size_t columns = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '\033') {
            while (i < text.size() && text[i] != 'm') ++i;  // the only escapes we write are colours
            continue;
        }
        if ((static_cast<unsigned char>(text[i]) & 0xc0) != 0x80) ++columns;
    }
    return columns;
}

std::vector<std::string> wrap(std::string_view text, std::size_t columns) {
    columns = std::max<std::size_t>(columns, 1);
    std::vector<std::string> lines;
    while (width(text) > columns) {
        const std::size_t fits = bytes_of(text, columns);
        std::size_t end = text.substr(0, fits + 1).rfind(' ');
        if (end == std::string_view::npos || end == 0) end = fits;
        const std::string_view line = text.substr(0, end);
        lines.emplace_back(line.substr(0, line.find_last_not_of(' ') + 1));
        text.remove_prefix(end);
        text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
    }
    if (!text.empty() || lines.empty()) lines.emplace_back(text);
    return lines;
}

}  // namespace koi::status
