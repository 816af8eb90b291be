// supervisor/base/ownership.h
//
// Files of an earlier life under another user: koid run once as root, now as koi under its unit, or the other way
// round. Capabilities that would look past owners are not kept, so the error says whose the file is and what to do.
#pragma once

#include <string>

#include "supervisor/base/result.h"

namespace koi {

// The error, and, if it is EACCES for what another user owns (the path, or the folder it is in), who and the remedy.
Error told_with_owner(Error, const std::string& path);

}  // namespace koi
