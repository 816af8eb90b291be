// ipvs/kernel/wire.h
//
// The table and its changes as bytes of the kernel's IPVS generic-netlink family. Pure: bytes in, values out, nothing
// is sent. The only file that knows attribute numbers (linux/ip_vs.h), byte orders and flags (facts: ipvs.md 1.1
// to 1.3).
//
// Promises: what append() writes, decode_service() and decode_backend() read back as equal values. Decoding survives
// anything: bytes that make no sense are nullopt, never a crash.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "ipvs/diff.h"
#include "ipvs/table.h"

namespace koi::ipvs::wire {

using Bytes = std::vector<std::byte>;
using View = std::span<const std::byte>;

inline constexpr char family_name[] = "IPVS";

// Where a message goes and how its answer is recognised.
struct Envelope {
    std::uint16_t family = 0;  // the number the kernel gave the name "IPVS"
    std::uint32_t sequence = 0;
};

// Appends one whole message and tells where in `out` it begins. No answer is asked for; an error is answered anyway.
std::size_t append(Bytes& out, const Change&, Envelope);
std::size_t append_list_services(Bytes& out, Envelope);                     // answered by one message a service
std::size_t append_list_backends(Bytes& out, const ServiceKey&, Envelope);  // answered by one message a backend
void ask_for_answer(Bytes& out, std::size_t begin);                         // of the message that begins there

// What the kernel sends back, message by message.
struct Reply {
    enum class Kind { row, end, answer, other } kind = Kind::other;
    std::uint32_t sequence = 0;
    int code = 0;  // end, answer: errno, 0 if all went well
    View row;      // row: for decode_service() or decode_backend()
};
// The first message of `rest`, which is moved past it; nullopt if no whole message is left.
std::optional<Reply> next_reply(View& rest, std::uint16_t family);

struct ServiceRow {
    ServiceKey key;
    Service service;
    Traffic traffic;
};
struct BackendRow {
    BackendKey key;
    Backend backend;
    BackendCounters counters;
};
std::optional<ServiceRow> decode_service(View row);
std::optional<BackendRow> decode_backend(View row, Family of_service);

}  // namespace koi::ipvs::wire
