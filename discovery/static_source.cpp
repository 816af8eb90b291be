#include "discovery/static_source.h"

namespace koi::discovery {

StaticMembers::StaticMembers(const PoolSettings& pool, Tell tell)
    : tell_(std::move(tell)), answer_(resolve(std::get<StaticSource>(pool.source).members, pool)) {
    tell_(answer_);
}

}  // namespace koi::discovery
