// supervisor/speaker/estate.h
//
// What a speaker leaves to the program that replaces it in the same process: everything it knows and is in the middle
// of, so that no peer, client or worker can tell, and the numbers of the descriptors that stay open. Bytes ↔ value,
// pure; leave_behind() and inherit() put the bytes into a sealed file in memory that execve() keeps, and out of it.
//
// The bytes begin with a format, and a program reads its own and the one before: can_take_over() is asked of the new
// program (koid --can-take-over N) before it is trusted with anything. What cannot be read is no estate: then the new
// program starts as after a crash, from the notes under the runtime directory (resume.h).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "carp/counter.h"
#include "supervisor/base/fd.h"
#include "supervisor/base/formats.h"
#include "supervisor/base/result.h"
#include "supervisor/speaker/group.h"
#include "supervisor/speaker/holder.h"
#include "supervisor/speaker/worker_process.h"

namespace koi::speaker {

// As the message formats do, KOI_FORMAT_RAISED makes this one of a later release.
inline constexpr Formats estate_formats{KOI_FORMAT_RAISED == 0 ? 1 : KOI_FORMAT_RAISED, 1 + KOI_FORMAT_RAISED};
inline bool can_take_over(unsigned format) {
    return format >= estate_formats.lowest && format <= estate_formats.highest;
}

struct Estate {
    struct Socket {  // of adverts
        std::string interface;
        Family family = Family::ipv4;
        unsigned index = 0;
        int fd = -1;
    };
    struct OfVhid {
        Vhid vhid = *Vhid::of(1);
        Group::Whole group;
        std::uint64_t unplanned_takeovers = 0;
        Duration last_silence{};
        std::optional<Instant> silence_since{};
    };
    struct Heard {  // of vhids, served or not, by an earlier program
        Vhid vhid = *Vhid::of(1);
        std::vector<carp::Replay::Line> lines;
    };

    Instant left{};  // when
    int lock = -1;
    WorkerProcess::Kept worker;
    std::vector<Socket> sockets;
    std::vector<std::vector<std::uint8_t>> told;  // by the worker: its last Settings, TableReady of each vhid …
    carp::Counter::Whole counter;
    std::vector<Heard> heard;
    std::vector<OfVhid> vhids;
    Holder::Whole holder;
    bool ready_told = false, is_another = false;
    std::string status;
    std::optional<Instant> unready_until, slipped_until;
    Duration worst_slip{}, last_minute_slip{};
    Instant slip_since{};
    link::UpgradeReport upgrade;
#if KOI_FORMAT_RAISED
    std::string raised = "of a later release";
#endif
};

std::vector<std::uint8_t> encode(const Estate&, std::uint8_t format = estate_formats.highest);
std::optional<Estate> decode_estate(std::span<const std::uint8_t>);

// Every descriptor that the next program needs.
std::vector<int> descriptors(const Estate&);

Result<Fd> leave_behind(const Estate&, std::uint8_t format = estate_formats.highest);
Result<Estate> inherit(int fd);  // and closes it; an estate whose descriptors are not open is none

}  // namespace koi::speaker
