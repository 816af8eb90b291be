// supervisor/base/check.h
//
// KOI_CHECK(promise): a promise Koi made to itself. A broken one is said on stderr and ends the process; the speaker
// starts a clean worker. Never for what the world may do to us: that is a Result.
#pragma once

#include <cstdio>
#include <cstdlib>

#define KOI_CHECK(promise)                                                                          \
    do {                                                                                            \
        if (!(promise)) {                                                                           \
            std::fprintf(stderr, "<2>broken promise at %s:%d: %s\n", __FILE__, __LINE__, #promise); \
            std::abort();                                                                           \
        }                                                                                           \
    } while (false)
