#include "supervisor/control/commands.h"

#include <algorithm>
#include <array>

namespace koi::control {

namespace {

constexpr std::array<Command, 18> table = {{
    {"status", "", "one screen: what is wrong, then roles, vips, services and pools"},
    {"show", "PART", "a part of it: roles, vips, services, pools, sources, troubles or peers"},
    {"plan", "[-c FILE]", "what applying FILE would change; exit 0: nothing, 2: there are changes"},
    {"events", "[-f] [-n N]", "what happened lately, and with -f what happens"},
    {"reload", "", "read the configuration again; returns when it is applied or refused"},
    {"step-down", "VHID", "leave the lead of a vhid politely and stay behind until step-up"},
    {"step-up", "VHID", "take part in the election again"},
    {"drill", "VHID", "a planned switch to the standby and back, measuring the darkness"},
    {"keygen", "[--adopt]", "make both secrets of a pair, and say how the other nodes get them"},
    {"upgrade", "", "the installed programs take over from the running ones; no role changes"},
    {"version", "", "which version of koi this is"},
    {"help", "[COMMAND]", "this, or a command's options"},
    {"why", "POOL BACKEND | VHID", "the chain of facts behind a backend's state, or a role", false},
    {"drain", "POOL BACKEND", "no new connections for a backend", false},
    {"undrain", "POOL BACKEND", "end a drain", false},
    {"weight", "POOL BACKEND N", "another weight for a backend", false},
    {"import", "FILE", "the configuration of Koi for a keepalived.conf", false},
    {"check", "", "for monitoring systems", false},
}};

constexpr std::array<std::string_view, 7> part_words = {"roles",   "vips",     "services", "pools",
                                                        "sources", "troubles", "peers"};
constexpr std::array<std::string_view, 2> part_words_to_come = {"checks", "children"};

}  // namespace

std::span<const Command> commands() { return table; }

const Command* command(std::string_view word) {
    const auto found = std::ranges::find(table, word, &Command::word);
    return found == table.end() ? nullptr : &*found;
}

std::span<const std::string_view> parts() { return part_words; }
std::span<const std::string_view> parts_to_come() { return part_words_to_come; }

std::string help() {
    std::string out = "koi: sees and steers the koid on this machine\n\n";
    for (const Command& each : table) {
        if (!each.available) continue;
        std::string left = "  koi " + std::string(each.word) + " " + std::string(each.arguments);
        left.resize(std::max<std::size_t>(left.size() + 1, 26), ' ');
        out += left + std::string(each.help) + "\n";
    }
    out +=
        "\n"
        "  -o, --output FORMAT     text (the default), json, and for status and show also yaml\n"
        "      --watch[=SECONDS]   status and show: again and again, every second if no other time is given\n"
        "      --socket PATH       where koid listens; also in KOI_SOCKET; otherwise /run/koi/koi.sock\n"
        "      --no-colour         as NO_COLOR in the environment: no colours on a terminal either\n"
        "\n"
        "Exit codes: 0 fine, 1 failed, 2 wrong usage (plan: there are changes), 3 koid does not answer.\n";
    return out;
}

}  // namespace koi::control
