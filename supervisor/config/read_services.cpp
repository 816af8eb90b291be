// supervisor/config/read_services.cpp — `services:`.
#include <array>
#include <limits>

#include "discovery/quote.h"
#include "supervisor/config/draft.h"
#include "supervisor/config/suggest.h"
#include "supervisor/config/values.h"

namespace koi::config {

namespace {

using discovery::shown;

constexpr Duration longest_persistence = 31 * 24h;  // ipvsadm's limit; the kernel's timers bear no more
constexpr std::int64_t most_connections = std::numeric_limits<std::int32_t>::max();
constexpr std::string_view place_example = "192.0.2.10:80/tcp";

constexpr std::array<std::pair<std::string_view, ipvs::Forward>, 3> forwards{
    {{"nat", ipvs::Forward::nat}, {"dr", ipvs::Forward::dr}, {"tun", ipvs::Forward::tun}}};
constexpr std::array<std::pair<std::string_view, ipvs::Tunnel>, 3> tunnels{
    {{"ipip", ipvs::Tunnel::ipip}, {"gue", ipvs::Tunnel::gue}, {"gre", ipvs::Tunnel::gre}}};
constexpr std::array<std::pair<std::string_view, Family>, 2> families{
    {{"ipv4", Family::ipv4}, {"ipv6", Family::ipv6}}};

// "192.0.2.10:80"; port 0 is every port, which Endpoint does not know.
std::optional<std::pair<IpAddress, std::uint16_t>> parse_place(const std::string& text) {
    if (const auto endpoint = Endpoint::parse(text)) return std::pair{endpoint->address, endpoint->port.value()};
    if (!text.ends_with(":0")) return std::nullopt;
    const auto any = Endpoint::parse(text.substr(0, text.size() - 1) + "1");
    if (!any) return std::nullopt;
    return std::pair{any->address, std::uint16_t{0}};
}

std::optional<ipvs::ServiceKey> read_place(const Field& field) {
    const auto text = word(field, place_example);
    if (!text) return std::nullopt;
    const auto slash = text->rfind('/');
    const auto place = parse_place(text->substr(0, slash));
    if (!place) {
        field.complain(shown(*text) + " is not a place: address:port/protocol, for example " +
                       std::string(place_example) + " or \"[2001:db8::10]:80/tcp\"");
        return std::nullopt;
    }
    if (slash == std::string::npos) {
        field.complain("the protocol is missing; did you mean " + shown(*text + "/tcp") + "?");
        return std::nullopt;
    }
    const auto protocol_word = std::string_view(*text).substr(slash + 1);
    const auto protocol = protocol_of(protocol_word);
    if (!protocol) {
        field.complain(shown(protocol_word) + " is not tcp, udp or sctp" +
                       did_you_mean(protocol_word, {"tcp", "udp", "sctp"}));
        return std::nullopt;
    }
    return ipvs::Place{.protocol = *protocol, .address = place->first, .port = place->second};
}

// A service is either at a place or for a firewall mark.
std::optional<ipvs::ServiceKey> read_key(Keys& keys, const Field& field) {
    const auto at = keys.take("at"), mark = keys.take("fwmark"), family = keys.take("family");
    if (at && mark) {
        mark->complain("a service is \"at\" a place or for a \"fwmark\", not both; remove one");
        return std::nullopt;
    }
    if (at) {
        if (family) family->complain("belongs to \"fwmark\"; a service \"at\" a place has the family of its address");
        return read_place(*at);
    }
    if (!mark) {
        // A key without a value has had its complaint.
        if (keys.is_map() && !keys.places().contains("at") && !keys.places().contains("fwmark"))
            field.complain("a service needs \"at\"; for example at: " + std::string(place_example));
        return std::nullopt;
    }
    const auto number = config::number(*mark, 1, std::numeric_limits<std::uint32_t>::max());
    std::optional<Family> which;
    if (family)
        which = choice(*family, families);
    else
        field.complain("a service for a \"fwmark\" needs \"family\": ipv4 or ipv6");
    if (!number || !which) return std::nullopt;
    return ipvs::Fwmark{.mark = static_cast<std::uint32_t>(*number), .family = *which};
}

void read_scheduler(Keys& keys, ipvs::Service& settings) {
    bool known = true;
    if (const auto field = keys.take("scheduler")) {
        const auto text = word(*field, "wrr");
        known = text && ipvs::schedulers.contains(*text);
        if (text && !known)
            field->complain(shown(*text) + " is not a scheduler of ip_vs" +
                            did_you_mean(*text, {ipvs::schedulers.begin(), ipvs::schedulers.end()}));
        if (known) settings.scheduler = *text;
    }
    const auto flags = keys.take("scheduler_flags");
    if (!flags) return;
    for (const auto& item : flags->list("[mh-port, mh-fallback]")) {
        const auto text = word(item, "mh-port");
        if (!text || !known) continue;
        if (const auto flag = ipvs::scheduler_flag(settings.scheduler, *text)) {
            settings.scheduler_flags |= *flag;
            continue;
        }
        std::vector<std::string_view> meant;
        for (const std::string_view word :
             {"sh-fallback", "sh-port", "mh-fallback", "mh-port", "flag-1", "flag-2", "flag-3"})
            if (ipvs::scheduler_flag(settings.scheduler, word)) meant.push_back(word);
        item.complain(shown(*text) + " is no flag of the scheduler " + settings.scheduler +
                      did_you_mean(*text, meant));
    }
}

void read_persistence(Keys& keys, ipvs::Service& settings) {
    if (const auto field = keys.take("persistence")) {
        const auto time = duration(*field, longest_persistence);
        if (time && *time % 1s != Duration::zero())
            field->complain("ip_vs counts persistence in whole seconds");
        else if (time)
            settings.persistence = static_cast<std::uint32_t>(*time / 1s);
    }
    if (const auto field = keys.take("granularity"))
        if (const auto length = number(*field, 1, 128)) settings.granularity = static_cast<std::uint8_t>(*length);
    if (const auto field = keys.take("persistence_engine"))
        if (one_of(*field, {"sip"})) settings.persistence_engine = "sip";
}

void read_threshold(Keys& keys, std::string_view key, std::uint32_t& to) {
    const auto field = keys.take(key);
    if (!field) return;
    if (const auto n = number(*field, 0, most_connections)) to = static_cast<std::uint32_t>(*n);
}

ServiceDraft read_service(const Field& field) {
    ServiceDraft draft;
    Service& service = draft.service;
    Keys keys(field, "a service");
    if (auto f = keys.need("name", "name: web")) set(service.name, name(*f));
    draft.at = read_key(keys, field);
    if (draft.at) service.at = *draft.at;
    if (auto f = keys.need("pool", "pool: web")) {
        const auto pool = name(*f);
        draft.has_pool = pool.has_value();
        set(service.pool, pool);
    }
    read_scheduler(keys, service.settings);
    read_persistence(keys, service.settings);
    if (auto f = keys.take("one_packet")) set(service.settings.one_packet, boolean(*f));
    if (auto f = keys.take("forward")) set(service.forward, choice(*f, forwards));
    if (auto f = keys.take("tunnel")) set(service.tunnel, choice(*f, tunnels));
    if (auto f = keys.take("tunnel_port"))
        if (const auto port = bounded<Port>(*f)) service.tunnel_port = port->value();
    read_threshold(keys, "upper_threshold", service.upper_threshold);
    read_threshold(keys, "lower_threshold", service.lower_threshold);
    if (auto f = keys.take("sorry_server")) service.sorry_server = endpoint(*f);
    keys.finish();
    draft.written = {field.spot(), keys.places()};
    return draft;
}

}  // namespace

std::vector<ServiceDraft> read_services(const Field& field) {
    std::vector<ServiceDraft> services;
    for (const auto& item : field.list("- { name: web, at: 192.0.2.10:80/tcp, pool: web }"))
        services.push_back(read_service(item));
    return services;
}

}  // namespace koi::config
