// ipvs/refusal.h
//
// Why an engine refused a change: the errno in words, with cause and remedy. Pure. The engine in memory uses the same
// words as the kernel, so that a dry run reads like the real thing. Error numbers: ipvs.md 1.5.
#pragma once

#include "ipvs/diff.h"
#include "supervisor/base/result.h"

namespace koi::ipvs {

// "add service 192.0.2.10:80/tcp (twos): the kernel has no scheduler called twos; load it with: modprobe ip_vs_twos"
Error refusal(const Change&, int code);

// The same for what is not about one change: opening, reading, sending.
Error refusal(int code);

}  // namespace koi::ipvs
