// Packets of strangers and of friends. The first byte chooses what two nodes are like that listen, one with auth
// `require` and one with `prefer`, and what the rest is: one packet as it is, or, because no fuzzer guesses a tag, a
// script of a wire: packets that a friend signs with our key or with another, keeps, edits, cuts, sends from
// elsewhere or says again, and time that passes.
//
// Laws:
//   Whatever bytes come, decode() and read_trailer() answer; what they read can be written and read again.
//   A tag fits only what a friend signed with that key for that way.
//   With `require` a node accepts nothing else, and nothing twice or backwards; with `prefer` it also accepts a plain
//   advert with the right digest, unless its source has shown a valid trailer within a day.
//   What a friend says, fresh and in order, is accepted by both.
//   What is refused is counted and moves nothing; a presence changes no role.
#include <algorithm>
#include <array>
#include <map>
#include <utility>
#include <vector>

#include "carp/instance.h"
#include "supervisor/base/check.h"

namespace {

using namespace koi;
using namespace koi::carp;

using Bytes = std::vector<std::uint8_t>;
using View = std::span<const std::uint8_t>;

IpAddress ip(const char* text) { return *IpAddress::parse(text); }

const Vhid vhid = *Vhid::of(51);
const std::vector<IpAddress> vips = {ip("10.77.0.100"), ip("fd77::100")};
constexpr const char* password = "lab";
constexpr std::uint64_t our_id = 7, year_2026 = 1'767'225'600'000'000;
const IpAddress our_v4 = ip("10.77.0.9"), our_v6 = ip("fe80::9");
const std::array<Envelope, 8> ways = {{
    {ip("10.77.0.1"), ip("224.0.0.18"), 255},
    {ip("fe80::1"), ip("ff02::12"), 255},
    {ip("10.77.0.2"), ip("224.0.0.18"), 255},
    {ip("10.77.0.1"), our_v4, 255},
    {ip("fe80::2"), our_v6, 255},
    {our_v4, ip("224.0.0.18"), 255},
    {ip("10.77.0.1"), ip("224.0.0.18"), 254},
    {ip("10.77.0.200"), ip("224.0.0.18"), 255},
}};
const std::array<std::string, 3> secrets = {std::string(32, 'a'), std::string(32, 'b'), std::string(32, 'c')};
const std::array<Hmac, 3> keys = {Hmac(Hash::sha256, secrets[0]), Hmac(Hash::sha256, secrets[1]),
                                  Hmac(Hash::sha256, secrets[2])};
const Seal seal(vhid, vips, password, LinkLocal::exclude);

// The input, taken from its front. Zeros follow its end.
class Input {
public:
    explicit Input(View bytes) : rest_(bytes) {}
    bool empty() const { return rest_.empty(); }
    std::uint8_t u8() {
        if (rest_.empty()) return 0;
        const auto byte = rest_.front();
        rest_ = rest_.subspan(1);
        return byte;
    }
    std::uint16_t u16() {
        const auto high = u8();
        return static_cast<std::uint16_t>(high << 8 | u8());
    }
    View bytes(std::size_t most) {
        const auto taken = rest_.first(std::min(most, rest_.size()));
        rest_ = rest_.subspan(taken.size());
        return taken;
    }

private:
    View rest_;
};

// What friends have signed: the bytes, the way, and the secret.
struct Said {
    Bytes payload;
    Envelope way;
    std::size_t secret;
    std::uint8_t key;
};
// The same, as far as a tag covers it: not the four bytes behind it, and not the TTL, which decode() asks for.
bool is_same(const Said& said, View payload, const Envelope& way) {
    return said.payload.size() == payload.size() && said.way.source == way.source &&
           said.way.destination == way.destination &&
           std::ranges::equal(View(said.payload).first(payload.size() - 4), payload.first(payload.size() - 4));
}

// ---- Each packet for itself ----

bool is(const std::variant<Advert, Refusal>& decoded, const Advert& advert) {
    return std::holds_alternative<Advert>(decoded) && std::get<Advert>(decoded) == advert;
}

void look_at_advert(View bytes, const Envelope& envelope) {
    const auto decoded = decode(bytes, envelope);
    if (const auto* why = std::get_if<Refusal>(&decoded)) {
        KOI_CHECK(to_string(*why) != "?");
        return;
    }
    const auto& advert = std::get<Advert>(decoded);
    const auto plain = encode(advert), pseudo = encode_pseudo(advert, envelope);
    KOI_CHECK(is(decode(plain, envelope), advert));
    KOI_CHECK(is(decode(pseudo, envelope), advert));
    // Type, authlen and the two ways to sum are free; where they are ours, so is every byte. A sum of zero has two
    // spellings (RFC 1071), and ours is 0x0000.
    const bool ours = bytes[0] == 0x21 && bytes[3] == 7 && !(bytes[6] == 0xFF && bytes[7] == 0xFF);
    const auto head = bytes.first(advert_size);
    KOI_CHECK(!ours || std::ranges::equal(plain, head) || std::ranges::equal(pseudo, head));
}

void look_at_trailer(View payload, const Envelope& way, const std::vector<Said>& said) {
    const auto read = read_trailer(payload);
    if (const auto* why = std::get_if<Refusal>(&read)) KOI_CHECK(*why == Refusal::bad_trailer);
    const auto* trailer = std::get_if<Trailer>(&read);
    if (!trailer) return;
    const auto again = with_trailer(payload.first(advert_size), *trailer, keys[0], way);
    KOI_CHECK(again.size() == payload.size());
    const auto read_again = read_trailer(again);
    KOI_CHECK(std::holds_alternative<Trailer>(read_again) && std::get<Trailer>(read_again) == *trailer);
    KOI_CHECK(tag_fits(again, keys[0], way) && !tag_fits(again, keys[1], way));
    for (std::size_t i = 0; i < keys.size(); ++i)
        KOI_CHECK(tag_fits(payload, keys[i], way) == std::ranges::any_of(said, [&](const Said& s) {
                      return s.secret == i && is_same(s, payload, way);
                  }));
}

// ---- A node that listens ----

bool same(const State& a, const State& b) {
    return a.role == b.role && a.deadline == b.deadline && a.counts_from == b.counts_from && a.since == b.since &&
           a.may_preempt == b.may_preempt && a.demotion == b.demotion && a.stepped_down == b.stepped_down &&
           a.bow_out_pending == b.bow_out_pending && a.master == b.master && a.master_claim == b.master_claim &&
           a.master_interval == b.master_interval && a.last_heard == b.last_heard && a.tied_over_v6 == b.tied_over_v6;
}

struct Time {
    Instant now{100s};
    WallTime wall{year_2026, true};
    void pass(Duration d) {
        now += d;
        wall.us += static_cast<std::uint64_t>(d.count());
    }
};

class Node {
public:
    Node(Auth::Mode mode, std::uint8_t chosen, const Time& time)
        : settings_(settings(mode, chosen)), counter_({our_id, 0, 0}), instance_(settings_, counter_) {
        instance_.own_address(our_v4);
        instance_.own_address(our_v6);
        perform(instance_.start(time.now), time);
        if ((chosen & 8) == 0) return;
        const Time later{instance_.deadline(), time.wall};
        perform(instance_.take(DeadlinePassed{}, later.now), later);
        KOI_CHECK(instance_.state().role == Role::master);
    }

