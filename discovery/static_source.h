// discovery/static_source.h — members that stand in the configuration.
#pragma once

#include "discovery/source.h"

namespace koi::discovery {

class StaticMembers final : public Source {
public:
    StaticMembers(const PoolSettings&, Tell);  // the pool has a StaticSource
    void look() override {}
    void tell_again() override { tell_(answer_); }

private:
    Tell tell_;
    Answer answer_;
};

}  // namespace koi::discovery
