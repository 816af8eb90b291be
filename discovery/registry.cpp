#include "discovery/registry.h"

#include "discovery/file_source.h"
#include "discovery/static_source.h"

namespace koi::discovery {

std::unique_ptr<Source> Registry::start(const PoolSettings& pool) {
    Tell tell = [this, name = pool.name](const Answer& answer) { tell_(name, answer); };
    if (std::holds_alternative<FileSource>(pool.source))
        return std::make_unique<FileReader>(loop_, watches_, pool, std::move(tell));
    return std::make_unique<StaticMembers>(pool, std::move(tell));
}

void Registry::watch(const std::vector<PoolSettings>& pools) {
    auto before = std::move(running_);
    running_.clear();
    for (const auto& pool : pools) {
        const auto old = before.find(pool.name);
        if (old == before.end() || old->second.settings != pool) {
            running_[pool.name] = {pool, start(pool)};
            continue;
        }
        auto& kept = running_[pool.name] = std::move(old->second);
        before.erase(old);
        kept.source->look();
        kept.source->tell_again();
    }
}

void Registry::look() {
    for (auto& [name, pool] : running_) pool.source->look();
}

}  // namespace koi::discovery