    void hear(View payload, const Envelope& way, const Time& time, const std::vector<Said>& said) {
        const auto decoded = decode(payload, way);
        const auto* advert = std::get_if<Advert>(&decoded);
        if (!advert) return;
        const auto state = instance_.state();
        const auto counters = instance_.counters();
        const bool overslept = instance_.overslept(time.now);
        const auto heard = instance_.hear(*advert, {way, {payload.begin(), payload.end()}}, time.now, time.wall);
        if (heard.refused) {
            KOI_CHECK(heard.deeds.empty() && same(state, instance_.state()));
            auto counted = counters;
            ++counted.refused[static_cast<std::size_t>(*heard.refused)];
            KOI_CHECK(counted == instance_.counters());
            KOI_CHECK(!is_fresh(payload, *advert, way, time, said));
            return;
        }
        KOI_CHECK(instance_.counters().accepted == counters.accepted + (advert->presence ? 0 : 1));
        KOI_CHECK(advert->vhid == vhid && way.source != our_v4 && way.source != our_v6);
        if (heard.trailer) {
            KOI_CHECK(by_friend(payload, way, said) && heard.trailer->sender != our_id);
            const auto [last, is_first] = last_.try_emplace({heard.trailer->sender, way.source.family()}, 0);
            KOI_CHECK(is_first || advert->counter > last->second || last_.size() >= table);
            last->second = advert->counter;
            if (!is_legacy(way.source)) shown_[way.source] = time.now;
        } else {
            const auto shown = shown_.find(way.source);
            KOI_CHECK(settings_.auth.mode == Auth::Mode::prefer && seal.accepts(*advert) && !advert->presence);
            KOI_CHECK(settings_.auth.legacy_peers.empty() || is_legacy(way.source));
            KOI_CHECK(shown == shown_.end() || time.now - shown->second >= 24h);
        }
        KOI_CHECK(!advert->presence || overslept || state.role == instance_.state().role);
        perform(heard.deeds, time);
    }

