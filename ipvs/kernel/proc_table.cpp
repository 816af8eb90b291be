#include "ipvs/kernel/proc_table.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <optional>
#include <utility>

namespace koi::ipvs {

namespace {

std::string_view next_line(std::string_view& text) {
    const auto end = text.find('\n');
    const auto line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    return line;
}

std::string_view next_word(std::string_view& line) {
    line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
    const auto word = line.substr(0, line.find(' '));
    line.remove_prefix(word.size());
    return word;
}

std::optional<std::uint32_t> number(std::string_view word, int base) {
    std::uint32_t n = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), n, base);
    if (error != std::errc{} || end != word.data() + word.size()) return std::nullopt;
    return n;
}

// "C0000201:0050" or "[2001:0db8:...]:0050"
std::optional<BackendKey> endpoint(std::string_view word) {
    const auto colon = word.rfind(':');
    if (colon == std::string_view::npos) return std::nullopt;
    const auto host = word.substr(0, colon);
    const auto port = number(word.substr(colon + 1), 16);
    if (!port || *port > 0xFFFF) return std::nullopt;
    std::optional<IpAddress> address;
    if (host.starts_with('[') && host.ends_with(']')) {
        address = IpAddress::parse(host.substr(1, host.size() - 2));
    } else if (const auto v4 = number(host, 16)) {
        address = IpAddress::v4(std::bit_cast<std::array<std::uint8_t, 4>>(htonl(*v4)));
    }
    if (!address) return std::nullopt;
    return BackendKey{*address, static_cast<std::uint16_t>(*port)};
}

std::optional<Protocol> protocol(std::string_view word) {
    if (word == "TCP") return Protocol::tcp;
    if (word == "UDP") return Protocol::udp;
    if (word == "SCTP") return Protocol::sctp;
    if (!word.starts_with("IP_")) return std::nullopt;
    const auto n = number(word.substr(3), 10);
    return n && *n <= 255 ? std::optional(static_cast<Protocol>(*n)) : std::nullopt;
}

std::string_view word_for(Forward f) {
    switch (f) {
        case Forward::nat:
        case Forward::bypass: return "Masq";  // so it does
        case Forward::dr: return "Route";
        case Forward::tun: return "Tunnel";
        case Forward::local: return "Local";
    }
    return "";
}

std::uint32_t netmask_shown(Family f, std::uint8_t granularity) {
    if (f == Family::ipv6) return ntohl(granularity ? granularity : 128u);  // printed as if it were a mask
    return granularity ? 0xFFFFFFFFu << (32 - granularity) : 0xFFFFFFFFu;
}

// Walks the text once; each line must find its entry in the table.
class Comparison {
public:
    Comparison(const Table& table, std::uint32_t ticks) : ticks_per_second(ticks), table_(table) {}

    bool line(std::string_view line) {
        const auto first = next_word(line);
        if (first == "->") return backend(line);
        return ends_complete() && service(first, line);
    }
    bool complete() const { return ends_complete() && services_ == table_.size(); }

    std::uint32_t ticks_per_second;

private:
    bool ends_complete() const { return !entry_ || backends_ == entry_->second.backends.size(); }

    Table::const_iterator find_mark(std::uint32_t mark) {
        const auto v4 = table_.find(Fwmark{mark, Family::ipv4}), v6 = table_.find(Fwmark{mark, Family::ipv6});
        if (v4 != table_.end() && v6 != table_.end()) return table_.end();  // the text cannot tell them apart
        if (!marks_.insert(mark).second) return table_.end();
        return v4 != table_.end() ? v4 : v6;
    }
    Table::const_iterator find(std::string_view kind, std::string_view where) {
        if (kind == "FWM") {
            const auto mark = number(where, 16);
            return mark ? find_mark(*mark) : table_.end();
        }
        const auto transport = protocol(kind);
        const auto at = endpoint(where);
        if (!transport || !at) return table_.end();
        return table_.find(Place{*transport, at->address, at->port});
    }
    bool service(std::string_view kind, std::string_view line) {
        const auto found = find(kind, next_word(line));
        if (found == table_.end()) return false;
        entry_ = &*found;
        backends_ = 0;
        ++services_;
        const auto& s = found->second.service;
        if (next_word(line) != s.scheduler) return false;
        auto word = next_word(line);
        const bool one_packet = word == "ops";
        if (one_packet) word = next_word(line);
        const bool shows_one_packet = kind == "FWM" || family(found->first) == Family::ipv4;
        if (shows_one_packet && one_packet != s.one_packet) return false;
        if (word.empty()) return s.persistence == 0;
        return word == "persistent" && persistent(line, s, family(found->first));
    }
    bool persistent(std::string_view line, const Service& s, Family f) {
        const auto ticks = number(next_word(line), 10);
        const auto mask = number(next_word(line), 16);
        if (!ticks || !mask || s.persistence == 0 || s.granularity == odd_granularity) return false;
        if (*ticks % s.persistence != 0 || *mask != netmask_shown(f, s.granularity)) return false;
        const auto rate = *ticks / s.persistence;
        if (ticks_per_second == 0 && (rate == 100 || rate == 250 || rate == 300 || rate == 1000))
            ticks_per_second = rate;
        return rate == ticks_per_second;
    }
    bool backend(std::string_view line) {
        if (!entry_) return false;
        const auto key = endpoint(next_word(line));
        if (!key) return false;
        const auto found = entry_->second.backends.find(*key);
        if (found == entry_->second.backends.end()) return false;
        ++backends_;
        if (next_word(line) != word_for(found->second.forward)) return false;
        return number(next_word(line), 10) == found->second.weight;
    }

    const Table& table_;
    const Table::value_type* entry_ = nullptr;
    std::size_t services_ = 0, backends_ = 0;
    std::set<std::uint32_t> marks_;
};

}  // namespace

bool ProcTable::shows(std::string_view text, const Table& table) {
    for (int heading = 0; heading < 3; ++heading) next_line(text);
    Comparison comparison(table, ticks_per_second_);
    while (!text.empty())
        if (!comparison.line(next_line(text))) return false;
    if (!comparison.complete()) return false;
    ticks_per_second_ = comparison.ticks_per_second;
    return true;
}

}  // namespace koi::ipvs
