#include "discovery/backend_list.h"

#include <charconv>

#include "discovery/quote.h"

namespace koi::discovery {

namespace {

constexpr std::size_t most_complaints = 20;  // of one file; nobody reads more before the first are mended

std::optional<std::int64_t> whole_number(std::string_view text) {
    std::int64_t n = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return n;
}

template <class Number>
std::optional<Number> bounded(std::string_view text) {
    const auto n = whole_number(text);
    return n ? Number::of(*n) : std::nullopt;
}

constexpr const char* weight_range = " is not a weight: a whole number from 0 to 65535";
constexpr const char* port_range = " is not a port: a whole number from 1 to 65535";

}  // namespace

void BackendList::complain(Spot spot, std::string what) {
    if (complaints_.size() < most_complaints)
        complaints_.push_back({.line = spot.line, .column = spot.column, .what = std::move(what)});
    else
        ++more_complaints_;
}

// Complains about a thing once and reads over all that is in it.
void BackendList::skip(Spot spot, std::string what) {
    if (!what.empty()) complain(spot, std::move(what));
    resume_ = where_;
    where_ = Where::unwanted;
    unwanted_depth_ = 1;
}

void BackendList::begin_list(Spot spot) {
    switch (where_) {
        case Where::unwanted: ++unwanted_depth_; return;
        case Where::before: where_ = Where::list; return;
        case Where::top_map:
            if (key_.empty()) return skip(spot, "");
            wrapped_ = true;
            where_ = Where::list;
            return;
        case Where::item:
            item_.spoiled = true;
            return skip(spot, key_.empty() ? "" : "\"" + key_ + "\" must be one value, not a list");
        case Where::list:
            return skip(
                spot,
                "a backend must be \"ip:port\" or a map, not a list; in YAML an address in brackets needs quotes");
        case Where::after: return skip(spot, "one list is enough");
    }
}

void BackendList::end_list() {
    if (where_ == Where::unwanted) {
        if (--unwanted_depth_ == 0) where_ = resume_;
        return;
    }
    where_ = wrapped_ ? Where::top_map : Where::after;
}

void BackendList::begin_map(Spot spot) {
    switch (where_) {
        case Where::unwanted: ++unwanted_depth_; return;
        case Where::before: where_ = Where::top_map; return;
        case Where::list: return begin_item(spot);
        case Where::top_map: return skip(spot, key_.empty() ? "" : "\"backends\" must be a list, not a map");
        case Where::item:
            item_.spoiled = true;
            return skip(spot, key_.empty() ? "" : "\"" + key_ + "\" must be one value, not a map");
        case Where::after: return skip(spot, "one list is enough");
    }
}

void BackendList::end_map() {
    switch (where_) {
        case Where::unwanted:
            if (--unwanted_depth_ == 0) where_ = resume_;
            return;
        case Where::item: return end_item();
        default:
            if (!wrapped_) complain({1, 1}, "a map without \"backends\"; an empty list is written backends: []");
            where_ = Where::after;
    }
}

void BackendList::key(Spot spot, std::string_view word) {
    if (where_ == Where::item) return item_key(spot, word);
    if (where_ != Where::top_map) return;
    const bool known = word == "backends";
    key_ = known && !wrapped_ ? "backends" : "";
    if (!known) complain(spot, "unknown key " + shown(word) + "; the list belongs under \"backends\"");
    if (known && wrapped_) complain(spot, "\"backends\" is there twice");
}

void BackendList::scalar(Spot spot, std::string_view text) {
    switch (where_) {
        case Where::item: return item_value(spot, text);
        case Where::list: {
            const auto read = read_member(text);
            if (const auto* member = std::get_if<Member>(&read)) return add(*member, spot);
            const auto& fault = std::get<MemberFault>(read);
            return complain({spot.line, spot.column + static_cast<unsigned>(fault.at)}, fault.why);
        }
        case Where::top_map:
            if (!key_.empty()) {
                complain(spot, "\"backends\" must be a list; an empty list is written []");
                wrapped_ = true;
            }
            return;
        case Where::before:
            where_ = Where::after;
            return complain(spot, "must be a list of backends, not " + shown(text));
        case Where::unwanted:
        case Where::after: return;
    }
}

void BackendList::begin_item(Spot spot) {
    item_ = Item{.spot = spot, .address = {}, .port = {}, .weight = {}};
    key_.clear();
    where_ = Where::item;
}

void BackendList::item_key(Spot spot, std::string_view word) {
    bool* seen = word == "address"  ? &item_.has_address
                 : word == "port"   ? &item_.has_port
                 : word == "weight" ? &item_.has_weight
                                    : nullptr;
    key_ = seen && !*seen ? word : "";
    if (!key_.empty()) {
        *seen = true;
        return;
    }
    item_.spoiled = true;
    complain(spot, seen ? shown(word) + " is there twice"
                        : "unknown key " + shown(word) + "; a backend has \"address\", \"port\" and \"weight\"");
}

void BackendList::item_value(Spot spot, std::string_view text) {
    std::string wrong;
    if (key_ == "address") {
        item_.address = IpAddress::parse(text);
        if (!item_.address) {
            wrong = shown(text) + " is not an IP address";
            if (Endpoint::parse(text)) wrong += "; its port belongs under \"port\"";
        } else {
            wrong = why_unusable(*item_.address);
        }
    } else if (key_ == "port") {
        item_.port = bounded<Port>(text);
        if (!item_.port) wrong = shown(text) + port_range;
    } else if (key_ == "weight") {
        item_.weight = bounded<Weight>(text);
        if (!item_.weight) wrong = shown(text) + weight_range;
    }
    if (wrong.empty()) return;
    item_.spoiled = true;
    complain(spot, wrong);
}

void BackendList::end_item() {
    where_ = Where::list;
    if (!item_.has_address) return complain(item_.spot, "a backend without \"address\"");
    if (!item_.spoiled) add({.address = *item_.address, .port = item_.port, .weight = item_.weight}, item_.spot);
}

void BackendList::add(const Member& member, Spot spot) {
    if (members_.size() == most_members)
        complain(spot, "more than " + std::to_string(most_members) + " backends in one pool");
    if (members_.size() <= most_members) members_.push_back(member);
}

Parsed BackendList::finish() {
    if (where_ == Where::before)
        complain({}, "empty, which is what a half-written file looks like; an empty list is written []");
    if (more_complaints_ > 0) complaints_.push_back({.what = "and " + std::to_string(more_complaints_) + " more"});
    if (!complaints_.empty()) return std::move(complaints_);
    return std::move(members_);
}

std::string why_unusable(const IpAddress& address) {
    constexpr std::uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};
    const auto bytes = address.bytes();
    const auto say = [&](const char* why) { return address.text() + why; };
    if (address.is_unspecified()) return say(" is no address of a backend");
    if (address.is_multicast()) return say(" is a multicast address; a backend needs its own");
    if (address.is_v4() && bytes[0] == 255 && bytes[1] == 255 && bytes[2] == 255 && bytes[3] == 255)
        return say(" is the broadcast address; a backend needs its own");
    if (address.is_v4()) return "";
    if (address.is_link_local())
        return say(" is link-local, which ip_vs cannot reach; use a global or unique local address");
    if (std::equal(std::begin(mapped), std::end(mapped), bytes.begin()))
        return say(" is an IPv4 address in IPv6 clothes; write it as IPv4");
    return "";
}

