#include "supervisor/main/koi_deeds.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>

#include "supervisor/control/sent_files.h"
#include "supervisor/main/koi_client.h"
#include "supervisor/main/worker_tool.h"

namespace koi::control {

namespace {

using nlohmann::json;

constexpr int fine = 0, failed = 1, changes = 2, not_running = 3;

void say(const std::string& text) { std::fwrite(text.data(), 1, text.size(), stdout); }
void complain(const std::string& sentence) { std::fprintf(stderr, "koi: %s\n", sentence.c_str()); }

int fail(const Error& e) {
    complain(e.story);
    return nobody_answers(e) ? not_running : failed;
}

// A member of an answer, or nothing; no exception leaves the JSON library.
json member(const std::string& body, const char* name) {
    auto tree = json::parse(body, nullptr, false);
    return tree.is_object() && tree.contains(name) ? std::move(tree[name]) : json();
}
std::string text(const json& object, const char* name) {
    if (!object.is_object() || !object.contains(name) || !object[name].is_string()) return "";
    return object[name].get<std::string>();
}

// Complaints about a configuration, one a line, as koid -t prints them.
void say_complaints(const Heard& heard) {
    for (const json& complaint : member(heard.body, "complaints"))
        std::fprintf(stderr, "%s\n", text(complaint, "text").c_str());
}

// An answer that says no: its sentence and the complaints that come with it.
int refused(const Heard& heard) {
    say_complaints(heard);
    const json sentence = member(heard.body, "error");
    complain(sentence.is_string() ? sentence.get<std::string>()
                                  : "koid answered with HTTP status " + std::to_string(heard.status));
    return failed;
}

const char* word(Format f) { return f == Format::json ? "json" : f == Format::yaml ? "yaml" : "text"; }

std::string status_path(const Wish& wish) {
    std::string path = std::string("/v1/status?format=") + word(wish.format);
    if (!wish.part.empty()) path += "&part=" + in_query(wish.part);
    if (wish.format == Format::text)
        path += "&columns=" + std::to_string(wish.screen.columns) + "&colour=" + (wish.screen.colour ? "1" : "0");
    return path;
}

// One look; on a watched terminal the new picture replaces the old one in place, without a flicker.
int look(Client& client, const Wish& wish, bool in_place) {
    const auto heard = client.get(status_path(wish));
    if (in_place) {
        say("\033[H\033[J");
        std::fflush(stdout);  // before a sentence on stderr
    }
    if (!heard) return fail(heard.error());
    if (heard->status != 200) return refused(*heard);
    say(heard->body);
    return fine;
}

// For an event, as koid's log has it: when, what, and the sentence. Bytes that could steer a terminal were taken out
// by koid already.
std::string event_line(const json& event, bool colour) {
    std::string what = text(event, "event");
    what.resize(std::max<std::size_t>(what.size(), 10), ' ');
    const std::string line = text(event, "time") + "  " + what + "  " + text(event, "sentence");
    const int level = event.is_object() && event.contains("level") && event["level"].is_number_integer()
                          ? event["level"].get<int>()
                          : 6;
    if (!colour || level > 4) return line + "\n";
    return std::string(level <= 3 ? "\033[31m" : "\033[33m") + line + "\033[0m\n";
}

// The question about another file is the file itself and what it includes: koid need not see, nor be allowed to read,
// what the caller can. Nothing: it cannot be used, which has been said.
std::optional<std::string> plan_question(const std::string& file) {
    if (file == "-") return plan_question("/dev/stdin");
    std::error_code unknown;
    const auto path = std::filesystem::absolute(file, unknown).string();
    const auto told = ask_worker_program({"collect", "--configuration", unknown ? file : path});
    if (!told) return complain(told.error().story), std::nullopt;
    if (told->code != 0) return complain("the configuration " + file + " cannot be used"), std::nullopt;
    if (told->out.size() > largest_body)
        return complain(file + " and what it includes are " + std::to_string((told->out.size() >> 20) + 1) +
                        " MiB; koid looks at " + std::to_string(largest_body >> 20) +
                        " MiB at most. Copy it to this node's own file, and ask: koi plan"),
               std::nullopt;
    return told->out;
}

bool print_event(const Wish& wish, const std::string& line) {
    if (wish.format == Format::json)
        say(line + "\n");
    else
        say(event_line(json::parse(line, nullptr, false), wish.screen.colour));
    return std::fflush(stdout) == 0;  // nobody reads any more: enough
}

}  // namespace

int show(const Wish& wish) {
    Client client(wish.socket);
    if (!wish.watch_seconds) return look(client, wish, false);
    // On a terminal a koid that is being started anew is waited for; a program is told by the exit code.
    const bool in_place = wish.screen.terminal && wish.format == Format::text;
    for (;;) {
        const int code = look(client, wish, in_place);
        if (code != fine && !in_place) return code;
        if (std::fflush(stdout) != 0) return failed;
        std::this_thread::sleep_for(std::chrono::duration<double>(*wish.watch_seconds));
    }
}

int plan(const Wish& wish) {
    Client client(wish.socket);
    std::optional<std::string> question;
    if (!wish.configuration.empty() && !(question = plan_question(wish.configuration))) return failed;
    const auto heard = question ? client.post("/v1/plan", *question) : client.get("/v1/plan");
    if (!heard) return fail(heard.error());
    if (wish.format == Format::json) say(heard->body);
    if (heard->status != 200) return refused(*heard);
    const json planned = member(heard->body, "changes");
    if (!planned.is_array()) return refused(*heard);
    if (wish.format == Format::text) {
        for (const json& change : planned) say(text(change, "text") + "\n");
        if (planned.empty()) say("no changes\n");
    }
    for (const json& note : member(heard->body, "notes"))
        if (note.is_string()) complain(note.get<std::string>());
    return planned.empty() ? fine : changes;
}

int events(const Wish& wish) {
    Client client(wish.socket);
    const std::string path = "/v1/events?most=" + std::to_string(wish.most) + (wish.follow ? "&follow=1" : "");
    const auto heard = client.follow(path, [&](const std::string& line) { return print_event(wish, line); });
    if (!heard) return fail(heard.error());
    if (heard->status != 200) return refused(*heard);
    if (!wish.follow) return fine;
    complain("koid ended, and its events with it");
    return not_running;
}

int reload(const Wish& wish) {
    Client client(wish.socket);
    const auto heard = client.post("/v1/reload", "{}");
    if (!heard) return fail(heard.error());
    const json outcome = member(heard->body, "outcome"), file = member(heard->body, "configuration");
    if (wish.format == Format::json) say(heard->body);
    say_complaints(*heard);
    const std::string name = file.is_string() ? file.get<std::string>() : "the configuration";
    if (outcome == "refused") {
        complain(name + " cannot be used; the running configuration stays");
        return failed;
    }
    if (!outcome.is_string() || heard->status != 200) return refused(*heard);
    if (wish.format == Format::text) say(name + (outcome == "unchanged" ? " has not changed\n" : " is applied\n"));
    return fine;
}

namespace {

struct Versions {
    json all;
    std::uint64_t upgrades = 0;
    bool running = false;
    std::string failed;
};

// Nothing while nobody answers, or who answers does not know yet.
std::optional<Versions> versions(Client& client) {
    const auto heard = client.get("/v1/versions");
    if (!heard || heard->status != 200) return std::nullopt;
    Versions found{json::parse(heard->body, nullptr, false), 0, false, {}};
    if (!found.all.is_object() || found.all.value("known", false) == false) return std::nullopt;
    const json upgrade = found.all.value("upgrade", json::object());
    found.upgrades = upgrade.value("number", std::uint64_t{0});
    found.running = upgrade.value("running", false);
    found.failed = text(upgrade, "failed");
    return found;
}

std::string shown(const std::string& version) { return version.empty() ? "?" : version; }

}  // namespace

// The worker that answers is replaced in the middle, so nobody answering is no failure as long as there is time.
int upgrade(const Wish& wish) {
    using Clock = std::chrono::steady_clock;
    Client client(wish.socket);
    const auto asked = client.get("/v1/versions");
    if (!asked) return fail(asked.error());
    const auto deadline =
        Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(wish.patience));
    const auto again = [&](auto done) {
        for (;;) {
            if (auto found = versions(client); found && done(*found)) return found;
            if (Clock::now() >= deadline) return std::optional<Versions>();
            std::this_thread::sleep_for(std::chrono::milliseconds(20));
        }
    };
    const auto before = asked->status == 200 ? again([](const auto&) { return true; }) : std::nullopt;
    const auto told = client.post("/v1/upgrade", "{}");
    if (!told) return fail(told.error());
    if (told->status == 404) {
        complain(
            "the koid that runs is too old to be replaced while it works; hand over to the peer and start it anew: "
            "systemctl restart koi");
        return failed;
    }
    if (told->status != 200 || !before) return refused(*told);
    auto after = again([&](const auto& v) { return v.upgrades > before->upgrades && !v.running; });
    if (!after) {
        char patience[32];
        std::snprintf(patience, sizeof patience, "%g", wish.patience);
        complain("the upgrade is not done within " + std::string(patience) +
                 " s; see: koi events, journalctl -u koi");
        return failed;
    }
    // The new scout tells its version with its first word, a moment later.
    const auto said_all = [&](const auto& v) { return !after->failed.empty() || !text(v.all, "scout").empty(); };
    if (auto complete = again(said_all)) after = complete;
    if (wish.format == Format::json) {
        json out = {{"before", before->all}, {"after", after->all}};
        for (auto* half : {&out["before"], &out["after"]}) half->erase("known");
        say(out.dump(2) + "\n");
    }
    if (!after->failed.empty()) {
        complain("nothing was replaced: " + after->failed);
        return failed;
    }
    if (wish.format != Format::text) return fine;
    for (const auto& [name, program] :
         {std::pair{"speaker", "koid"}, {"worker", "koid-worker"}, {"scout", "koid-scout"}})
        say(std::string(program) + std::string(12 - std::string(program).size(), ' ') +
            shown(text(before->all, name)) + " -> " + shown(text(after->all, name)) + "\n");
    return fine;
}

int step(const Wish& wish, bool down) {
    Client client(wish.socket);
    const auto heard = client.post(down ? "/v1/step-down" : "/v1/step-up", json{{"vhid", wish.vhid}}.dump());
    if (!heard) return fail(heard.error());
    if (heard->status != 200) return refused(*heard);
    if (wish.format == Format::json)
        say(heard->body);
    else
        say("vhid " + std::to_string(wish.vhid) +
            (down ? " steps down and stays behind until: koi step-up " + std::to_string(wish.vhid)
                  : std::string(" takes part in the election again")) +
            "\n");
    if (const auto warning = member(heard->body, "warning"); warning.is_string())
        complain(warning.get<std::string>());
    return fine;
}

}  // namespace koi::control
