// supervisor/base/bytes.h
//
// Values ↔ bytes, for the messages Koi's own processes send each other. Whole numbers are big-endian, a string is its
// length (u32) and its bytes, an address is its family (4 or 6) and 4 or 16 bytes.
//
// Promises: pure; what a Writer wrote a Reader reads. A Reader never reads past the end. The first read that fails,
// or that finds a value which no Writer writes (a boolean of 7, an IPv4 prefix of 40 bits, port 0), makes it bad();
// it stays bad, and every later read gives a zero value. So read a whole message first and ask complete() once:
//
//     Reader in(message);
//     Heartbeat beat{.counter = in.u64(), .ready = in.boolean()};
//     if (!in.complete()) return Error{"the worker sent a heartbeat that makes no sense"};
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "supervisor/base/address.h"
#include "supervisor/base/clock.h"

namespace koi {

class Writer {
public:
    Writer& u8(std::uint8_t);
    Writer& u16(std::uint16_t);
    Writer& u32(std::uint32_t);
    Writer& u64(std::uint64_t);
    Writer& i64(std::int64_t);
    Writer& boolean(bool);
    Writer& count(std::size_t);  // how many things follow (u32)
    Writer& string(std::string_view);
    Writer& bytes(std::span<const std::uint8_t>);
    Writer& raw(std::span<const std::uint8_t>);  // without a count
    Writer& address(const IpAddress&);
    Writer& prefix(const Prefix&);
    Writer& endpoint(const Endpoint&);
    Writer& duration(Duration d) { return i64(d.count()); }
    Writer& instant(Instant t) { return i64(t.time_since_epoch().count()); }

    const std::vector<std::uint8_t>& written() const { return out_; }
    std::vector<std::uint8_t> take() { return std::move(out_); }

private:
    std::vector<std::uint8_t> out_;
};

class Reader {
public:
    static constexpr std::size_t longest_string = 1u << 20;

    // The bytes stay the caller's and must outlive the Reader.
    explicit Reader(std::span<const std::uint8_t> in) : in_(in) {}

    std::uint8_t u8();
    std::uint16_t u16();
    std::uint32_t u32();
    std::uint64_t u64();
    std::int64_t i64();
    bool boolean();
    // Never more than there are bytes left, so it may be given to reserve().
    std::size_t count();
    std::string string(std::size_t longest = longest_string);
    std::vector<std::uint8_t> bytes(std::size_t longest = longest_string);
    IpAddress address();
    Prefix prefix();
    Endpoint endpoint();
    Duration duration() { return Duration(i64()); }
    Instant instant() { return Instant(duration()); }

    std::size_t left() const { return in_.size(); }
    bool bad() const { return bad_; }
    bool complete() const { return !bad_ && in_.empty(); }  // all was read, and all made sense
    // For a reader of messages that finds an enumerator which cannot be.
    void make_bad();

private:
    std::uint64_t number(std::size_t size);
    std::span<const std::uint8_t> part(std::size_t size);  // empty if there is less
    std::span<const std::uint8_t> counted(std::size_t longest);

    std::span<const std::uint8_t> in_;
    bool bad_ = false;
};

}  // namespace koi
