#include "supervisor/config/digest.h"

#include <algorithm>

#include "supervisor/config/read.h"

namespace koi::config {

std::uint64_t digest(Config config) {
    config.node.clear();
    for (auto& vip : config.vips) {
        vip.key_file.clear();
        vip.auth_key_files.clear();
        auto& us = vip.carp;
        us.interface.clear();
        us.peers.clear();
        us.advskew = *carp::Advskew::of(0);
        us.preempt = true;
        us.preempt_delay = us.interval = {};
        us.lease = {};
    }
    std::uint64_t hash = 0xCBF29CE484222325;
    for (const char c : print(config)) hash = (hash ^ static_cast<std::uint8_t>(c)) * 0x100000001B3;
    return std::max<std::uint64_t>(hash, 1);
}

}  // namespace koi::config
