// ipvs/host_needs.h
//
// What the forwarding methods need from the host (ipvs.md 5), as sentences with remedies. needs() is pure: it is
// given the table and ways to ask for a sysctl, a route and a module, so that a test can be any host. It asks for one
// route per backend address, so it belongs to a test of the configuration and to a slow beat, not to the way to
// master.
//
//   what                        weight
//   ip_vs_module                broken   the kernel has no ip_vs, loaded or to be loaded
//   scheduler_module            broken   it has no such scheduler
//   ip_forward, ipv6_forwarding broken   nat without forwarding
//   no_route                    broken   a backend cannot be reached (nat, dr, tun)
//   dr_on_link                  broken   dr towards a backend behind a gateway
//   send_redirects              warning  nat on a host that would tell clients a shorter way
//   rp_filter                   warning  strict filtering on the interface of the vips
//   expire_nodest_conn          warning  connections of a removed backend would hang instead of ending
//   expire_quiescent_template   warning  persistent clients would stay with a drained backend
//   sloppy_tcp                  warning  sh and mh with dr or tun: connections would not survive a change of master
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "ipvs/table.h"

namespace koi::ipvs {

struct Advice {
    enum class Weight { warning, broken } weight;  // broken: traffic cannot flow like this
    std::string what;      // stable word for status and metrics: "ip_forward", "rp_filter", "scheduler_module" ...
    std::string sentence;  // "NAT needs IPv4 forwarding, and it is off; run: koi-host-setup, which sets …"
    friend bool operator==(const Advice&, const Advice&) = default;
};

struct Host {
    // The value of a sysctl by its dotted name ("net.ipv4.ip_forward"), nullopt if it does not exist.
    std::function<std::optional<std::string>(const std::string&)> sysctl;
    // The route to a backend: nullopt if there is none; gateway: it is not on-link.
    struct Route {
        bool via_gateway = false;
        bool local = false;
        std::string interface;
    };
    std::function<std::optional<Route>(const IpAddress&)> route;
    // Whether a kernel module is loaded, built in or can be loaded by its name; nullopt: this host does not say.
    std::function<std::optional<bool>(const std::string&)> module_available = [](const std::string&) {
        return std::optional<bool>();
    };
};

std::vector<Advice> needs(const Table& desired, const std::string& interface, const Host&);
Host this_host();  // reads /proc/sys, /sys/module and /lib/modules, asks rtnetlink (ipvs/kernel/this_host.cpp)

}  // namespace koi::ipvs
