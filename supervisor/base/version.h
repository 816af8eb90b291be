// supervisor/base/version.h
#pragma once

namespace koi {

// Of this program: what `--version` says, and what is compared with what is installed.
const char* version();

}  // namespace koi