    void pass(const Time& time) {
        perform(instance_.wake(time.now), time);
        if (instance_.deadline() <= time.now) perform(instance_.take(DeadlinePassed{}, time.now), time);
    }

private:
    static constexpr std::size_t table = 2 * Replay::most_senders;

    static Settings settings(Auth::Mode mode, std::uint8_t chosen) {
        Settings s;
        s.vhid = vhid;
        s.interface = "eth0";
        s.addresses = vips;
        s.password = password;
        s.advskew = *Advskew::of(100);
        s.auth.mode = mode;
        s.auth.keys = {{1, secrets[0]}};
        if (chosen & 1) s.auth.keys.emplace(2, secrets[1]);
        if ((chosen & 2) && mode == Auth::Mode::prefer) s.auth.legacy_peers = {ways[0].source, ways[7].source};
        if (chosen & 4) s.interval = 250ms;
        s.preempt = (chosen & 16) == 0;
        return s;
    }
    bool is_legacy(const IpAddress& a) const {
        return std::ranges::find(settings_.auth.legacy_peers, a) != settings_.auth.legacy_peers.end();
    }
    bool by_friend(View payload, const Envelope& way, const std::vector<Said>& said) const {
        return std::ranges::any_of(said, [&](const Said& s) {
            const auto key = settings_.auth.keys.find(s.key);
            return is_same(s, payload, way) && key != settings_.auth.keys.end() && key->second == secrets[s.secret];
        });
    }
    // Nobody may refuse this.
    bool is_fresh(View payload, const Advert& advert, const Envelope& way, const Time& time,
                  const std::vector<Said>& said) const {
        if (advert.vhid != vhid || way.source == our_v4 || way.source == our_v6) return false;
        const auto read = read_trailer(payload);
        const auto* trailer = std::get_if<Trailer>(&read);
        if (!trailer || trailer->sender == our_id || !by_friend(payload, way, said)) return false;
        // Over one family nothing may be far behind the other one.
        for (const auto family : {Family::ipv4, Family::ipv6})
            if (const auto other = last_.find({trailer->sender, family});
                other != last_.end() && advert.counter + 5'000'000 < other->second)
                return false;
        const auto last = last_.find({trailer->sender, way.source.family()});
        if (last != last_.end()) return advert.counter > last->second && last_.size() < table;
        const auto apart = std::max(advert.counter, time.wall.us) - std::min(advert.counter, time.wall.us);
        return last_.size() < table && (!trailer->clock || apart < 300'000'000);
    }
    void perform(const std::vector<Deed>& deeds, const Time& time) {
        for (const auto& deed : deeds) {
            const auto* send = std::get_if<Send>(&deed);
            if (!send) continue;
            const Envelope way{our_v4, ways[0].destination, 255};
            const auto bytes = instance_.bytes(*send, way, time.now, time.wall);
            const auto decoded = decode(bytes, way);
            KOI_CHECK(std::holds_alternative<Advert>(decoded) && seal.accepts(std::get<Advert>(decoded)));
            KOI_CHECK(tag_fits(bytes, keys[settings_.auth.keys.size() - 1], way));
            instance_.advert_left(time.now);
        }
    }

    Settings settings_;
    Counter counter_;
    Instance instance_;
    std::map<std::pair<std::uint64_t, Family>, std::uint64_t> last_;
    std::map<IpAddress, Instant> shown_;
};

// ---- The wire ----

// A fuzzer seldom guesses a checksum, so it is helped.
void put_sum(std::span<std::uint8_t> bytes, std::size_t at) {
    bytes[at] = bytes[at + 1] = 0;
    const auto sum = static_cast<std::uint16_t>(~internet_sum(bytes.first(bytes.size() & ~std::size_t{1})));
    bytes[at] = static_cast<std::uint8_t>(sum >> 8);
    bytes[at + 1] = static_cast<std::uint8_t>(sum);
}

Bytes summed(View bytes) {
    Bytes out(bytes.begin(), bytes.end());
    if (out.size() < advert_size) return out;
    put_sum(std::span(out).first(advert_size), 6);
    if (const auto trailer = std::span(out).subspan(advert_size); trailer.size() >= 4)
        put_sum(trailer, (trailer.size() & ~std::size_t{1}) - 4);
    return out;
}

class Wire {
public:
    explicit Wire(std::uint8_t chosen)
        : require_(Auth::Mode::require, chosen, time_), prefer_(Auth::Mode::prefer, chosen, time_) {
        if (chosen & 32) time_.wall.synchronised = false;
    }

