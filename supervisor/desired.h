// supervisor/desired.h — what this node should be like. Made by plan(), carried out by settle().
#pragma once

#include "ipvs/table.h"
#include "supervisor/base/types.h"

namespace koi {

struct Desired {
    ipvs::Table table;  // our virtual servers, and no others
    Demotion demotion = *Demotion::of(0);
    friend bool operator==(const Desired&, const Desired&) = default;
};

}  // namespace koi
