// supervisor/vip/address_set.h
//
// Addresses on interfaces, as a value; their difference. Pure. What is observed but not desired is removed, so
// `observed` is only what is ours of what is there; everything else on an interface is foreign and never touched.
#pragma once

#include <map>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "supervisor/base/address.h"

namespace koi::vip {

// A vip where it is, or should be.
struct Held {
    std::string interface;
    Prefix prefix;
    friend auto operator<=>(const Held&, const Held&) = default;
    std::string text() const;  // "192.0.2.10/24 on eth0"
};

struct AddAddress {
    Held held;
};
struct RemoveAddress {
    Held held;
};
using AddressChange = std::variant<AddAddress, RemoveAddress>;

// Removals come after additions of other addresses, but before the addition of the same address elsewhere: one
// address on two interfaces, or twice with two lengths, must never be. Removals run backwards: of many addresses in
// one network the kernel made the first the primary one, and taking the primary away each time costs it twenty times
// as much.
std::vector<AddressChange> diff(const std::set<Held>& observed, const std::set<Held>& desired);

}  // namespace koi::vip
