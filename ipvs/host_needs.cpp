#include "ipvs/host_needs.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

namespace koi::ipvs {

namespace {

using Weight = Advice::Weight;

// What a table asks for, gathered once, so that every piece of advice is given once.
struct Wishes {
    std::set<std::string> schedulers;
    std::set<Family> nat;  // families of services with a nat backend
    std::map<IpAddress, std::set<Forward>> backends;
    bool persistence = false;
    bool hashing_without_replies = false;  // sh or mh with dr or tun
};

Wishes wishes_of(const Table& table) {
    Wishes w;
    for (const auto& [key, entry] : table) {
        const auto& s = entry.service;
        w.schedulers.insert(s.scheduler);
        w.persistence = w.persistence || s.persistence > 0;
        for (const auto& [backend, value] : entry.backends) {
            w.backends[backend.address].insert(value.forward);
            if (value.forward == Forward::nat)
                w.nat.insert(family(key));
            else if (s.scheduler == "sh" || s.scheduler == "mh")
                w.hashing_without_replies = true;
        }
    }
    return w;
}

class Adviser {
public:
    Adviser(const Host& host, const std::string& interface) : host_(host), interface_(interface) {}

    std::vector<Advice> all;

    void modules(const Wishes& w) {
        if (host_.module_available("ip_vs") == false) {
            broken("ip_vs_module",
                   "the kernel has no IPVS, so nothing can be forwarded; load it with: modprobe ip_vs (if that "
                   "fails, boot a kernel that has it, Debian's linux-image-amd64 for instance)");
            return;
        }
        for (const auto& name : w.schedulers)
            if (host_.module_available("ip_vs_" + name) == false)
                broken("scheduler_module",
                       "the scheduler " + name + " needs the kernel module ip_vs_" + name +
                           ", which this kernel does not have; choose another scheduler or kernel");
    }

    // A nat backend on this host itself needs no forwarding.
    void forwarding(const Wishes& w, bool nat_leaves_host) {
        if (!nat_leaves_host) return;
        if (w.nat.contains(Family::ipv4) && off("net.ipv4.ip_forward"))
            broken("ip_forward", "nat needs IPv4 forwarding, and it is off" + cure("net.ipv4.ip_forward", "1"));
        if (w.nat.contains(Family::ipv6) && off("net.ipv6.conf.all.forwarding"))
            broken("ipv6_forwarding",
                   "nat needs IPv6 forwarding, and it is off" + cure("net.ipv6.conf.all.forwarding", "1"));
        // The kernel sends redirects if either of the two says so.
        for (const auto& scope : {std::string("all"), interface_})
            if (const auto name = conf(scope, "send_redirects"); w.nat.contains(Family::ipv4) && on(name))
                warning("send_redirects", "clients in the same network may be told a way around this director (" +
                                              name + " is on)" + cure(name, "0"));
    }

    void routes(const Wishes& w) {
        for (const auto& [address, methods] : w.backends) {
            const auto route = host_.route(address);
            if (!route)
                broken("no_route",
                       "there is no route to the backend " + address.text() + "; add one, or correct the address");
            else if (methods.contains(Forward::dr) && route->via_gateway)
                broken("dr_on_link", "the backend " + address.text() +
                                         " is behind a gateway, so dr cannot reach it; use tun, or "
                                         "connect it to a network of this host");
        }
    }

    // Strict is 1, loose is 2; the larger of the two counts.
    void reverse_path() {
        const auto own = conf(interface_, "rp_filter");
        const auto value =
            std::max(host_.sysctl("net.ipv4.conf.all.rp_filter").value_or("0"), host_.sysctl(own).value_or("0"));
        if (value == "1")
            warning("rp_filter", "strict reverse path filtering on " + interface_ +
                                     " drops packets of clients whose way back is "
                                     "another interface, silently; loose is enough" +
                                     cure(own, "2"));
    }

    void connections(const Wishes& w) {
        if (off("net.ipv4.vs.expire_nodest_conn"))
            warning("expire_nodest_conn",
                    "packets of connections to a removed backend are dropped until the connection times out" +
                        cure("net.ipv4.vs.expire_nodest_conn", "1"));
        if (w.persistence && off("net.ipv4.vs.expire_quiescent_template"))
            warning("expire_quiescent_template", "clients of persistent services stay with a backend that drains" +
                                                     cure("net.ipv4.vs.expire_quiescent_template", "1"));
        if (w.hashing_without_replies && off("net.ipv4.vs.sloppy_tcp"))
            warning("sloppy_tcp", "connections of the schedulers sh and mh would not survive a change of master" +
                                      cure("net.ipv4.vs.sloppy_tcp", "1") + ", on every director");
    }

    bool nat_leaves_host(const Wishes& w) const {
        for (const auto& [address, methods] : w.backends) {
            if (!methods.contains(Forward::nat)) continue;
            const auto route = host_.route(address);
            if (!route || !route->local) return true;
        }
        return false;
    }

private:
    void broken(const char* what, std::string sentence) {
        all.push_back({Weight::broken, what, std::move(sentence)});
    }
    void warning(const char* what, std::string sentence) {
        all.push_back({Weight::warning, what, std::move(sentence)});
    }

    // One command sets all that this configuration needs, and keeps it for every boot; where the package is not (in a
    // container), the name and value say it.
    static std::string cure(const std::string& name, const char* value) {
        return "; run: koi-host-setup, which sets " + name + "=" + value;
    }

    // A sysctl that does not exist (a module that is not loaded yet) is no reason for advice.
    bool off(const std::string& name) const { return host_.sysctl(name) == "0"; }
    bool on(const std::string& name) const { return host_.sysctl(name) == "1"; }

    // Dots of an interface's name (eth0.100) are written as slashes, as sysctl(8) wants it.
    static std::string conf(std::string scope, const char* name) {
        for (auto& c : scope)
            if (c == '.') c = '/';
        return "net.ipv4.conf." + scope + "." + name;
    }

    const Host& host_;
    std::string interface_;
};

}  // namespace

std::vector<Advice> needs(const Table& desired, const std::string& interface, const Host& host) {
    Adviser adviser(host, interface);
    if (desired.empty()) return {};
    const auto wishes = wishes_of(desired);
    adviser.modules(wishes);
    adviser.forwarding(wishes, adviser.nat_leaves_host(wishes));
    adviser.routes(wishes);
    adviser.reverse_path();
    adviser.connections(wishes);
    return std::move(adviser.all);
}

}  // namespace koi::ipvs
