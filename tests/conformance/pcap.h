// tests/conformance/pcap.h
//
// Reads what a third host recorded: little-endian pcap files with microseconds, Ethernet and IPv4 inside. Each frame
// comes back as an advert socket would hand it over: envelope and payload, cut by the IP length. A file that is not
// of this kind gives no frames, and every test expects some.
#pragma once

#include <cstdint>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <vector>

#include "carp/advert.h"
#include "supervisor/base/clock.h"

namespace koi::conformance {

struct Frame {
    Instant at;
    carp::Envelope envelope;
    std::vector<std::uint8_t> payload;
};

inline std::uint32_t little_endian(std::span<const std::uint8_t> b) {
    return static_cast<std::uint32_t>(b[0]) | static_cast<std::uint32_t>(b[1]) << 8 |
           static_cast<std::uint32_t>(b[2]) << 16 | static_cast<std::uint32_t>(b[3]) << 24;
}

inline Frame frame_of(Instant at, std::span<const std::uint8_t> ethernet) {
    const auto ip = ethernet.subspan(14);
    const std::size_t header = (ip[0] & 0x0F) * 4u, whole = static_cast<std::size_t>(ip[2] << 8 | ip[3]);
    const auto payload = ip.first(whole).subspan(header);
    return {at,
            {*IpAddress::from_bytes(ip.subspan(12, 4)), *IpAddress::from_bytes(ip.subspan(16, 4)), ip[8]},
            {payload.begin(), payload.end()}};
}

inline std::vector<Frame> read_pcap(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    const std::vector<std::uint8_t> raw(std::istreambuf_iterator<char>(in), {});
    constexpr std::size_t file_header = 24, frame_header = 16;
    const std::span<const std::uint8_t> file(raw);
    std::vector<Frame> frames;
    if (file.size() < file_header || little_endian(file) != 0xA1B2C3D4) return frames;
    for (std::size_t at = file_header; at + frame_header <= file.size();) {
        const auto head = file.subspan(at, frame_header);
        const Instant when{Duration(little_endian(head) * std::int64_t{1'000'000} + little_endian(head.subspan(4)))};
        const std::size_t kept = little_endian(head.subspan(8));
        frames.push_back(frame_of(when, file.subspan(at + frame_header, kept)));
        at += frame_header + kept;
    }
    return frames;
}

// What the recorded nodes were told; the settings and the story of each file are in README.md beside them.
struct Capture {
    const char* file;
    const char* password;
    int vhid;
    const char* address;
    std::size_t frames;
};

constexpr Capture captures[] = {
    {"v1-min-password", "x", 1, "10.77.0.100", 7},
    {"v2-pass19-vhid42-skew100", "0123456789abcdefghi", 42, "10.77.0.242", 5},
    {"v3-vhid255-base3-skew240", "Sp ace&\"\u00e9", 255, "192.168.255.254", 3},
    {"v4-preempt", "preempt-secret", 7, "10.77.0.107", 14},
    {"v5-shutdown-z", "graceful", 5, "10.77.0.105", 9},
    {"v6-tie-merge", "tie", 6, "10.77.0.106", 10},
    {"v7-nomcast", "bcast", 8, "10.77.0.108", 3},
    {"v8-mcast-239", "group", 9, "10.77.0.109", 3},
    {"v9-tie-byteorder", "tie16", 10, "10.77.0.110", 9},
    {"t1c-neutral-trailer", "attack-me", 77, "10.77.0.177", 7},
    {"t6-koi-trailer", "koi-test-key", 1, "10.0.0.10", 9},
};

inline std::vector<Frame> frames_of(const Capture& c) {
    return read_pcap(std::string(KOI_SOURCE_DIR) + "/tests/conformance/carp/" + c.file + ".pcap");
}

}  // namespace koi::conformance
