#include "supervisor/config/config.h"

#include <algorithm>

namespace koi::config {

namespace {

constexpr std::size_t warm_above = 500;

// What is known of the table's size before any source has answered. Stops where the answer is clear.
std::size_t known_entries(const Config& config) {
    std::size_t count = config.services.size();
    for (const auto& service : config.services) {
        if (count > warm_above) break;
        const auto* pool = config.pool(service.pool);
        const auto* source = pool ? std::get_if<discovery::StaticSource>(&pool->source) : nullptr;
        if (source) count += source->members.size();
    }
    return count;
}

}  // namespace

const discovery::PoolSettings* Config::pool(const std::string& name) const {
    const auto found = std::ranges::find(pools, name, &discovery::PoolSettings::name);
    return found == pools.end() ? nullptr : &*found;
}

StandbyChoice standby(const Config& config) {
    const std::string limit = std::to_string(warm_above);
    if (config.standby != Standby::automatic)
        return {config.standby == Standby::warm, "because the configuration says so"};
    const auto entries = known_entries(config);
    if (entries > warm_above) return {true, "because the table has more than " + limit + " entries"};
    return {false, "because the table has " + std::to_string(entries) + (entries == 1 ? " entry" : " entries") +
                       " (warm above " + limit + ")"};
}

}  // namespace koi::config
