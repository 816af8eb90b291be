#include "supervisor/owned.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "supervisor/base/file.h"

namespace koi {

namespace {

using nlohmann::json;

json to_json(const ipvs::ServiceKey& key) {
    if (const auto* mark = std::get_if<ipvs::Fwmark>(&key))
        return {{"fwmark", mark->mark}, {"family", to_string(mark->family)}};
    const auto& place = std::get<ipvs::Place>(key);
    return {{"protocol", to_string(place.protocol)}, {"address", place.address.text()}, {"port", place.port}};
}

std::optional<ipvs::ServiceKey> from_json(const json& item) {
    if (!item.is_object()) return std::nullopt;
    if (item.contains("fwmark")) {
        const auto mark = item.value("fwmark", std::int64_t{-1});
        const auto family = item.value("family", std::string());
        if (mark < 1 || mark > 0xFFFFFFFF || (family != "ipv4" && family != "ipv6")) return std::nullopt;
        return ipvs::Fwmark{static_cast<std::uint32_t>(mark), family == "ipv4" ? Family::ipv4 : Family::ipv6};
    }
    const auto protocol = protocol_of(item.value("protocol", std::string()));
    const auto address = IpAddress::parse(item.value("address", std::string()));
    const auto port = item.value("port", -1);
    if (!protocol || !address || port < 0 || port > 65535) return std::nullopt;
    return ipvs::Place{*protocol, *address, static_cast<std::uint16_t>(port)};
}

}  // namespace

Result<std::set<ipvs::ServiceKey>> read_owned(const std::string& directory) {
    const std::string path = directory + "/owned.json";
    const auto content = read_whole(path);
    std::set<ipvs::ServiceKey> owned;
    if (!content && content.error().code == ENOENT) return owned;
    if (!content) return content.error();
    const auto tree = json::parse(*content, nullptr, false);
    const auto set_aside = [&]() -> Error {
        std::rename(path.c_str(), (path + ".bad").c_str());
        return Error{path +
                     " makes no sense and was set aside as owned.json.bad; only services of the configuration are "
                     "taken for ours"};
    };
    try {  // a value of another type than asked for throws; nlohmann's exceptions stop here
        if (!tree.is_object() || !tree.contains("services") || !tree["services"].is_array()) return set_aside();
        for (const auto& item : tree["services"]) {
            const auto key = from_json(item);
            if (!key) return set_aside();
            owned.insert(*key);
        }
    } catch (const json::exception&) {
        return set_aside();
    }
    return owned;
}

Outcome write_owned(const std::string& directory, const std::set<ipvs::ServiceKey>& owned) {
    json tree = {{"services", json::array()}};
    for (const auto& key : owned) tree["services"].push_back(to_json(key));
    // Not synced: after a power cut the kernel's table is gone as well.
    return write_whole(directory + "/owned.json", tree.dump(1) + "\n", 0600, false);
}

}  // namespace koi
