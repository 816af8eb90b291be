// The host we run on, as host_needs.h asks for it.
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include <array>
#include <cstring>
#include <memory>
#include <string_view>

#include "ipvs/host_needs.h"
#include "supervisor/base/fd.h"
#include "supervisor/base/file.h"

namespace koi::ipvs {

namespace {

// "net.ipv4.conf.eth0/100.rp_filter" is /proc/sys/net/ipv4/conf/eth0.100/rp_filter.
std::optional<std::string> sysctl(const std::string& name) {
    std::string path = name;
    for (auto& c : path) c = c == '.' ? '/' : c == '/' ? '.' : c;
    auto value = read_whole("/proc/sys/" + path);
    if (!value) return std::nullopt;
    while (value->ends_with('\n')) value->pop_back();
    return *value;
}

// ---- modules ----

const std::string& module_lists() {
    static const std::string lists = [] {
        utsname self{};
        uname(&self);
        const std::string folder = std::string("/lib/modules/") + self.release;
        std::string all;
        for (const char* name : {"/modules.dep", "/modules.builtin"})
            if (auto list = read_whole(folder + name)) all += "\n" + *list;
        return all;
    }();
    return lists;
}

std::optional<bool> module_available(const std::string& name) {
    struct stat there {};
    if (stat(("/sys/module/" + name).c_str(), &there) == 0) return true;
    if (name == "ip_vs" && stat("/proc/net/ip_vs", &there) == 0) return true;  // built in
    if (module_lists().empty()) return std::nullopt;                           // a container without /lib/modules
    return module_lists().find("/" + name + ".ko") != std::string::npos;
}

// ---- routes ----

struct Question {
    nlmsghdr head;
    rtmsg route;
    std::array<unsigned char, RTA_LENGTH(16)> destination;
};

Question question(const IpAddress& to) {
    Question q{};
    const auto bytes = to.bytes();
    q.head.nlmsg_len = static_cast<std::uint32_t>(NLMSG_LENGTH(sizeof(rtmsg)) + RTA_LENGTH(bytes.size()));
    q.head.nlmsg_type = RTM_GETROUTE;
    q.head.nlmsg_flags = NLM_F_REQUEST;
    q.route.rtm_family = static_cast<unsigned char>(af(to.family()));
    q.route.rtm_dst_len = to.full_length();
    const rtattr head{.rta_len = static_cast<unsigned short>(RTA_LENGTH(bytes.size())), .rta_type = RTA_DST};
    std::memcpy(q.destination.data(), &head, sizeof head);
    std::memcpy(q.destination.data() + RTA_LENGTH(0), bytes.data(), bytes.size());
    return q;
}

std::optional<Host::Route> answer(const unsigned char* at, std::size_t size) {
    nlmsghdr head;
    rtmsg route;
    if (size < NLMSG_LENGTH(sizeof route)) return std::nullopt;
    std::memcpy(&head, at, sizeof head);
    if (head.nlmsg_type != RTM_NEWROUTE) return std::nullopt;
    std::memcpy(&route, at + NLMSG_HDRLEN, sizeof route);
    if (route.rtm_type != RTN_UNICAST && route.rtm_type != RTN_LOCAL)
        return std::nullopt;  // unreachable, blackhole ...

    Host::Route found{.via_gateway = false, .local = route.rtm_type == RTN_LOCAL, .interface = {}};
    for (std::size_t next = NLMSG_LENGTH(sizeof route); next + sizeof(rtattr) <= size;) {
        rtattr attribute;
        std::memcpy(&attribute, at + next, sizeof attribute);
        if (attribute.rta_len < sizeof attribute || next + attribute.rta_len > size) break;
        if (attribute.rta_type == RTA_GATEWAY || attribute.rta_type == RTA_VIA) found.via_gateway = true;
        if (attribute.rta_type == RTA_OIF && attribute.rta_len >= RTA_LENGTH(sizeof(unsigned))) {
            unsigned index = 0;
            char name[IF_NAMESIZE] = {};
            std::memcpy(&index, at + next + RTA_LENGTH(0), sizeof index);
            if (if_indextoname(index, name)) found.interface = name;
        }
        next += RTA_ALIGN(attribute.rta_len);
    }
    return found;
}

std::optional<Host::Route> ask(int fd, const IpAddress& to) {
    const auto q = question(to);
    if (send(fd, &q, q.head.nlmsg_len, 0) < 0) return std::nullopt;
    std::array<unsigned char, 8192> buffer;
    pollfd readable{.fd = fd, .events = POLLIN, .revents = 0};
    if (poll(&readable, 1, 1000) <= 0) return std::nullopt;
    const auto got = recv(fd, buffer.data(), buffer.size(), MSG_DONTWAIT);
    return got > 0 ? answer(buffer.data(), static_cast<std::size_t>(got)) : std::nullopt;
}

}  // namespace

Host this_host() {
    const auto socket_of_routes = std::make_shared<Fd>(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
    return {.sysctl = sysctl,
            .route = [socket_of_routes](const IpAddress& to) { return ask(socket_of_routes->get(), to); },
            .module_available = module_available};
}

}  // namespace koi::ipvs
