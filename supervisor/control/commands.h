// supervisor/control/commands.h
//
// The words of the operator's program, `koi`, with their arguments and help: the one table from which the command
// line, its help and the manual are made. Words that are designed and not there yet are in it, too, so that they are
// answered with a sentence; they are not shown.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace koi::control {

struct Command {
    std::string_view word;       // "step-down"
    std::string_view arguments;  // "VHID"
    std::string_view help;       // a line, without a full stop
    bool available = true;
};

std::span<const Command> commands();
const Command* command(std::string_view word);  // nullptr: there is no such word

// What `koi show` can show, in the order of the help.
std::span<const std::string_view> parts();
std::span<const std::string_view> parts_to_come();

// The program's help: every available command with its line.
std::string help();

}  // namespace koi::control
