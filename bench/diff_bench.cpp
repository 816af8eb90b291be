// What a table of 1,000 services and 10,000 backends costs without a kernel: compare, print, write as netlink
// messages, read back, and look at /proc/net/ip_vs.
#include <benchmark/benchmark.h>

#include <cstdio>

#include "ipvs/diff.h"
#include "ipvs/kernel/proc_table.h"
#include "ipvs/kernel/wire.h"
#include "tests/unit/ipvs/any_table.h"

namespace koi::ipvs {

namespace {

const Table& table() {
    static const Table made = large_table(1000, 10);
    return made;
}

std::string as_proc_text(const Table& t) {
    std::string out =
        "IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port Scheduler Flags\n  -> "
        "RemoteAddress:Port\n";
    char line[128];
    const auto word = [](const IpAddress& a) {
        const auto b = a.bytes();
        return static_cast<unsigned>(b[0]) << 24 | static_cast<unsigned>(b[1]) << 16 |
               static_cast<unsigned>(b[2]) << 8 | b[3];
    };
    for (const auto& [key, entry] : t) {
        const auto& place = std::get<Place>(key);
        std::snprintf(line, sizeof line, "TCP  %08X:%04X rr  \n", word(place.address), unsigned{place.port});
        out += line;
        for (const auto& [backend, value] : entry.backends) {
            std::snprintf(line, sizeof line, "  -> %08X:%04X      Route   %-6u %-10d %-10d\n", word(backend.address),
                          unsigned{backend.port}, value.weight, 0, 0);
            out += line;
        }
    }
    return out;
}

void diff_of_equal_tables(benchmark::State& state) {
    const Table other = table();
    for (auto _ : state) benchmark::DoNotOptimize(diff(other, table()));
}
BENCHMARK(diff_of_equal_tables)->Unit(benchmark::kMicrosecond);

void diff_from_nothing(benchmark::State& state) {
    for (auto _ : state) benchmark::DoNotOptimize(diff({}, table()));
}
BENCHMARK(diff_from_nothing)->Unit(benchmark::kMicrosecond);

void diff_of_one_weight(benchmark::State& state) {
    Table other = table();
    other.begin()->second.backends.begin()->second.weight = 7;
    for (auto _ : state) benchmark::DoNotOptimize(diff(other, table()));
}
BENCHMARK(diff_of_one_weight)->Unit(benchmark::kMicrosecond);

void print_table(benchmark::State& state) {
    for (auto _ : state) benchmark::DoNotOptimize(print(table()));
}
BENCHMARK(print_table)->Unit(benchmark::kMicrosecond);

void encode_all_changes(benchmark::State& state) {
    const auto changes = diff({}, table());
    wire::Bytes bytes;
    for (auto _ : state) {
        bytes.clear();
        for (const auto& change : changes) wire::append(bytes, change, {.family = 28, .sequence = 1});
        benchmark::DoNotOptimize(bytes.data());
    }
    state.counters["bytes"] = static_cast<double>(bytes.size());
}
BENCHMARK(encode_all_changes)->Unit(benchmark::kMicrosecond);

void decode_all_backends(benchmark::State& state) {
    wire::Bytes bytes;
    for (const auto& [key, entry] : table())
        for (const auto& [backend, value] : entry.backends)
            wire::append(bytes, AddBackend{key, backend, value}, {.family = 28, .sequence = 1});
    for (auto _ : state) {
        wire::View rest(bytes);
        while (const auto reply = wire::next_reply(rest, 28))
            benchmark::DoNotOptimize(wire::decode_backend(reply->row, Family::ipv4));
    }
}
BENCHMARK(decode_all_backends)->Unit(benchmark::kMicrosecond);

void look_at_proc_text(benchmark::State& state) {
    const auto text = as_proc_text(table());
    ProcTable proc;
    for (auto _ : state)
        if (!proc.shows(text, table())) state.SkipWithError("the text does not show the table");
}
BENCHMARK(look_at_proc_text)->Unit(benchmark::kMicrosecond);

}  // namespace

}  // namespace koi::ipvs
