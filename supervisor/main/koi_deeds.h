// supervisor/main/koi_deeds.h
//
// What each word of `koi` does: asks koid, prints the answer for a person or a program, and gives the exit code: 0
// fine, 1 failed, 2 there are changes (plan), 3 koid does not answer. Answers go to stdout, sentences about failures
// to stderr.
#pragma once

#include <optional>
#include <string>

namespace koi::control {

enum class Format { text, json, yaml };

// Where answers go: a terminal may be given colours and has a width.
struct Screen {
    bool terminal = false;
    bool colour = false;
    unsigned columns = 100;
};

struct Wish {
    std::string socket;
    Screen screen;
    Format format = Format::text;

    std::string part;                     // show; empty: everything
    std::optional<double> watch_seconds;  // status and show
    std::string configuration;            // plan; empty: the running daemon's own file
    bool follow = false;                  // events
    unsigned long most = 50;              // events
    int vhid = 0;                         // step-down, step-up, drill
    std::string probe;                    // drill: only ask this address
    double seconds = 0;                   // drill --probe: for so long; 0: until it is ended
    double patience = 30;                 // upgrade: seconds
};

int show(const Wish&);  // status is show of everything
int plan(const Wish&);
int events(const Wish&);
int reload(const Wish&);
int step(const Wish&, bool down);
int upgrade(const Wish&);

}  // namespace koi::control
