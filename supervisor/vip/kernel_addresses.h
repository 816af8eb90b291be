// supervisor/vip/kernel_addresses.h
//
// rtnetlink: read, add, remove addresses, and hear of changes. Ours carry IFA_PROTO 0xc8 (kernel ≥ 5.18) and IPv6
// ones are added without duplicate address detection and deprecated (preferred_lft 0), or the kernel would pick a vip
// as the source of its own traffic (ipvs.md 5.1, 6.1). Adding is idempotent (CREATE|REPLACE): what is there is
// adopted.
//
// An address shorter than the full length brings the route to its network along, as `ip address add` does. If it is
// the first of its network on the interface, the kernel would take every later one away together with it; so adding
// switches promote_secondaries on for that interface.
//
// Also the interfaces themselves: index, MAC, up, carrier, MTU. Truth is IFF_UP and IFF_LOWER_UP (ipvs.md 6.5).
//
// No call waits longer than a second for a part of an answer. Needs CAP_NET_ADMIN to change, nothing to read. All of
// it concerns the network namespace in which open() was called.
#pragma once

#include <array>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "supervisor/base/result.h"
#include "supervisor/vip/address_set.h"

namespace koi::vip {

using Mac = std::array<std::uint8_t, 6>;
std::string text(const Mac&);

struct Link {
    std::string name;
    unsigned index = 0;
    Mac mac{};
    bool up = false;       // administratively
    bool carrier = false;  // IFF_LOWER_UP
    bool has_arp = true;   // an Ethernet address, not IFF_NOARP, not loopback: announcements make sense
    unsigned mtu = 0;
    bool works() const { return up && carrier; }
    friend bool operator==(const Link&, const Link&) = default;
};

struct Found {
    Held held;
    bool ours = false;  // carries our IFA_PROTO
    bool secondary = false;
    bool tentative = false;
    bool deprecated = false;
    bool ends = false;  // by itself: it has a lifetime
};

class KernelAddresses {
public:
    static Result<KernelAddresses> open();
    KernelAddresses(KernelAddresses&&) noexcept;
    KernelAddresses& operator=(KernelAddresses&&) noexcept;
    ~KernelAddresses();

    Result<std::vector<Found>> addresses();
    Result<std::vector<Link>> links();
    Result<std::optional<Link>> link(const std::string& interface);

    // How long an address stays by itself; none: for ever. Whole seconds, and the kernel is up to 0.4 s late
    // (ipvs.md 6.2), never early.
    using Lifetime = std::optional<std::chrono::seconds>;
    // Never fails because it is there already. IPv6: one that is there with another length keeps it; remove it first.
    Outcome add(const Held&, Lifetime = {});
    // The same lifetime anew, for addresses that are there. Cheaper than add(): nothing else is looked at.
    Outcome renew(const std::set<Held>&, Lifetime);
    Outcome remove(const Held&);  // an address that is not there is removed already

    // Changes, as they happen, ours included; some only repeat what was known. The descriptor becomes readable;
    // listen() then tells what happened, without blocking. LostEvents: the kernel dropped some (ENOBUFS): read
    // everything again.
    struct AddressGone {
        Held held;
    };
    struct AddressCame {
        Held held;
        bool ours;
    };
    struct LinkChanged {
        Link link;
    };
    struct LinkGone {
        std::string name;
        unsigned index;
    };
    struct LostEvents {};
    using Event = std::variant<AddressGone, AddressCame, LinkChanged, LinkGone, LostEvents>;
    int event_fd() const;
    std::vector<Event> listen();

private:
    struct Inside;
    explicit KernelAddresses(std::unique_ptr<Inside>);
    std::unique_ptr<Inside> inside_;
};

}  // namespace koi::vip
