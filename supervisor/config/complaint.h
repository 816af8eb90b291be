// supervisor/config/complaint.h
//
// Where something was written, and what is wrong with it. Collected, never thrown: an operator wants all of them.
#pragma once

#include <string>
#include <vector>

#include "supervisor/config/read.h"

namespace koi::config {

// A place in a file that was read; the name belongs to the reading.
struct Place {
    const std::string* file = nullptr;
    unsigned line = 0, column = 0;  // from 1; 0: the whole file
    std::string text() const;       // "koi.yaml:9:5"
};

// A place and the path of the key there.
struct Spot {
    Place place;
    std::string path;  // "services[0].pool"
};

struct Notes {
    std::vector<Complaint> complaints, warnings;
    void complain(const Spot&, std::string what);
    void warn(const Spot&, std::string what);
    void sort();  // by file and line; what is said twice is said once
};

Complaint complaint(const Spot&, std::string what);

}  // namespace koi::config
