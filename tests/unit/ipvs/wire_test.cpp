#include "ipvs/kernel/wire.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>

#include "tests/unit/ipvs/any_table.h"

namespace koi::ipvs {

namespace {

constexpr std::uint16_t family_number = 28;

wire::Bytes bytes_of(const Change& change) {
    wire::Bytes bytes;
    wire::append(bytes, change, {.family = family_number, .sequence = 5});
    return bytes;
}

std::vector<wire::Reply> replies_in(wire::View datagram) {
    std::vector<wire::Reply> all;
    while (auto reply = wire::next_reply(datagram, family_number)) all.push_back(*reply);
    return all;
}

// What a 6.1 kernel answered. Family 28, little endian.
wire::Bytes captured(const char* name) {
    std::ifstream file(std::string(KOI_SOURCE_DIR "/tests/fuzz/corpus/ipvs_wire/") + name, std::ios::binary);
    const std::string all(std::istreambuf_iterator<char>(file), {});
    wire::Bytes bytes(all.size());
    std::memcpy(bytes.data(), all.data(), all.size());
    return bytes;
}

std::string hex(wire::View bytes) {
    std::string out;
    char two[3];
    for (const auto b : bytes)
        out.append(two, static_cast<std::size_t>(std::snprintf(two, sizeof two, "%02x", static_cast<unsigned>(b))));
    return out;
}

}  // namespace

TEST(Wire, WhatIsWrittenIsRead) {
    for (unsigned seed = 0; seed < 2000; ++seed) {
        std::mt19937 dice(seed);
        for (const auto& [key, entry] : any_table(dice)) {
            const auto bytes = bytes_of(AddService{key, entry.service});
            const auto service = wire::decode_service(replies_in(bytes).at(0).row);
            ASSERT_TRUE(service) << "seed " << seed;
            ASSERT_EQ(service->key, key) << "seed " << seed;
            ASSERT_EQ(service->service, entry.service) << "seed " << seed;
            for (const auto& [backend, value] : entry.backends) {
                const auto more = bytes_of(EditBackend{key, backend, value});
                const auto row = wire::decode_backend(replies_in(more).at(0).row, family(key));
                ASSERT_TRUE(row) << "seed " << seed;
                ASSERT_EQ(row->key, backend) << "seed " << seed;
                ASSERT_EQ(row->backend, value) << "seed " << seed;
            }
        }
    }
}

TEST(Wire, AServiceOfEveryGranularityReadsBack) {
    for (unsigned length = 0; length <= 128; ++length) {
        const Service s{.persistence = 9, .granularity = static_cast<std::uint8_t>(length)};
        const auto six = bytes_of(AddService{tcp("2001:db8::1", 80), s});
        EXPECT_EQ(wire::decode_service(replies_in(six).at(0).row)->service.granularity, length == 128 ? 0 : length);
        if (length > 32) continue;
        const auto four = bytes_of(AddService{tcp("192.0.2.1", 80), s});
        EXPECT_EQ(wire::decode_service(replies_in(four).at(0).row)->service.granularity, length == 32 ? 0 : length);
    }
}

// Byte for byte, so that a slip in both writer and reader is seen. Numbers: linux/ip_vs.h; ports and IPv4 masks are
// in network order, the rest in the host's. Little endian.
TEST(Wire, AMessageLooksLikeThis) {
    if (std::endian::native != std::endian::little) GTEST_SKIP() << "the bytes are those of a little endian host";
    const ServiceKey web = tcp("192.0.2.16", 80);
    EXPECT_EQ(hex(bytes_of(AddService{
                  web, {.scheduler = "mh", .scheduler_flags = 0x18, .persistence = 300, .granularity = 24}})),
              "68000000"
              "1c00"
              "0100"
              "05000000"
              "00000000"  // length, family, request, sequence, port
              "01010000"  // new service, version 1
              "54000180"  // nest: service
              "06000100"
              "02000000"
              "06000200"
              "06000000"  // IPv4, tcp
              "14000300"
              "c0000210"
              "000000000000000000000000"  // address
              "06000400"
              "00500000"  // port 80
              "07000600"
              "6d680000"  // "mh"
              "0c000700"
              "19000000"
              "fdffffff"  // flags and mask
              "08000800"
              "2c010000"
              "08000900"
              "ffffff00");  // 300 s, /24
    const Backend gue{.forward = Forward::tun,
                      .weight = 3,
                      .upper_threshold = 9,
                      .lower_threshold = 4,
                      .tunnel = Tunnel::gue,
                      .tunnel_port = 6080,
                      .tunnel_flags = 1};
    EXPECT_EQ(hex(bytes_of(EditBackend{web, at("fd00::7", 8080), gue})),
              "a4000000"
              "1c00"
              "0100"
              "05000000"
              "00000000"
              "06010000"  // set destination
              "30000180"
              "06000100"
              "02000000"
              "06000200"
              "06000000"
              "14000300"
              "c0000210"
              "000000000000000000000000"
              "06000400"
              "00500000"
              "60000280"  // nest: destination
              "14000100"
              "fd000000000000000000000000000007"
              "06000200"
              "1f900000"  // port 8080
              "06000b00"
              "0a000000"  // IPv6, unlike its service
              "08000300"
              "02000000"
              "08000400"
              "03000000"
              "08000500"
              "09000000"
              "08000600"
              "04000000"  // tun, weight, thresholds
              "05000d00"
              "01000000"
              "06000e00"
              "17c00000"
              "06000f00"
              "01000000");  // gue, port 6080, checksum
    EXPECT_EQ(hex(bytes_of(RemoveService{Fwmark{7, Family::ipv6}})),
              "28000000"
              "1c00"
              "0100"
              "05000000"
              "00000000"
              "03010000"
              "14000180"
              "06000100"
              "0a000000"
              "08000500"
              "07000000");
}

TEST(Wire, AnAnswerIsAskedOfOneMessageOnly) {
    wire::Bytes batch;
    const wire::Envelope to{.family = family_number, .sequence = 1};
    wire::append(batch, RemoveService{tcp("192.0.2.1", 80)}, to);
    const auto second = wire::append(batch, RemoveService{tcp("192.0.2.2", 80)}, to);
    wire::ask_for_answer(batch, second);
    EXPECT_EQ(static_cast<unsigned>(batch[6]), 0x1u);
    EXPECT_EQ(static_cast<unsigned>(batch[second + 6]), 0x5u);
}

TEST(Wire, TheServicesAKernelDescribed) {
    const auto bytes = captured("services-of-6.1");
    Table table;
    Counters counters;
    for (const auto& reply : replies_in(bytes)) {
        const auto row = wire::decode_service(reply.row);
        ASSERT_TRUE(row);
        table[row->key].service = row->service;
        counters[row->key].traffic = row->traffic;
    }
    EXPECT_EQ(print(table),
              "192.0.2.1:80/tcp  mh (mh-port,mh-fallback), persistence 300 s, granularity 24\n"
              "192.0.2.1:5060/udp  rr, persistence 50 s, engine sip\n"
              "[2001:db8::1]:53/udp  sh (sh-port), one-packet\n"
              "fwmark 7 ipv6  rr (flag-1,flag-3)\n");
    const auto& web = counters.at(tcp("192.0.2.1", 80)).traffic;
    EXPECT_EQ(web.connections, 3u);
    EXPECT_EQ(web.packets_in, 21u);
    EXPECT_EQ(web.packets_out, 18u);
    EXPECT_EQ(web.bytes_in, 1170u);
    EXPECT_EQ(web.bytes_out, 2346u);
    EXPECT_EQ(web.bytes_out_per_second, 220u);
}

TEST(Wire, TheBackendsAKernelDescribed) {
    const auto bytes = captured("backends-of-mh");
    std::string told;
    std::uint32_t inactive = 0, persistent = 0;
    for (const auto& reply : replies_in(bytes)) {
        const auto row = wire::decode_backend(reply.row, Family::ipv4);
        ASSERT_TRUE(row);
        told += text(row->key) + " " + text(row->backend) + "\n";
        inactive += row->counters.inactive;
        persistent += row->counters.persistent;
    }
    EXPECT_EQ(told,
              "[fd00::9]:80 tun gue port 6080, weight 0\n"
              "10.0.0.9:80 dr, weight 0\n"
              "10.0.0.8:80 tun gre checksum, weight 0\n"
              "10.0.0.7:8080 nat, weight 5, at most 100 connections, again below 50\n");
    EXPECT_EQ(inactive, 3u);
    EXPECT_EQ(persistent, 1u);
}

TEST(Wire, AnEndAndARefusalAreUnderstood) {
    const auto end = captured("end"), refused = captured("refused");
    EXPECT_EQ(replies_in(end).at(0).kind, wire::Reply::Kind::end);
    EXPECT_EQ(replies_in(end).at(0).code, 0);
    EXPECT_EQ(replies_in(refused).at(0).kind, wire::Reply::Kind::answer);
    EXPECT_EQ(replies_in(refused).at(0).code, EEXIST);
    EXPECT_EQ(replies_in(refused).at(0).sequence, 3u);
}

TEST(Wire, AMessageCutShortIsNoMessage) {
    const auto whole = captured("services-of-6.1");
    for (std::size_t n = 0; n < whole.size(); ++n) {
        const wire::Bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(n));
        for (const auto& reply : replies_in(cut))
            EXPECT_TRUE(wire::decode_service(reply.row));  // the whole ones before it
    }
    EXPECT_FALSE(wire::decode_service({}));
    EXPECT_FALSE(wire::decode_backend({}, Family::ipv4));
}

