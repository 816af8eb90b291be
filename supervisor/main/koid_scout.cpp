// supervisor/main/koid_scout.cpp — the scout's program. All of it is in discovery/scout.cpp.
#include "discovery/scout.h"

int main() { return koi::discovery::scout_main(3); }  // 3: where the worker puts its end of the channel