std::variant<Member, MemberFault> read_member(std::string_view text) {
    constexpr std::string_view blanks = " \t";
    const auto begin = std::min(text.find_first_not_of(blanks), text.size());
    const auto end = std::min(text.find_first_of(blanks, begin), text.size());
    const auto place = text.substr(begin, end - begin);
    if (place.empty()) return MemberFault{begin, "no address"};

    Member member;
    const bool bracketed = place.front() == '[' && place.back() == ']';
    if (const auto endpoint = Endpoint::parse(place)) {
        member.address = endpoint->address;
        member.port = endpoint->port;
    } else if (const auto address = IpAddress::parse(bracketed ? place.substr(1, place.size() - 2) : place);
               address && !(bracketed && address->is_v4())) {
        member.address = *address;
    } else {
        return MemberFault{begin, shown(place) + " is not an address"};
    }
    if (auto why = why_unusable(member.address); !why.empty()) return MemberFault{begin, std::move(why)};

    const auto second = text.find_first_not_of(blanks, end);
    if (second == std::string_view::npos) return member;
    const auto stop = std::min(text.find_first_of(blanks, second), text.size());
    const auto word = text.substr(second, stop - second);
    member.weight = bounded<Weight>(word);
    if (!member.weight) return MemberFault{second, shown(word) + weight_range};
    if (const auto third = text.find_first_not_of(blanks, stop); third != std::string_view::npos)
        return MemberFault{third, "nothing may follow the weight; a comment begins with #"};
    return member;
}

}  // namespace koi::discovery
