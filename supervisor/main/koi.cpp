// koi: the operator's end of the control socket. This file turns the command line into a wish; koi_deeds.cpp fulfils
// it.
#include <sys/ioctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>
#include <vector>

#include "supervisor/control/commands.h"
#include "supervisor/control/paths.h"
#include "supervisor/main/drill.h"
#include "supervisor/main/keygen.h"
#include "supervisor/main/koi_deeds.h"

namespace {

using namespace koi::control;

constexpr int fine = 0, failed = 1, usage = 2;

std::string variable(const char* name) {
    const char* value = std::getenv(name);
    return value ? value : "";
}

// NO_COLOR counts if it is there and not empty (no-color.org).
Screen screen(bool wants_colour) {
    Screen s;
    s.terminal = ::isatty(STDOUT_FILENO) == 1;
    if (!s.terminal) return s;
    s.colour =
        wants_colour && variable("NO_COLOR").empty() && variable("TERM") != "dumb" && !variable("TERM").empty();
    winsize size{};
    if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        s.columns = std::clamp<unsigned>(size.ws_col, 40, 100);
    return s;
}

std::string joined(const auto& words) {
    std::string out;
    for (const auto& word : words) out += (out.empty() ? "" : ", ") + std::string(word);
    return out;
}

int complain(const std::string& sentence, int code) {
    std::fprintf(stderr, "koi: %s\n", sentence.c_str());
    return code;
}

class CommandLine {
public:
    CommandLine() {
        wish_.socket = variable("KOI_SOCKET").empty() ? socket_path() : variable("KOI_SOCKET");
        app_.set_help_flag("-h,--help", "this");
        app_.set_version_flag("--version", "koi " KOI_VERSION);
        app_.add_option("--socket", wish_.socket, "where koid listens")->type_name("PATH");
        app_.add_flag("--no-colour,--no-color", no_colour_, "no colours on a terminal either");
        app_.require_subcommand(0, 1);
        app_.fallthrough();
        for (const Command& each : commands()) add(each);
    }

    int run(int argc, char** argv) {
        try {
            app_.parse(argc, argv);
        } catch (const CLI::CallForHelp&) {
            return help_for(app_.get_subcommands().empty() ? nullptr : app_.get_subcommands().front());
        } catch (const CLI::Success& e) {
            return app_.exit(e);
        } catch (const CLI::ExtrasError& e) {
            if (!app_.get_subcommands().empty()) return complain(std::string(e.what()) + "; see: koi help", usage);
            return complain("there is no command \"" + app_.remaining().front() + "\"; see: koi help", usage);
        } catch (const CLI::Error& e) {
            return complain(std::string(e.what()) + "; see: koi help", usage);
        }
        wish_.screen = screen(!no_colour_);
        wish_.format = format_ == "json" ? Format::json : format_ == "yaml" ? Format::yaml : Format::text;
        const auto chosen = app_.get_subcommands();
        if (chosen.empty()) {
            std::fputs(help().c_str(), stderr);
            return usage;
        }
        return perform(chosen.front()->get_name());
    }

private:
    void add(const Command& command) {
        const std::string word(command.word);
        CLI::App& sub = *app_.add_subcommand(word, std::string(command.help));
        if (!command.available) {
            sub.set_help_flag();
            sub.fallthrough(false)->prefix_command();  // whatever follows is not looked at
            return;
        }
        const auto takes = [&](std::initializer_list<const char*> words) {
            return std::ranges::find(words, word) != words.end();
        };
        if (takes({"status", "show"})) add_format(sub, {"text", "json", "yaml"});
        if (takes({"plan", "events", "reload", "step-down", "step-up", "drill", "upgrade"}))
            add_format(sub, {"text", "json"});
        if (takes({"status", "show"}))
            sub.add_option("--watch", watch_seconds_, "again and again, every second or so many")
                ->expected(0, 1)
                ->type_name("[SECONDS]")
                ->check(CLI::Range(0.1, 86400.0));
        if (word == "show") sub.add_option("PART", wish_.part, joined(parts()))->required()->type_name("");
        if (word == "plan")
            sub.add_option("-c,--configuration", wish_.configuration,
                           "a file to plan for, instead of the daemon's own")
                ->type_name("FILE");
        if (word == "events") {
            sub.add_flag("-f,--follow", wish_.follow, "go on with what happens");
            sub.add_option("-n,--lines", wish_.most, "how many of the latest events; 50 if not said")
                ->type_name("N")
                ->check(CLI::Range(0, 2000));
        }
        if (word == "drill") {
            auto* vhid = sub.add_option("VHID", wish_.vhid, "1 to 255")->type_name("")->check(CLI::Range(1, 255));
            auto* probe =
                sub.add_option("--probe", wish_.probe, "only ask ADDRESS, on any host")->type_name("ADDRESS");
            sub.add_option("--seconds", wish_.seconds, "with --probe: for so long, instead of until Ctrl-C")
                ->type_name("N")
                ->check(CLI::Range(0.1, 86400.0))
                ->needs(probe);
            probe->excludes(vhid);
        }
        if (takes({"step-down", "step-up"}))
            sub.add_option("VHID", wish_.vhid, "1 to 255")->required()->type_name("")->check(CLI::Range(1, 255));
        if (word == "keygen") add_keygen(sub);
        if (word == "upgrade")
            sub.add_option("--wait", wish_.patience, "for so long at most until it is done; 30 seconds if not said")
                ->expected(0, 1)
                ->type_name("[SECONDS]")
                ->check(CLI::Range(0.1, 3600.0));
        if (word == "help") sub.add_option("COMMAND", help_word_, "whose options")->type_name("");
    }

