// supervisor/config/include.h
//
// A file and all that it includes, as one tree. `!include PATTERN` is the contents of the files that match, relative
// to the folder of the file that says it:
//
//   as a value               services: !include conf.d/*.yaml     the lists of all files, joined; or their maps
//   as an item of a list     - !include web.yaml                  the items of the files' lists, in its place
//
// Files come in the order of their names. A pattern with *, ? or [ may match nothing; a plain name must be there. A
// file that is empty adds nothing. A file cannot include itself, not even by way of others.
#pragma once

#include <deque>
#include <optional>
#include <string>

#include "supervisor/config/complaint.h"
#include "supervisor/config/yaml_tree.h"

namespace koi::config {

struct Tree {
    std::deque<std::string> files;  // the names that places point to
    Node root;
};

// Complaints are about files that cannot be read or are no YAML. With one, what remains is not worth looking at: it
// would only be complained about for what is missing.
void read_tree(const std::string& path, const Loader&, Tree&, Notes&);

}  // namespace koi::config