TEST(Wire, AnAttributeThatClaimsMoreThanThereIsDoesNotCount) {
    auto bytes = bytes_of(AddService{tcp("192.0.2.1", 80), {}});
    ASSERT_TRUE(wire::decode_service(replies_in(bytes).at(0).row));
    bytes[20] = bytes[21] = std::byte(0xFF);  // the length of the service's nest
    EXPECT_FALSE(wire::decode_service(replies_in(bytes).at(0).row));
}

TEST(Wire, TotalsAreReadInSixtyFourBits) {
    const auto attribute = [](std::uint16_t type, const wire::Bytes& payload) {
        wire::Bytes out(4);
        const auto length = static_cast<std::uint16_t>(4 + payload.size());
        std::memcpy(out.data(), &length, 2);
        std::memcpy(out.data() + 2, &type, 2);
        out.insert(out.end(), payload.begin(), payload.end());
        return out;
    };
    const auto count = [](std::uint64_t n, std::size_t width) {
        wire::Bytes out(width);
        std::memcpy(out.data(), &n, width);
        return out;
    };
    // The row of a new service without its nest's length, which grows by the two sets of counters.
    auto bytes = bytes_of(AddService{tcp("192.0.2.1", 80), {}});
    wire::Bytes row(bytes.begin() + 16, bytes.end());
    for (const auto& nest :
         {attribute(10, attribute(1, count(7, 4))), attribute(12, attribute(1, count(7ull << 32, 8)))})
        row.insert(row.end(), nest.begin(), nest.end());
    const auto length = static_cast<std::uint16_t>(row.size() - 4);
    std::memcpy(row.data() + 4, &length, 2);
    EXPECT_EQ(wire::decode_service(row)->traffic.connections, 7ull << 32);
    row.resize(row.size() - 16);  // a kernel before 4.1 has only the narrow ones
    const auto shorter = static_cast<std::uint16_t>(row.size() - 4);
    std::memcpy(row.data() + 4, &shorter, 2);
    EXPECT_EQ(wire::decode_service(row)->traffic.connections, 7u);
}

TEST(Wire, AMaskThatIsNoPrefixIsOdd) {
    auto bytes = bytes_of(AddService{tcp("192.0.2.1", 80), {.persistence = 9, .granularity = 24}});
    const auto at_mask = bytes.size() - 4;
    const auto granularity = [&](std::initializer_list<unsigned> mask) {
        std::transform(mask.begin(), mask.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at_mask),
                       [](unsigned b) { return std::byte(b); });
        return wire::decode_service(replies_in(bytes).at(0).row)->service.granularity;
    };
    EXPECT_EQ(granularity({255, 255, 0, 0}), 16);
    EXPECT_EQ(granularity({255, 255, 255, 255}), 0);
    EXPECT_EQ(granularity({0, 0, 0, 0}), odd_granularity);
    EXPECT_EQ(granularity({255, 0, 255, 0}), odd_granularity);
}

}  // namespace koi::ipvs