    void add_keygen(CLI::App& sub) {
        sub.add_option("--directory", keys_.directory, "where; /etc/koi/keys if not said")->type_name("DIR");
        sub.add_option("--owner", keys_.owner, "who will read them; koi, as whom koid runs, if not said")
            ->type_name("USER");
        auto* force = sub.add_flag("--force", keys_.force, "new keys in place of those that are there");
        auto* adopt = sub.add_flag("--adopt", keys_.adopt,
                                   "make none; those that are there, or that the configuration names, become koi's");
        sub.add_option("-c,--configuration", keys_.configuration, "with --adopt: /etc/koi/koi.yaml if not said")
            ->type_name("FILE")
            ->needs(adopt);
        force->excludes(adopt);
    }

    void add_format(CLI::App& sub, std::vector<std::string> formats) {
        const auto is_known = [formats](const std::string& given) {
            const bool known = std::ranges::find(formats, given) != formats.end();
            return known ? "" : "there is no format \"" + given + "\"; use " + joined(formats);
        };
        sub.add_option("-o,--output", format_, joined(formats))
            ->type_name("FORMAT")
            ->check(CLI::Validator(is_known, "", ""));
    }

    int perform(const std::string& word) {
        if (!command(word)->available) return complain(word + " is not available in this version", failed);
        const CLI::App* sub = app_.get_subcommand(word);
        if (word == "status" || word == "show") {
            if (sub->count("--watch") > 0) wish_.watch_seconds = watch_seconds_;
            return word == "show" ? show_part() : show(wish_);
        }
        if (word == "plan") return plan(wish_);
        if (word == "events") return events(wish_);
        if (word == "reload") return reload(wish_);
        if (word == "step-down" || word == "step-up") return step(wish_, word == "step-down");
        if (word == "upgrade") return upgrade(wish_);
        if (word == "drill" && wish_.vhid == 0 && wish_.probe.empty())
            return complain("drill needs a VHID, or --probe ADDRESS; see: koi help drill", usage);
        if (word == "drill") return drill(wish_);
        if (word == "keygen") return keygen(keys_);
        if (word == "version") return std::puts("koi " KOI_VERSION) >= 0 ? fine : failed;
        return help_command();
    }

    int show_part() {
        const auto is_in = [&](std::span<const std::string_view> words) {
            return std::ranges::find(words, wish_.part) != words.end();
        };
        if (is_in(parts_to_come()))
            return complain("show " + wish_.part + " is not available in this version", failed);
        if (!is_in(parts()))
            return complain("there is no part \"" + wish_.part + "\" to show; there are " + joined(parts()), usage);
        return show(wish_);
    }

    int help_command() {
        if (help_word_.empty()) return help_for(nullptr);
        const Command* found = command(help_word_);
        if (!found) return complain("there is no command \"" + help_word_ + "\"; see: koi help", usage);
        if (!found->available) return complain(help_word_ + " is not available in this version", failed);
        return help_for(app_.get_subcommand(help_word_));
    }

    int help_for(const CLI::App* sub) {
        const std::string text = sub ? sub->help("koi") : help();
        return std::fputs(text.c_str(), stdout) >= 0 ? fine : failed;
    }

    CLI::App app_{"koi"};
    Wish wish_;
    KeygenWish keys_;
    bool no_colour_ = false;
    double watch_seconds_ = 1;
    std::string format_ = "text", help_word_;
};

}  // namespace

int main(int argc, char** argv) { return CommandLine().run(argc, argv); }
