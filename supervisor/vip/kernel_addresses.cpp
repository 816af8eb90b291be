#include "supervisor/vip/kernel_addresses.h"

#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/ip.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstdio>
#include <map>

#include "supervisor/vip/rtnetlink.h"

namespace koi::vip {

namespace {

constexpr std::uint8_t our_mark = 0xC8;
constexpr std::uint32_t forever = 0xFFFFFFFF;
constexpr int attempts = 5;  // at reading a list that changes under our hands

template <class Header>
const Header& header_of(nlmsghdr* message) {
    return *static_cast<const Header*>(nlmsg_data(message));
}

// ---- Interfaces ----

struct LinkFacts {
    Link link;
    bool promotes = false;  // the other addresses of a network stay when its first one goes
};

bool promotes_secondaries(nlattr* families) {
    nlattr* ipv4 =
        families ? nla_find(static_cast<nlattr*>(nla_data(families)), nla_len(families), AF_INET) : nullptr;
    nlattr* conf = ipv4 ? nla_find(static_cast<nlattr*>(nla_data(ipv4)), nla_len(ipv4), IFLA_INET_CONF) : nullptr;
    if (!conf || nla_len(conf) < static_cast<int>(IPV4_DEVCONF_PROMOTE_SECONDARIES * sizeof(std::uint32_t)))
        return false;
    return static_cast<const std::uint32_t*>(nla_data(conf))[IPV4_DEVCONF_PROMOTE_SECONDARIES - 1] != 0;
}

std::optional<LinkFacts> read_link(nlmsghdr* message) {
    nlattr* found[IFLA_MAX + 1];
    if (nlmsg_parse(message, sizeof(ifinfomsg), found, IFLA_MAX, nullptr) < 0 || !found[IFLA_IFNAME])
        return std::nullopt;
    const auto& header = header_of<ifinfomsg>(message);
    LinkFacts facts;
    Link& link = facts.link;
    link.name = nla_get_string(found[IFLA_IFNAME]);
    link.index = static_cast<unsigned>(header.ifi_index);
    const bool ethernet = found[IFLA_ADDRESS] && nla_len(found[IFLA_ADDRESS]) == static_cast<int>(link.mac.size());
    if (ethernet) nla_memcpy(link.mac.data(), found[IFLA_ADDRESS], static_cast<int>(link.mac.size()));
    link.up = (header.ifi_flags & IFF_UP) != 0;
    link.carrier = (header.ifi_flags & IFF_LOWER_UP) != 0;
    link.has_arp = ethernet && (header.ifi_flags & (IFF_NOARP | IFF_LOOPBACK)) == 0;
    if (found[IFLA_MTU]) link.mtu = nla_get_u32(found[IFLA_MTU]);
    facts.promotes = promotes_secondaries(found[IFLA_AF_SPEC]);
    return facts;
}

ifinfomsg link_header(unsigned index = 0) {
    ifinfomsg header{};
    header.ifi_index = static_cast<int>(index);
    return header;
}

// ---- Addresses ----

std::optional<IpAddress> address_of(nlattr* attribute) {
    if (!attribute) return std::nullopt;
    return IpAddress::from_bytes(
        {static_cast<const std::uint8_t*>(nla_data(attribute)), static_cast<std::size_t>(nla_len(attribute))});
}

// The interface is only a number here; its name is filled in later.
struct Numbered {
    Found found;
    unsigned index;
};

std::optional<Numbered> read_address(nlmsghdr* message) {
    nlattr* found[IFA_MAX + 1];
    if (nlmsg_parse(message, sizeof(ifaddrmsg), found, IFA_MAX, nullptr) < 0) return std::nullopt;
    const auto& header = header_of<ifaddrmsg>(message);
    // IFA_LOCAL is ours; IFA_ADDRESS the same, or the far end of a point-to-point link. IPv6 often has only this one.
    const auto address = address_of(found[IFA_LOCAL] ? found[IFA_LOCAL] : found[IFA_ADDRESS]);
    if (!address || header.ifa_prefixlen > address->full_length()) return std::nullopt;
    const std::uint32_t flags = found[IFA_FLAGS] ? nla_get_u32(found[IFA_FLAGS]) : header.ifa_flags;
    Found out;
    out.held.prefix = {*address, header.ifa_prefixlen};
    out.ours = found[IFA_PROTO] && nla_get_u8(found[IFA_PROTO]) == our_mark;
    out.secondary = address->is_v4() && (flags & IFA_F_SECONDARY) != 0;  // for IPv6 this bit means "temporary"
    out.tentative = (flags & IFA_F_TENTATIVE) != 0;
    out.deprecated = (flags & IFA_F_DEPRECATED) != 0;
    out.ends = (flags & IFA_F_PERMANENT) == 0;
    return Numbered{out, header.ifa_index};
}

Request about_address(int type, int flags, const Prefix& prefix, unsigned index) {
    ifaddrmsg header{};
    header.ifa_family = static_cast<std::uint8_t>(af(prefix.address.family()));
    header.ifa_prefixlen = prefix.length;
    header.ifa_index = index;
    Request request(type, flags, header);
    request.put(IFA_LOCAL, prefix.address.bytes()).put(IFA_ADDRESS, prefix.address.bytes());
    return request;
}

Request addition(const Prefix& prefix, unsigned index, KernelAddresses::Lifetime lifetime) {
    const bool v6 = !prefix.address.is_v4();
    auto request = about_address(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, prefix, index);
    std::uint32_t flags = v6 ? IFA_F_NODAD : 0;
    if (prefix.length == prefix.address.full_length())
        flags |= IFA_F_NOPREFIXROUTE;  // a network of one needs no route
    const std::uint32_t valid = lifetime ? static_cast<std::uint32_t>(lifetime->count()) : forever;
    const ifa_cacheinfo ends{v6 ? 0 : valid, valid, 0, 0};  // preferred, valid
    request.put32(IFA_FLAGS, flags).put8(IFA_PROTO, our_mark);
    request.put(IFA_CACHEINFO, {reinterpret_cast<const std::uint8_t*>(&ends), sizeof ends});
    return request;
}

Error told(const Held& held, Error cause) {
    if (cause.code == EPERM) cause.story = "needs CAP_NET_ADMIN";
    if (cause.code == EACCES && !held.prefix.address.is_v4())
        cause.story =
            "IPv6 is switched off there; run: sysctl -w net.ipv6.conf." + held.interface + ".disable_ipv6=0";
    if (cause.code == EAFNOSUPPORT || cause.code == EOPNOTSUPP)
        cause.story = "this kernel does not speak " + std::string(to_string(held.prefix.address.family()));
    return cause;
}

}  // namespace

std::string text(const Mac& m) {
    char out[18];
    std::snprintf(out, sizeof out, "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
    return out;
}

struct KernelAddresses::Inside {
    Rtnetlink requests;
    Rtnetlink events;
    std::map<unsigned, std::string> names;  // the kernel's messages about addresses know only numbers

    Result<std::optional<LinkFacts>> link(const std::string& interface);
    Outcome list(int type, const Rtnetlink::Each& each, const std::function<void()>& begin);
    std::optional<Found> named(nlmsghdr*);
    std::optional<Event> event(nlmsghdr*);
    std::optional<Event> address_event(nlmsghdr*);
    std::optional<Event> link_event(nlmsghdr*);
};

KernelAddresses::KernelAddresses(std::unique_ptr<Inside> inside) : inside_(std::move(inside)) {}
KernelAddresses::KernelAddresses(KernelAddresses&&) noexcept = default;
KernelAddresses& KernelAddresses::operator=(KernelAddresses&&) noexcept = default;
KernelAddresses::~KernelAddresses() = default;

Result<KernelAddresses> KernelAddresses::open() {
    auto requests = Rtnetlink::for_requests();
    if (!requests) return requests.error();
    constexpr int groups[] = {RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR};
    auto events = Rtnetlink::for_events(groups);
    if (!events) return events.error();
    auto inside = std::make_unique<Inside>(Inside{std::move(*requests), std::move(*events), {}});
    KernelAddresses opened(std::move(inside));
    if (auto links = opened.links(); !links) return links.error();  // learns the names
    return opened;
}

Outcome KernelAddresses::Inside::list(int type, const Rtnetlink::Each& each, const std::function<void()>& begin) {
    Outcome outcome = Done{};
    for (int attempt = 0; attempt < attempts; ++attempt) {
        begin();
        Request request(type, NLM_F_DUMP, link_header());  // for addresses only the first byte counts: any family
        if (type == RTM_GETLINK) request.put32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
        outcome = requests.ask(request, each);
        if (outcome || outcome.error().code != EINTR) break;
    }
    return outcome;
}

std::optional<Found> KernelAddresses::Inside::named(nlmsghdr* message) {
    auto numbered = read_address(message);
    if (!numbered) return std::nullopt;
    const auto name = names.find(numbered->index);
    if (name == names.end()) return std::nullopt;  // an interface that has gone since
    numbered->found.held.interface = name->second;
    return numbered->found;
}

Result<std::vector<Link>> KernelAddresses::links() {
    std::vector<Link> links;
    auto& names = inside_->names;
    const auto done = inside_->list(
        RTM_GETLINK,
        [&](nlmsghdr* message) {
            const auto facts = read_link(message);
            if (!facts) return;
            names[facts->link.index] = facts->link.name;
            links.push_back(facts->link);
        },
        [&] {
            links.clear();
            names.clear();
        });
    if (!done) return during("reading the interfaces", done.error());
    return links;
}

Result<std::vector<Found>> KernelAddresses::addresses() {
    // The names first: an interface may have come, or been renamed, since the last event was read.
    if (auto fresh = links(); !fresh) return fresh.error();
    std::vector<Found> addresses;
    const auto done = inside_->list(
        RTM_GETADDR,
        [&](nlmsghdr* message) {
            if (auto found = inside_->named(message)) addresses.push_back(std::move(*found));
        },
        [&] { addresses.clear(); });
    if (!done) return during("reading the addresses", done.error());
    return addresses;
}

Result<std::optional<LinkFacts>> KernelAddresses::Inside::link(const std::string& interface) {
    if (interface.empty() || interface.size() >= IFNAMSIZ) return std::optional<LinkFacts>();
    Request request(RTM_GETLINK, 0, link_header());
    request.put_text(IFLA_IFNAME, interface).put32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    std::optional<LinkFacts> facts;
    const auto done = requests.ask(request, [&](nlmsghdr* message) { facts = read_link(message); });
    if (!done && done.error().code != ENODEV) return during("reading interface " + interface, done.error());
    return facts;
}

Result<std::optional<Link>> KernelAddresses::link(const std::string& interface) {
    auto facts = inside_->link(interface);
    if (!facts) return facts.error();
    return *facts ? std::optional((*facts)->link) : std::nullopt;
}

Outcome KernelAddresses::add(const Held& held, Lifetime lifetime) {
    const std::string deed = "adding " + held.text();
    auto facts = inside_->link(held.interface);
    if (!facts) return during(deed, facts.error());
    if (!*facts) return Error{deed + ": there is no interface " + held.interface + " on this machine", ENODEV};

    const unsigned index = (*facts)->link.index;
    const bool has_company = held.prefix.address.is_v4() && held.prefix.length < held.prefix.address.full_length();
    if (has_company && !(*facts)->promotes) {
        // Refused only by a kernel that would refuse the address as well.
        constexpr int nests[] = {IFLA_AF_SPEC, AF_INET, IFLA_INET_CONF};
        Request promote(RTM_SETLINK, 0, link_header(index));
        (void)inside_->requests.ask(promote.put32_in(nests, IPV4_DEVCONF_PROMOTE_SECONDARIES, 1));
    }
    if (auto done = inside_->requests.ask(addition(held.prefix, index, lifetime)); !done)
        return during(deed, told(held, done.error()));
    return Done{};
}

Outcome KernelAddresses::renew(const std::set<Held>& all, Lifetime lifetime) {
    Outcome outcome = Done{};
    for (const auto& held : all) {
        const auto known = std::ranges::find(inside_->names, held.interface, [](const auto& n) { return n.second; });
        if (known == inside_->names.end()) continue;  // its interface has gone, and it too
        auto done = inside_->requests.ask(addition(held.prefix, known->first, lifetime));
        if (!done) outcome = during("renewing " + held.text(), told(held, done.error()));
    }
    return outcome;
}

Outcome KernelAddresses::remove(const Held& held) {
    const std::string deed = "removing " + held.text();
    auto facts = inside_->link(held.interface);
    if (!facts) return during(deed, facts.error());
    if (!*facts) return Done{};  // the interface has gone, and its addresses with it
    const auto done = inside_->requests.ask(about_address(RTM_DELADDR, 0, held.prefix, (*facts)->link.index));
    if (done || done.error().code == EADDRNOTAVAIL || done.error().code == ENODEV) return Done{};
    return during(deed, told(held, done.error()));
}

// ---- Events ----

std::optional<KernelAddresses::Event> KernelAddresses::Inside::address_event(nlmsghdr* message) {
    const auto found = named(message);
    if (!found) return std::nullopt;
    if (message->nlmsg_type == RTM_DELADDR) return AddressGone{found->held};
    return AddressCame{found->held, found->ours};
}

std::optional<KernelAddresses::Event> KernelAddresses::Inside::link_event(nlmsghdr* message) {
    // A bridge speaks of its ports in the same words: a port that leaves it is "deleted", and is still an interface.
    if (header_of<ifinfomsg>(message).ifi_family == AF_BRIDGE) return std::nullopt;
    auto facts = read_link(message);
    if (!facts) return std::nullopt;
    if (message->nlmsg_type == RTM_DELLINK) {
        names.erase(facts->link.index);
        return LinkGone{facts->link.name, facts->link.index};
    }
    names[facts->link.index] = facts->link.name;
    return LinkChanged{facts->link};
}

std::optional<KernelAddresses::Event> KernelAddresses::Inside::event(nlmsghdr* message) {
    switch (message->nlmsg_type) {
        case RTM_NEWADDR:
        case RTM_DELADDR: return address_event(message);
        case RTM_NEWLINK:
        case RTM_DELLINK: return link_event(message);
        default: return std::nullopt;
    }
}

int KernelAddresses::event_fd() const { return inside_->events.fd(); }

std::vector<KernelAddresses::Event> KernelAddresses::listen() {
    std::vector<Event> heard;
    const bool complete = inside_->events.hear([&](nlmsghdr* message) {
        if (auto event = inside_->event(message)) heard.push_back(std::move(*event));
    });
    if (!complete) heard.emplace_back(LostEvents{});
    return heard;
}

}  // namespace koi::vip
