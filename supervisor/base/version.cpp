#include "supervisor/base/version.h"

namespace koi {

const char* version() { return KOI_VERSION; }

}  // namespace koi
