// A table of 1,000 services and 10,000 backends in the kernel: from nothing to complete, compared with no change, and
// gone again; `ipvsadm -R` of the same table stands beside it as a yardstick. Needs root and ip_vs; bench/run finds a
// kernel.
//
// Each round has a network namespace of its own, because the kernel remembers removed backends for minutes and
// searches them at every addition. Figures are medians of the rounds, with the smallest and the largest.
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/utsname.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "ipvs/kernel/kernel_datapath.h"
#include "supervisor/base/check.h"
#include "supervisor/base/fd.h"
#include "tests/unit/ipvs/any_table.h"

using namespace koi;
using namespace koi::ipvs;

namespace {

bool enter_new_namespace() {
    if (unshare(CLONE_NEWNET) != 0) return false;
    const Fd fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ifreq request{};
    std::snprintf(request.ifr_name, sizeof request.ifr_name, "lo");
    request.ifr_flags = IFF_UP;
    return ioctl(fd.get(), SIOCSIFFLAGS, &request) == 0;
}

double milliseconds_of(const std::function<void()>& deed) {
    const auto begin = std::chrono::steady_clock::now();
    deed();
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
}

struct Series {
    const char* what;
    std::vector<double> times{};

    double median() const {
        auto sorted = times;
        std::ranges::sort(sorted);
        return sorted[sorted.size() / 2];
    }
    void print(double unit) const {
        const auto [least, most] = std::ranges::minmax(times);
        std::printf("%-48s %9.2f %9.2f %9.2f %8.2f\n", what, median(), least, most, median() / unit);
    }
};

struct Times {
    Series complete{"from nothing to complete"}, look{"compared: /proc/net/ip_vs (looks_like)"},
        read{"compared: read over netlink, and diff"}, counters{"counters of everything"},
        edit{"every weight edited"}, remove{"removed"};
};

void must(const Result<std::vector<Refused>>& refused) {
    if (!refused)
        std::fprintf(stderr, "%s\n", refused.error().story.c_str());
    else if (!refused->empty())
        std::fprintf(stderr, "%s\n", refused->front().error.story.c_str());
    KOI_CHECK(refused && refused->empty());
}

void round(const Table& table, Times& times) {
    KOI_CHECK(enter_new_namespace());
    auto opened = KernelDatapath::open();
    KOI_CHECK(opened);
    auto& kernel = **opened;
    times.complete.times.push_back(milliseconds_of([&] { must(kernel.change(diff(*kernel.read(), table))); }));
    times.look.times.push_back(milliseconds_of([&] { KOI_CHECK(kernel.looks_like(table)); }));
    times.read.times.push_back(milliseconds_of([&] { KOI_CHECK(diff(*kernel.read(), table).empty()); }));
    times.counters.times.push_back(milliseconds_of([&] { KOI_CHECK(kernel.counters()->size() == table.size()); }));
    Table heavier = table;
    for (auto& [key, entry] : heavier)
        for (auto& [backend, value] : entry.backends) value.weight = 7;
    times.edit.times.push_back(milliseconds_of([&] { must(kernel.change(diff(table, heavier))); }));
    times.remove.times.push_back(milliseconds_of([&] { must(kernel.change(diff(heavier, {}))); }));
}

// The same table as ipvsadm's own saved form.
std::string saved(const Table& table) {
    std::string out;
    for (const auto& [key, entry] : table) {
        const auto& place = std::get<Place>(key);
        const auto at = " -t " + place.address.text() + ":" + std::to_string(place.port);
        out += "-A" + at + " -s " + entry.service.scheduler + "\n";
        for (const auto& [backend, value] : entry.backends)
            out += "-a" + at + " -r " + text(backend) + " -g -w " + std::to_string(value.weight) + "\n";
    }
    return out;
}

void yardstick_round(const Table& table, const std::string& file, Series& restore, Series& save) {
    KOI_CHECK(enter_new_namespace());
    restore.times.push_back(milliseconds_of([&] { KOI_CHECK(std::system(("ipvsadm -R <" + file).c_str()) == 0); }));
    KOI_CHECK((*KernelDatapath::open())->looks_like(table));
    save.times.push_back(milliseconds_of([&] { KOI_CHECK(std::system("ipvsadm -Sn >/dev/null") == 0); }));
}

unsigned argument(int argc, char** argv, int at, unsigned otherwise) {
    return argc > at ? static_cast<unsigned>(std::strtoul(argv[at], nullptr, 10)) : otherwise;
}

}  // namespace

int main(int argc, char** argv) {
    const auto services = argument(argc, argv, 1, 1000), backends = argument(argc, argv, 2, 10),
               rounds = argument(argc, argv, 3, 7);
    if (services == 0 || services > 60000 || backends > 250 || rounds == 0) {
        std::fprintf(stderr, "usage: ipvs_table [SERVICES [BACKENDS [ROUNDS]]]\n");
        return 2;
    }
    if (const auto kernel = KernelDatapath::open(); !kernel || !enter_new_namespace()) {
        std::fprintf(stderr, "ipvs_table: %s\n", kernel ? "this needs root" : kernel.error().story.c_str());
        return 77;
    }
    const auto table = large_table(services, backends);
    utsname self{};
    uname(&self);
    std::printf("%u services of %u backends, dr, rr; %u rounds; kernel %s\n", services, backends, rounds,
                self.release);
    std::printf("%-48s %9s %9s %9s %8s\n", "milliseconds", "median", "least", "most", "ratio");

    Times times;
    for (unsigned n = 0; n < rounds; ++n) round(table, times);
    const double unit = times.complete.median();
    for (const auto* series :
         {&times.complete, &times.look, &times.read, &times.counters, &times.edit, &times.remove})
        series->print(unit);

    if (std::system("command -v ipvsadm >/dev/null") != 0) {
        std::printf("ipvsadm is not installed, so there is no yardstick\n");
        return 0;
    }
    const std::string file = "/tmp/koi-bench." + std::to_string(getpid());
    std::ofstream(file) << saved(table);
    Series restore{"yardstick: ipvsadm -R of the same table"}, save{"yardstick: ipvsadm -Sn"};
    for (unsigned n = 0; n < std::min(rounds, 3u); ++n) yardstick_round(table, file, restore, save);
    std::remove(file.c_str());
    restore.print(unit);
    save.print(unit);
    return 0;
}
