// supervisor/base/kernel_features.h
//
// Whether the kernel we run on has the two things that are modules on Debian and that Koi stands on. To ask is to
// load them: the kernel fetches the module of a netlink protocol that somebody asks for, also when it is asked from
// inside a container, which has no modules itself.
#pragma once

#include <optional>

namespace koi {

struct KernelFeatures {
    std::optional<bool> ip_vs;      // virtual servers; nullopt: it does not say
    std::optional<bool> nf_tables;  // the leases of addresses; asking needs CAP_NET_ADMIN
};
KernelFeatures kernel_features();

}  // namespace koi
