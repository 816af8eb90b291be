// Statuses made by hand, for golden files and laws. Every one is the same at every run.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "supervisor/status/status.h"

namespace koi::status::samples {

struct Sample {
    std::string name;
    Status status;
};

inline Instant at(Duration since_boot) { return Instant(since_boot); }
inline const Instant now = at(1'000'000s);
inline Instant ago(Duration d) { return now - d; }
inline IpAddress ip(const std::string& text) { return *IpAddress::parse(text); }
inline ipvs::ServiceKey tcp(const std::string& address, std::uint16_t port) {
    return ipvs::Place{Protocol::tcp, ip(address), port};
}

inline BackendStatus backend(const std::string& endpoint, std::uint32_t weight, std::uint32_t active = 0) {
    const Endpoint where = *Endpoint::parse(endpoint);
    BackendStatus b;
    b.key = {where.address, where.port.value()};
    b.desired_weight = b.observed_weight = weight;
    b.counters.active = active;
    b.counters.inactive = active * 2;
    b.counters.traffic = {.connections = 1000 * active,
                          .packets_in = 20'000 * active,
                          .packets_out = 30'000 * active,
                          .bytes_in = 2'000'000ull * active,
                          .bytes_out = 40'000'000ull * active,
                          .connections_per_second = active / 3,
                          .packets_in_per_second = active * 10,
                          .packets_out_per_second = active * 15,
                          .bytes_in_per_second = active * 1234ull,
                          .bytes_out_per_second = active * 98'765ull};
    return b;
}

inline ServiceStatus service(const std::string& name, const ipvs::ServiceKey& where,
                             std::vector<BackendStatus> backends) {
    ServiceStatus s;
    s.name = s.pool = name;
    s.at = where;
    s.forward = "nat";
    s.vhid = Vhid::of(51);
    s.desired = s.observed = true;
    for (const auto& b : backends) {
        s.traffic.connections += b.counters.traffic.connections;
        s.traffic.connections_per_second += b.counters.traffic.connections_per_second;
        s.traffic.bytes_in_per_second += b.counters.traffic.bytes_in_per_second;
        s.traffic.bytes_out_per_second += b.counters.traffic.bytes_out_per_second;
    }
    s.backends = std::move(backends);
    return s;
}

inline PoolStatus pool(const std::string& name, const std::vector<std::string>& members) {
    PoolStatus p;
    p.name = name;
    p.source = "file /etc/koi/" + name + ".backends";
    p.known = true;
    for (const auto& m : members) p.members.push_back({*Endpoint::parse(m), *Weight::of(1), std::nullopt});
    p.changed = ago(2h);
    p.heard = ago(7s);
    return p;
}

inline link::VhidReport vhid(int number, carp::Role role, const std::string& because) {
    link::VhidReport v;
    v.vhid = *Vhid::of(number);
    v.interface = "eth0";
    v.link_works = true;
    v.role = role;
    v.since = ago(3h);
    v.because = because;
    v.own_address = ip("10.0.0.1");
    v.counters.sent = 10'800;
    v.counters.accepted = 12;
    v.counters.refused = {0, 0, 7, 0, 0, 0, 3, 0, 0};
    v.counters.became_master = role == carp::Role::master ? 1 : 0;
    const bool here = role == carp::Role::master;
    for (const char* address : {"192.0.2.10/24", "2001:db8::10/64"})
        v.vips.push_back({{"eth0", *Prefix::parse(address)}, here, here, ago(3h)});
    return v;
}

// Just started: nothing is known yet.
inline Status newborn() {
    Status s;
    s.node = "lb1";
    s.version = "0.1.0";
    s.at = s.started = now;
    s.wall = std::chrono::system_clock::time_point(1'714'793'521'123ms);  // 2024-05-04T03:32:01.123Z
    return s;
}

// A master with two services and nothing wrong.
inline Status well() {
    Status s = newborn();
    s.configuration = "/etc/koi/koi.yaml";
    s.started = ago(74h);
    s.configured = ago(5h);
    s.standby = "cold, because the table has 7 entries (warm above 500)";
    s.datapath = "ip_vs";
    s.speaker_known = true;
    s.preempt = {{*Vhid::of(51), true}};
    s.speaker.vhids = {vhid(51, carp::Role::master, "no advert from 10.0.0.2 for 3.08 s")};
    s.speaker.peers = {
        {*Vhid::of(51), ip("10.0.0.2"), 0, 1'390'625us, ago(400ms), carp::Condition{7, 3, 4}, false, {}, true, true}};
    s.speaker.worst_slip = 180us;
    s.speaker.leases = true;
    s.services = {service("web", tcp("192.0.2.10", 80),
                          {backend("10.0.1.1:8080", 3, 42), backend("10.0.1.2:8080", 1, 14),
                           backend("10.0.1.3:8080", 1, 1500)}),
                  service("mail", tcp("2001:db8::10", 25),
                          {backend("[2001:db8:1::1]:25", 1), backend("[2001:db8:1::2]:25", 1)})};
    s.services[1].settings.scheduler = "sh";
    s.services[1].settings.scheduler_flags = 0x10;
    s.services[1].forward = "tun ipip";
    s.pools = {pool("web", {"10.0.1.1:8080", "10.0.1.2:8080", "10.0.1.3:8080"}),
               pool("mail", {"[2001:db8:1::1]:25", "[2001:db8:1::2]:25"})};
    s.pools[1].source = "static, 2 members";
    return s;
}

inline Status backup() {
    Status s = well();
    auto& v = s.speaker.vhids[0];
    v = vhid(51, carp::Role::backup, "10.0.0.2 leads with a shorter beat");
    v.master = ip("10.0.0.2");
    v.master_beat = 1s;
    v.last_heard = ago(400ms);
    s.speaker.peers[0].standby = s.speaker.peers[0].presence = false;
    s.speaker.vhids.push_back(vhid(52, carp::Role::backup, "told to step down by uid 0"));
    s.speaker.vhids[1].stepped_down = true;
    s.speaker.vhids[1].vips = {{{"eth0", *Prefix::parse("192.0.2.11/24")}, false, false, ago(3min)}};
    for (auto& service : s.services) {
        service.desired = service.observed = false;
        service.traffic = {};
        for (auto& b : service.backends) {
            b.desired_weight = b.observed_weight = std::nullopt;
            b.counters = {};
        }
    }
    return s;
}

inline Status troubled() {
    Status s = well();
    s.datapath = "none: the kernel has no ip_vs; run: modprobe ip_vs";
    s.troubles = {
        {"ipvs", "",
         "the kernel has no ip_vs, so no service can be served; run: modprobe ip_vs, and put ip_vs into "
         "/etc/modules-load.d/koi.conf so that it is there after the next start, too",
         false, ago(90s)},
        {"address", "192.0.2.10", "adding 192.0.2.10/24 to eth0: Operation not permitted; koid needs CAP_NET_ADMIN",
         false, ago(3min)},
        {"stranger", "2001:db8::10",
         "02:00:5e:00:53:07 answers for this vip as well; find that machine with: bridge fdb", false, ago(26h)},
        {"host", "rp_filter", "net.ipv4.conf.eth0.rp_filter is 1, and DR answers may be dropped", true, ago(4 * 24h)},
    };
    s.speaker.strangers = {{ip("2001:db8::10"), {0x02, 0, 0x5e, 0, 0x53, 0x07}, ago(20s)}};
    auto& v = s.speaker.vhids[0];
    v.demotion = *Demotion::of(240);
    v.link_works = false;
    v.vips[0].present = false;
    s.services[0].observed = false;
    for (auto& b : s.services[0].backends) b.observed_weight = std::nullopt;
    s.services[1].backends[0].observed_weight = 0;
    s.services[1].backends[1].observed_weight = std::nullopt;
    s.repairs = 3;
    return s;
}

inline Status draining() {
    Status s = well();
    auto& gone = s.services[0].backends[1];
    gone.desired_weight = gone.observed_weight = 0;
    gone.draining = true;
    s.pools[0].members[1].draining_until = now + 12s;
    auto& late = s.services[0].backends[2];
    late.desired_weight = 5;
    s.services[1].backends[0].desired_weight = std::nullopt;
    auto sorry = backend("[2001:db8:1::99]:25", 1);
    sorry.sorry = true;
    s.services[1].backends.push_back(sorry);
    return s;
}

inline Status source_failing() {
    Status s = well();
    s.pools[0].failure = "opening /etc/koi/web.backends: No such file or directory";
    s.pools[0].failing_since = s.pools[0].heard = ago(11min);
    s.pools[1].empty_since = ago(4s);
    PoolStatus cold = pool("api", {"10.0.3.1:9000"});
    cold.from_disk = true;
    cold.heard = Instant{};
    PoolStatus new_one;
    new_one.name = "new";
    new_one.source = "file /srv/discovery/generated/by/something/with/a/very/long/path/new.backends";
    s.pools.push_back(cold);
    s.pools.push_back(new_one);
    s.troubles = {{"source", "web",
                   "opening /etc/koi/web.backends: No such file or directory; the last good list (3 backends, 11 min "
                   "old) stays in use",
                   false, ago(11min)},
                  {"source", "mail", "the source says that no backend is left; held for 30 s", true, ago(4s)}};
    return s;
}

inline Status foreign() {
    Status s = well();
    auto stranger = service("", ipvs::Fwmark{7, Family::ipv4}, {backend("10.9.9.9:80", 1, 3)});
    stranger.foreign = true;
    stranger.desired = false;
    stranger.pool.clear();
    stranger.vhid = std::nullopt;
    for (auto& b : stranger.backends) b.desired_weight = std::nullopt;
    auto left_over = service("", tcp("192.0.2.10", 81), {});
    left_over.desired = false;
    left_over.pool.clear();
    s.services.push_back(stranger);
    s.services.push_back(left_over);
    return s;
}

// The widest things there can be.
inline Status wide() {
    const std::string widest = "2001:db8:1111:2222:3333:4444:5555:";
    Status s = well();
    s.node = std::string(63, 'n');
    s.configuration = "/" + std::string(120, 'c') + ".yaml";
    auto& v = s.speaker.vhids[0];
    v.interface = "interface-15-ch";
    v.role = carp::Role::backup;
    v.master = ip(widest + "6666");
    v.last_heard = ago(1s);
    v.because = "no advert from " + widest + "6666 for 3.08 s, and its claim was the stronger one before that";
    v.vips[1] = {{"interface-15-ch", *Prefix::parse(widest + "7777/128")}, true, false, ago(99min)};
    s.speaker.strangers = {{ip(widest + "7777"), {0x02, 0, 0x5e, 0, 0x53, 0x07}, ago(20s)}};
    s.speaker.peers = {
        {*Vhid::of(255), ip(widest + "6666"), 240, 254'992'187us, ago(20s), {}, false, carp::Refusal::unknown_key}};
    std::vector<BackendStatus> backends;
    for (const char* last : {"1111", "2222", "aaaa", "ffff"})
        backends.push_back(backend("[" + widest + last + "]:65535", 65535, 4'000'000'000u));
    backends[1].desired_weight = 1;
    backends[2].observed_weight = std::nullopt;
    backends[3].draining = true;
    s.services = {service("a-service-with-the-longest-name-there-can-be-sixty-three-chars-",
                          ipvs::Place{Protocol::sctp, ip(widest + "7777"), 65535}, backends)};
    s.services[0].settings.scheduler = "mh";
    s.services[0].settings.scheduler_flags = 0x18;
    s.services[0].settings.persistence = 86400;
    s.services[0].settings.one_packet = true;
    s.pools = {pool("a-pool-with-the-longest-name-there-can-be-sixty-three-charactrs", {})};
    for (const auto& b : backends)
        s.pools[0].members.push_back({{b.key.address, *Port::of(65535)}, *Weight::of(65535), now + 30s});
    s.troubles = {
        {"address", widest + "7777/128", std::string(150, 'x') + " is a word that fits nowhere", false, ago(1min)}};
    return s;
}

inline Status many() {
    Status s = well();
    std::vector<BackendStatus> backends;
    std::vector<std::string> members;
    for (int i = 0; i < 300; ++i) {
        members.push_back("10.0." + std::to_string(i / 250 + 1) + "." + std::to_string(i % 250 + 1) + ":8080");
        backends.push_back(backend(members.back(), 1, static_cast<std::uint32_t>(i)));
    }
    backends[117].observed_weight = 0;
    backends[250].observed_weight = std::nullopt;
    s.services[0] = service("web", tcp("192.0.2.10", 80), backends);
    s.pools[0] = pool("web", members);
    return s;
}

inline std::vector<Sample> all() {
    return {{"all_well", well()},
            {"backup", backup()},
            {"troubles", troubled()},
            {"draining", draining()},
            {"source_failing", source_failing()},
            {"foreign_service", foreign()},
            {"wide_addresses", wide()},
            {"many_backends", many()},
            {"newborn", newborn()}};
}

}  // namespace koi::status::samples