    void carry(View payload, const Envelope& way) {
        look_at_advert(payload, way);
        look_at_trailer(payload, way, said_);
        require_.hear(payload, way, time_, said_);
        prefer_.hear(payload, way, time_, said_);
    }
    void carry(const Said& said) { carry(said.payload, said.way); }
    void play(Input in) {
        for (int i = 0; i < 64 && !in.empty(); ++i) {
            const auto what = in.u8();
            if (what == 0xFD) {
                crowd(in.u8());
                continue;
            }
            switch (what % 8) {
                case 0: carry_raw(what, in); break;
                case 1: (void)sign(in); break;  // kept back
                case 2:
                case 3: edit(what, in); break;
                case 4: pass(in); break;
                default: carry(sign(in)); break;
            }
        }
    }

private:
    void carry_raw(std::uint8_t what, Input& in) {
        const auto& way = ways[in.u8() % ways.size()];
        const auto payload = in.bytes(in.u8());
        carry(what & 8 ? summed(payload) : Bytes(payload.begin(), payload.end()), way);
    }
    const Said& sign(Input& in) {
        const auto who = in.u8(), secret = in.u8(), shape = in.u8(), flags = in.u8();
        Advert advert;
        advert.vhid = shape & 1 ? *Vhid::of(52) : vhid;
        advert.presence = (shape & 6) == 6;
        advert.advskew = in.u8();
        advert.advbase = in.u8();
        advert.demotion = in.u8();
        // Near the clock, near the ends of what can be counted, or one more than before.
        const std::array<std::uint64_t, 4> from = {time_.wall.us, counter_ + 1, 0, ~std::uint64_t{0}};
        const std::int64_t add = static_cast<std::int16_t>(in.u16());
        counter_ = from[shape >> 6] + static_cast<std::uint64_t>(add * (shape & 8 ? 1'000'000 : 1));
        advert.counter = counter_;
        if ((shape & 16) == 0) advert.digest = seal.sign(advert.counter);
        Trailer t;
        t.version = shape & 32 ? 1 : 2;
        t.key = static_cast<std::uint8_t>(secret & 128 ? secret : 1 + secret % 3);
        t.leaving = (flags & 1) != 0;
        t.clock = (flags & 2) != 0;
        t.asks = (flags & 4) != 0;
        t.ready = (flags & 8) != 0;
        t.go = (flags & 16) != 0;
        t.sender = who / ways.size();
        t.interval_ms = flags & 32 ? in.u16() : 0;
        t.session = flags & 64 ? in.u16() : 1;
        if (t.version == 2 && (flags & 128)) {
            t.configuration = in.u16();
            t.healthy = in.u16();
            t.backends = in.u16();
            t.to = in.u16();
        }
        const std::size_t with = t.key <= 3 && !(secret & 64) ? t.key - 1u : secret % secrets.size();
        const auto& way = ways[who % ways.size()];
        const auto head = encode(advert);
        said_.push_back({with_trailer(head, t, keys[with], way), way, with, t.key});
        return said_.back();
    }
    // More friends than a node remembers.
    void crowd(std::uint8_t most) {
        for (std::uint8_t i = 0; i < most % 80; ++i) {
            Advert advert;
            advert.vhid = vhid;
            advert.advbase = 1;
            advert.advskew = 200;
            advert.counter = counter_ = time_.wall.us + i;
            advert.digest = seal.sign(advert.counter);
            Trailer t;
            t.sender = 1000u + i;
            const auto& way = ways[i % 2];
            said_.push_back({with_trailer(encode(advert), t, keys[0], way), way, 0, t.key});
            carry(said_.back());
        }
    }
    // What was said before, once more: as it was, or with some bytes changed, cut or added, or on another way.
    void edit(std::uint8_t what, Input& in) {
        if (said_.empty()) return;
        const auto& before = said_[in.u8() % said_.size()];
        Bytes payload = before.payload;
        const auto& way = what & 8 ? ways[in.u8() % ways.size()] : before.way;
        if (what & 16) payload.resize(in.u8() % (payload.size() + 5));
        for (int n = what >> 6; n > 0 && !payload.empty(); --n) {
            const auto at = in.u8() % payload.size();
            payload[at] ^= in.u8();
        }
        carry(what & 32 ? summed(payload) : payload, way);
    }
    void pass(Input& in) {
        const auto much = in.u8();
        time_.pass(std::chrono::milliseconds(in.u8()) * (1 << much % 21));
        require_.pass(time_);
        prefer_.pass(time_);
    }

    Time time_;
    Node require_, prefer_;
    std::vector<Said> said_;
    std::uint64_t counter_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const View rest(data + 1, size - 1);
    Wire wire(data[0]);
    if (data[0] & 128) {
        wire.play(Input(rest));
        return 0;
    }
    for (const auto& way : {ways[0], ways[1]}) {
        wire.carry(rest, way);
        wire.carry(summed(rest), way);
    }
    return 0;
}
