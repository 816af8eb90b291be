// supervisor/config/rules.h
//
// What makes sense together. Each value is inside its own bounds already; these are the rules about two of them.
// Pure.
//
//   vips       1. there is one
//              2. a vhid once on a node: koi(1) and services name a group by its vhid alone
//              3. an address in one vhid
//              4. an address clients can reach: no multicast, loopback, broadcast
//              5. peers and legacy_peers are others, and of a family that is there (a warning); legacy_peers are
//                 among the peers, where there are any
//              6. advbase and advskew not both 0 (a warning)
//             19. a fixed lease is longer than a beat, and ends before the peers' patience
//             20. auth has keys, keys have auth; legacy_peers only with auth: prefer; interval only with auth, and
//                 not longer than the beat
//   services   7. names and places once
//              8. the place is a vip; remember whose
//              9. the pool is there
//             10. every port only with persistence; one-packet only UDP
//             11. a tunnel only with tun; its port with gue, and only there
//             12. lower threshold within the upper
//             13. granularity within the family; it and an engine only with persistence; an engine only UDP
//             14. backends of the other family only with tun
//             15. dr and tun cannot change ports (a warning)
//   pools     16. used by a service (a warning)
//             17. members have ports, and one weight each
//             18. a vip is no backend: connections would go in a circle
#pragma once

#include "supervisor/config/draft.h"

namespace koi::config {

void apply_rules(Draft&, Notes&);  // fills in Service::vhid

}  // namespace koi::config
