#include "tests/lab/attacker.h"

#include <algorithm>
#include <span>

namespace koi::lab {

namespace {

using Bytes = std::vector<std::uint8_t>;

constexpr std::size_t at_checksum = 6, at_counter = 8, balance_size = 4;

// FNV-1a, without the trailer's balance: that says nothing, and the tag does not cover it.
std::uint64_t print_of(const Packet& p) {
    std::uint64_t hash = 0xCBF29CE484222325u;
    const auto add = [&](std::span<const std::uint8_t> bytes) {
        for (const auto b : bytes) hash = (hash ^ b) * 0x100000001B3u;
    };
    add(p.envelope.source.bytes());
    add(p.envelope.destination.bytes());
    const bool whole = p.payload.size() <= carp::advert_size + balance_size;
    add(std::span(p.payload).first(p.payload.size() - (whole ? 0 : balance_size)));
    return hash;
}

std::uint64_t counter_of(const Packet& p) {
    std::uint64_t counter = 0;
    for (std::size_t i = 0; i < 8; ++i) counter = counter << 8 | p.payload[at_counter + i];
    return counter;
}

void put_sum(Bytes& bytes, std::size_t at, std::span<const std::uint8_t> over) {
    bytes[at] = bytes[at + 1] = 0;
    const auto sum = static_cast<std::uint16_t>(~carp::internet_sum(over));
    bytes[at] = static_cast<std::uint8_t>(sum >> 8);
    bytes[at + 1] = static_cast<std::uint8_t>(sum & 0xFF);
}

// Whoever edits a packet can also make its sums right again.
void mend_sums(Bytes& bytes) {
    const std::span all(bytes);
    put_sum(bytes, at_checksum, all.first(carp::advert_size));
    if (bytes.size() > carp::advert_size + balance_size)
        put_sum(bytes, bytes.size() - balance_size, all.subspan(carp::advert_size));
}

}  // namespace

Attacker::Attacker(Lab& lab, std::uint64_t seed) : lab_(lab), dice_(seed) {
    lab_.watch_packets([this](const Packet& p) {
        genuine_.insert(print_of(p));
        records_.push_back(p);
    });
}

void Attacker::watch(Node& n) {
    n.watch_accepted([this, &n](const Packet& p) { accepted(n, p); });
}

void Attacker::strike() {
    if (records_.empty()) return;
    const auto& nodes = lab_.nodes();
    const Node& to = *nodes[static_cast<std::size_t>(dice_.between(0, static_cast<int>(nodes.size()) - 1))];
    Packet packet = any_record();
    if (dice_.chance(60)) packet = edited(std::move(packet));
    const bool genuine = is_genuine(packet);
    if (genuine && counter_of(packet) > newest(to, packet)) return;
    ++(genuine ? replayed_ : forged_);
    lab_.inject(packet, to);
}

// Often one of the last.
const Packet& Attacker::any_record() {
    const int last = static_cast<int>(records_.size()) - 1;
    const int first = dice_.chance(50) ? std::max(0, last - 20) : 0;
    return records_[static_cast<std::size_t>(dice_.between(first, last))];
}

Packet Attacker::edited(Packet p) {
    const auto flip = [&](int from, int to) {
        const auto at = static_cast<std::size_t>(dice_.between(from, to));
        p.payload[at] = static_cast<std::uint8_t>(p.payload[at] ^ dice_.between(1, 255));
    };
    const int size = static_cast<int>(p.payload.size()), head = static_cast<int>(carp::advert_size);
    switch (dice_.between(0, 5)) {
        case 0: p.payload.resize(carp::advert_size); break;     // a plain advert
        case 1: flip(2, 5); break;                              // skew, authlen, demotion, base
        case 2: flip(static_cast<int>(at_counter), 15); break;  // the counter
        case 3: flip(head, size - 1); break;                    // the trailer
        case 4: p.envelope.source = any_record().envelope.source; break;
        case 5: {  // the trailer of another one
            const Packet& other = any_record();
            p.payload.resize(carp::advert_size);
            p.payload.insert(p.payload.end(), other.payload.begin() + head, other.payload.end());
            break;
        }
    }
    if (dice_.chance(90)) mend_sums(p.payload);
    return p;
}

bool Attacker::is_genuine(const Packet& p) const { return genuine_.contains(print_of(p)); }

std::uint64_t Attacker::newest(const Node& n, const Packet& p) const {
    const auto at = newest_.find({n.place(), p.envelope.source});
    return at == newest_.end() ? 0 : at->second;
}

void Attacker::accepted(const Node& n, const Packet& p) {
    const bool old = counter_of(p) <= newest(n, p);
    if (broken_.empty() && !is_genuine(p)) broken_ = n.name() + " accepted a forged packet";
    if (broken_.empty() && old) broken_ = n.name() + " accepted a packet that it had heard before";
    if (!old) newest_[{n.place(), p.envelope.source}] = counter_of(p);
    if (!broken_.empty() && broken_.find(" at ") == std::string::npos)
        broken_ +=
            " at " + std::to_string(lab_.now().time_since_epoch().count()) + " us, from " + p.envelope.source.text();
}

}  // namespace koi::lab
