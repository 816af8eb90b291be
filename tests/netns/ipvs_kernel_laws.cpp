// The laws of a datapath, held against the kernel's ip_vs, and what only the kernel can do wrong. Run as root on a
// kernel with ip_vs (tests/netns/engine/run -- build/ipvs_kernel_laws). Every test has a network namespace of its
// own; what stands in it is forgotten with it. Without root or ip_vs it says so and exits with 77.
#include <fcntl.h>
#include <grp.h>
#include <linux/filter.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <sstream>

#include "ipvs/host_needs.h"
#include "ipvs/kernel/kernel_datapath.h"
#include "ipvs/memory/memory_datapath.h"
#include "supervisor/base/fd.h"
#include "tests/unit/ipvs/datapath_laws.h"

namespace koi::ipvs {

namespace {

using testing::HasSubstr;

// Loopback is what a new namespace needs before the kernel takes an IPv4 backend.
void enter_new_namespace(bool with_loopback = true) {
    ASSERT_EQ(unshare(CLONE_NEWNET), 0) << std::strerror(errno);
    if (!with_loopback) return;
    const Fd fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ifreq request{};
    std::snprintf(request.ifr_name, sizeof request.ifr_name, "lo");
    request.ifr_flags = IFF_UP;
    ASSERT_EQ(ioctl(fd.get(), SIOCSIFFLAGS, &request), 0);
}

std::unique_ptr<KernelDatapath> opened() {
    auto kernel = KernelDatapath::open();
    EXPECT_TRUE(kernel) << kernel.error().story;
    return kernel ? std::move(*kernel) : nullptr;
}

std::string output_of(const std::string& command) {
    std::string out;
    FILE* pipe = popen(command.c_str(), "r");
    std::array<char, 4096> chunk;
    while (const auto n = std::fread(chunk.data(), 1, chunk.size(), pipe)) out.append(chunk.data(), n);
    pclose(pipe);
    return out;
}

std::set<std::string> lines_of(const std::string& text) {
    std::istringstream in(text);
    std::set<std::string> lines;
    for (std::string line; std::getline(in, line);) lines.insert(line.substr(0, line.find_last_not_of(' ') + 1));
    return lines;
}

// ---- what `ipvsadm -Sn` prints for a table, written down apart from Koi's own words ----

std::string option_of(const ServiceKey& key) {
    if (const auto* mark = std::get_if<Fwmark>(&key))
        return "-f " + std::to_string(mark->mark) + (mark->family == Family::ipv6 ? " -6" : "");
    const auto& place = std::get<Place>(key);
    const std::string kind = place.protocol == Protocol::tcp   ? "-t "
                             : place.protocol == Protocol::udp ? "-u "
                                                               : "--sctp-service ";
    return kind + text(BackendKey{place.address, place.port});
}

std::string mask_of(const Service& s, Family f) {
    if (s.granularity == 0) return "";
    if (f == Family::ipv6) return " -M " + std::to_string(s.granularity);
    const std::uint32_t mask = 0xFFFFFFFFu << (32 - s.granularity);
    return " -M " + IpAddress::v4({static_cast<std::uint8_t>(mask >> 24), static_cast<std::uint8_t>(mask >> 16),
                                   static_cast<std::uint8_t>(mask >> 8), static_cast<std::uint8_t>(mask)})
                        .text();
}

std::string saved(const ServiceKey& key, const Service& s) {
    std::string line = "-A " + option_of(key) + " -s " + s.scheduler;
    if (s.persistence) line += " -p " + std::to_string(s.persistence) + mask_of(s, family(key));
    if (!s.persistence_engine.empty()) line += " --pe " + s.persistence_engine;
    if (s.one_packet) line += " -o";
    const std::array<const char*, 4> flags{"", "fallback", "port", "fallback,port"};
    if (const auto word = std::string(flags[s.scheduler_flags / 8 % 4]); !word.empty()) {
        line += " -b " + s.scheduler + "-" + word;
        if (const auto comma = line.find(','); comma != std::string::npos) line.insert(comma + 1, s.scheduler + "-");
    }
    return line;
}

std::string saved(const ServiceKey& key, const BackendKey& backend, const Backend& b) {
    const char* method = b.forward == Forward::nat ? " -m" : b.forward == Forward::dr ? " -g" : " -i";
    std::string line = "-a " + option_of(key) + " -r " + text(backend) + method + " -w " + std::to_string(b.weight);
    if (b.forward != Forward::tun) return line;
    line += " --tun-type " + std::string(to_string(b.tunnel));
    if (b.tunnel == Tunnel::gue) line += " --tun-port " + std::to_string(b.tunnel_port);
    if (b.tunnel != Tunnel::ipip) line += b.tunnel_flags ? " --tun-csum" : " --tun-nocsum";
    return line;
}

std::set<std::string> saved(const Table& table) {
    std::set<std::string> lines;
    for (const auto& [key, entry] : table) {
        lines.insert(saved(key, entry.service));
        for (const auto& [backend, value] : entry.backends) lines.insert(saved(key, backend, value));
    }
    return lines;
}

// ---- changes by dice, wrong ones among them ----

Change any_change(Dice& dice) {
    const auto key = any_key(dice);
    auto service = any_service(dice, key);
    if (dice.one_in(40)) service.scheduler = "zzz";  // each costs a search for its module
    auto backend = any_backend_key(dice, dice.one_in(8) ? Family::ipv6 : family(key));
    if (dice.one_in(10))
        backend.address =
            ip(dice.one_of(std::array{"224.0.0.1", "0.0.0.0", "fe80::1", "::", "::1", "255.255.255.255"}));
    auto value = any_backend(dice);
    if (dice.one_in(10)) value.weight = 0x80000000u;
    if (dice.one_in(10)) value.lower_threshold = value.upper_threshold + 1;
    if (dice.one_in(10)) value.tunnel_port = 0;
    switch (dice.below(8)) {
        case 0: return RemoveService{key};
        case 1: return RemoveBackend{key, backend};
        case 2: return EditService{key, service};
        case 3: return EditBackend{key, backend, value};
        case 4: return AddService{key, service};
        default: return AddBackend{key, backend, value};
    }
}

std::string told(const Result<std::vector<Refused>>& refused) {
    if (!refused) return refused.error().story;
    std::string out;
    for (const auto& [change, error] : *refused) out += std::to_string(error.code) + " " + error.story + "\n";
    return out;
}

}  // namespace

// Opened after the namespace was entered, because a socket belongs to the one it was made in.
struct InKernel {
    static constexpr unsigned seeds = 100;
    InKernel() {
        enter_new_namespace();
        kernel = opened();
        other = opened();
    }
    Datapath& path() { return *kernel; }
    void somebody_else(const std::vector<Change>& changes) { EXPECT_EQ(told(other->change(changes)), ""); }
    std::unique_ptr<KernelDatapath> kernel, other;
};
INSTANTIATE_TYPED_TEST_SUITE_P(Kernel, DatapathLaws, InKernel);

class KernelDatapathTest : public testing::Test {
protected:
    const ServiceKey web = tcp("192.0.2.1", 80);
};

TEST_F(KernelDatapathTest, IpvsadmReadsWhatWeWrote) {
    if (std::system("command -v ipvsadm >/dev/null") != 0) GTEST_SKIP() << "ipvsadm is not installed";
    InKernel engine;
    for (unsigned seed = 0; seed < 20; ++seed) {
        std::mt19937 dice(seed);
        const auto desired = any_table(dice);
        ASSERT_EQ(told(engine.path().change(diff(*engine.path().read(), desired))), "");
        ASSERT_EQ(lines_of(output_of("ipvsadm -Sn")), saved(desired)) << "seed " << seed;
    }
}

TEST_F(KernelDatapathTest, IpvsadmReadsTheThresholdsWeWrote) {
    if (std::system("command -v ipvsadm >/dev/null") != 0) GTEST_SKIP() << "ipvsadm is not installed";
    InKernel engine;
    ASSERT_EQ(told(engine.path().change(
                  {AddService{web, {}},
                   AddBackend{web, at("10.0.0.7", 80), {.upper_threshold = 100, .lower_threshold = 50}}})),
              "");
    EXPECT_THAT(output_of("ipvsadm -Ln --thresholds"), testing::ContainsRegex("10.0.0.7:80 +100 +50 +0 +0"));
}

TEST_F(KernelDatapathTest, WeReadWhatIpvsadmWrote) {
    if (std::system("command -v ipvsadm >/dev/null") != 0) GTEST_SKIP() << "ipvsadm is not installed";
    InKernel engine;
    output_of(
        "ipvsadm -A -t 192.0.2.1:80 -s mh -b mh-port,mh-fallback -p 300 -M 255.255.255.0;"
        "ipvsadm -a -t 192.0.2.1:80 -r 10.0.0.7:80 -i --tun-type gue --tun-port 6080 -w 5 -x 100 -y 50;"
        "ipvsadm -a -t 192.0.2.1:80 -r [fd00::9]:80 -i -w 0;"
        "ipvsadm -A -f 7 -6 -s rr -p 60 -M 64; ipvsadm -a -f 7 -6 -r [fd00::1]:0 -g");
    EXPECT_EQ(print(*engine.path().read()),
              "192.0.2.1:80/tcp  mh (mh-port,mh-fallback), persistence 300 s, granularity 24\n"
              "    10.0.0.7:80  tun gue port 6080, weight 5, at most 100 connections, again below 50\n"
              "    [fd00::9]:80  tun ipip, weight 0\n"
              "fwmark 7 ipv6  rr, persistence 60 s, granularity 64\n"
              "    [fd00::1]:0  dr, weight 1\n");
}

// The engine in memory is the measure of every simulated test, so it must be as honest as the kernel.
TEST_F(KernelDatapathTest, TheEngineInMemoryAnswersLikeTheKernel) {
    InKernel engine;
    MemoryDatapath memory;
    memory.available.erase("twos");
    for (unsigned seed = 0; seed < 150; ++seed) {
        std::mt19937 source(seed);
        Dice dice(source);
        std::vector<Change> changes;
        std::string script;
        for (unsigned n = 0; n < 12; ++n) {
            changes.push_back(any_change(dice));
            script += text(changes.back()) + "\n";
        }
        ASSERT_EQ(told(engine.path().change(changes)), told(memory.change(changes))) << "seed " << seed << "\n"
                                                                                     << script;
        ASSERT_EQ(print(*engine.path().read()), print(*memory.read())) << "seed " << seed << "\n" << script;
        ASSERT_EQ(*engine.path().read(), *memory.read()) << "seed " << seed << "\n" << script;
    }
}

TEST_F(KernelDatapathTest, EvenIfEverythingFailsEveryAnswerIsHeard) {
    InKernel engine;
    std::vector<Change> changes;
    for (unsigned n = 0; n < 5000; ++n)
        changes.push_back(AddBackend{web, at("10.0.0.7", static_cast<std::uint16_t>(n)), {}});
    const auto refused = engine.path().change(changes);
    ASSERT_TRUE(refused) << refused.error().story;
    EXPECT_EQ(refused->size(), changes.size());
    for (const auto& [change, error] : *refused) ASSERT_EQ(error.code, ESRCH);
}

TEST_F(KernelDatapathTest, ANamespaceWithoutAnyAddressIsExplained) {
    enter_new_namespace(false);
    auto kernel = opened();
    EXPECT_THAT(
        told(kernel->change({AddService{web, {}}, AddBackend{web, at("10.0.0.7", 80), {}}})),
        HasSubstr(
            "this network namespace has no IPv4 address at all, not even 127.0.0.1 (then run: ip link set lo up)"));
}

TEST_F(KernelDatapathTest, ASchedulerThatIsNotThereNamesItsModule) {
    InKernel engine;
    const auto refused = told(engine.path().change({AddService{web, {.scheduler = "zzz"}}}));
    EXPECT_EQ(refused,
              "2 add service 192.0.2.1:80/tcp (zzz): the kernel has no scheduler called zzz; known ones are rr, wrr, "
              "lc, wlc, sh, mh and others\n");
}

TEST_F(KernelDatapathTest, WithoutThePrivilegeItSaysWhichOne) {
    InKernel engine;
    const auto child = fork();
    if (child == 0) {
        if (setgroups(0, nullptr) != 0 || setgid(65534) != 0 || setuid(65534) != 0) _exit(2);
        auto kernel = KernelDatapath::open();
        const auto read = kernel ? (*kernel)->read() : Result<Table>(kernel.error());
        const auto refused =
            kernel ? (*kernel)->change({AddService{web, {}}}) : Result<std::vector<Refused>>(kernel.error());
        const auto story = (read ? "read" : read.error().story) + "\n" + told(refused);
        std::cerr << story;
        const bool explained =
            story.find("reading the virtual server table: not permitted") != std::string::npos &&
            story.find("1 add service 192.0.2.1:80/tcp (wrr): not permitted; virtual servers need CAP_NET_ADMIN") !=
                std::string::npos;
        _exit(explained ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(WEXITSTATUS(status), 0);
}

// ---- when answers do not come ----

std::set<int> open_descriptors() {
    std::set<int> all;
    for (int fd = 3; fd < 256; ++fd)
        if (fcntl(fd, F_GETFD) >= 0) all.insert(fd);
    return all;
}

// A datapath and the descriptor of its socket, so that a test can spoil it.
struct Spoilt {
    std::set<int> before = open_descriptors();
    std::unique_ptr<KernelDatapath> kernel = opened();
    int fd = -1;
    Spoilt() {
        for (const int one : open_descriptors())
            if (!before.contains(one)) fd = one;
    }
};

TEST_F(KernelDatapathTest, LostAnswersAreNoticedAndTheNextCallIsFine) {
    enter_new_namespace();
    Spoilt spoilt;
    const int tiny = 1;
    ASSERT_EQ(setsockopt(spoilt.fd, SOL_SOCKET, SO_RCVBUF, &tiny, sizeof tiny), 0);
    std::vector<Change> changes{AddService{web, {}}};
    for (unsigned n = 0; n < 200; ++n) changes.push_back(AddBackend{tcp("192.0.2.2", 80), at("10.0.0.7", 80), {}});
    const auto refused = spoilt.kernel->change(changes);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ENOBUFS);
    EXPECT_THAT(refused.error().story,
                HasSubstr("changing the virtual server table: the kernel's answers were lost"));
    const auto table = spoilt.kernel->read();
    ASSERT_TRUE(table) << table.error().story;
    EXPECT_TRUE(table->contains(web));  // the requests were carried out all the same
}

TEST_F(KernelDatapathTest, ASilentKernelIsGivenUpAfterTwoSeconds) {
    enter_new_namespace();
    Spoilt spoilt;
    sock_filter nothing{.code = BPF_RET | BPF_K, .jt = 0, .jf = 0, .k = 0};
    const sock_fprog deaf{.len = 1, .filter = &nothing};
    ASSERT_EQ(setsockopt(spoilt.fd, SOL_SOCKET, SO_ATTACH_FILTER, &deaf, sizeof deaf), 0);
    const auto begin = std::chrono::steady_clock::now();
    const auto refused = spoilt.kernel->change({AddService{web, {}}});
    const auto took = std::chrono::steady_clock::now() - begin;
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ETIMEDOUT);
    EXPECT_GE(took, std::chrono::milliseconds(1900));
    EXPECT_LE(took, std::chrono::seconds(8));
    const auto table = spoilt.kernel->read();
    ASSERT_TRUE(table) << table.error().story;
    EXPECT_TRUE(table->contains(web));
}

// The family has another number afterwards. Only in a guest: on a real host the module is not ours to unload.
TEST_F(KernelDatapathTest, AModuleLoadedAnewIsFoundAgain) {
    if (!std::getenv("KOI_GUEST")) GTEST_SKIP() << "not in a guest";
    InKernel engine;
    ASSERT_TRUE(engine.path().read());
    if (std::system("modprobe -r ip_vs_rr ip_vs 2>/dev/null || rmmod $(lsmod | awk '$1 ~ /^ip_vs_|^xt_ipvs/ {print "
                    "$1}') ip_vs") != 0)
        GTEST_SKIP() << "the module cannot be unloaded here";
    ASSERT_EQ(std::system("modprobe ip_vs"), 0);
    const auto table = engine.path().read();
    ASSERT_TRUE(table) << table.error().story;
    EXPECT_EQ(told(engine.path().change({AddService{web, {}}})), "");
    EXPECT_EQ(engine.path().read()->size(), 1u);
}

// Real connections, through a service on this host to a listener on this host.
TEST_F(KernelDatapathTest, ConnectionsAreCounted) {
    InKernel engine;
    ASSERT_EQ(std::system("ip addr add 192.0.2.1/32 dev lo && ip addr add 10.0.0.7/32 dev lo"), 0);
    ASSERT_EQ(told(engine.path().change({AddService{web, {}}, AddBackend{web, at("10.0.0.7", 8080), {}}})), "");

    const auto connected_to = [](std::string_view address, std::uint16_t port, bool listens) {
        Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_storage where;
        const auto length = ip(address).to_sockaddr(where, port);
        auto* name = reinterpret_cast<const sockaddr*>(&where);
        EXPECT_EQ(listens ? bind(fd.get(), name, length) : connect(fd.get(), name, length), 0)
            << std::strerror(errno);
        if (listens) {
            EXPECT_EQ(listen(fd.get(), 9), 0);
        }
        return fd;
    };
    const auto listener = connected_to("10.0.0.7", 8080, true);
    std::vector<Fd> clients;
    for (int n = 0; n < 3; ++n) clients.push_back(connected_to("192.0.2.1", 80, false));

    const auto first =
        engine.path().counters();  // connections at once; totals when the kernel next copies them, within 2 s
    EXPECT_EQ(first->at(web).backends.at(at("10.0.0.7", 8080)).active, 3u);
    for (int wait = 0; wait < 60; ++wait) {
        const auto counters = engine.path().counters();
        if (counters->at(web).traffic.connections == 3) {
            EXPECT_EQ(counters->at(web).backends.at(at("10.0.0.7", 8080)).traffic.connections, 3u);
            EXPECT_GE(counters->at(web).traffic.packets_in, 6u);
            EXPECT_GE(counters->at(web).traffic.packets_out, 3u);
            EXPECT_GT(counters->at(web).traffic.bytes_in, 200u);
            return;
        }
        poll(nullptr, 0, 100);
    }
    FAIL() << "the kernel counted no connections within 6 s";
}

TEST_F(KernelDatapathTest, ThisHostTellsWhatItNeeds) {
    InKernel engine;
    ASSERT_EQ(std::system("ip link add fish type dummy && ip addr add 10.1.0.1/24 dev fish && ip link set fish up && "
                          "ip route add 10.2.0.0/24 via 10.1.0.254 && ip route add unreachable 10.3.0.0/24"),
              0);
    const auto host = this_host();
    EXPECT_TRUE(host.route(ip("10.1.0.1"))->local);
    EXPECT_FALSE(host.route(ip("10.1.0.7"))->via_gateway);
    EXPECT_EQ(host.route(ip("10.1.0.7"))->interface, "fish");
    EXPECT_TRUE(host.route(ip("10.2.0.7"))->via_gateway);
    EXPECT_FALSE(host.route(ip("10.3.0.7")));
    EXPECT_FALSE(host.route(ip("10.4.0.7")));
    EXPECT_EQ(host.module_available("ip_vs"), true);
    EXPECT_EQ(host.module_available("ip_vs_mh"), true);
    EXPECT_NE(host.module_available("ip_vs_zzz"), std::optional(true));
    EXPECT_EQ(host.sysctl("net.ipv4.vs.expire_nodest_conn"), "0");

    std::set<std::string> words;
    const Table table{
        {web,
         {{}, {{at("10.1.0.7", 80), {}}, {at("10.2.0.7", 80), {.forward = Forward::dr}}, {at("10.3.0.7", 80), {}}}}}};
    for (const auto& advice : needs(table, "fish", host)) words.insert(advice.what);
    EXPECT_THAT(words, testing::IsSupersetOf({"ip_forward", "dr_on_link", "no_route", "expire_nodest_conn"}));
}

}  // namespace koi::ipvs

int main(int argc, char** argv) {
    testing::InitGoogleTest(&argc, argv);
    if (testing::GTEST_FLAG(list_tests)) return RUN_ALL_TESTS();
    if (geteuid() != 0) {
        std::cerr << "ipvs_kernel_laws: skipped, because this needs root\n";
        return 77;
    }
    if (const auto kernel = koi::ipvs::KernelDatapath::open(); !kernel) {
        std::cerr << "ipvs_kernel_laws: skipped, because " << kernel.error().story << "\n";
        return 77;
    }
    return RUN_ALL_TESTS();
}
