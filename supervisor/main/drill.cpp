#include "supervisor/main/drill.h"

#include <signal.h>

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string_view>
#include <thread>

#include "supervisor/main/koi_client.h"
#include "supervisor/main/prober.h"

namespace koi::control {

namespace {

using nlohmann::json;
using namespace std::chrono_literals;

constexpr int fine = 0, failed = 1, not_running = 3;
constexpr auto calm = 300ms;  // asked before and after each switch
constexpr auto switch_patience = 5s, return_patience = 30s;
constexpr auto successor_patience = 2s;  // he leads at once, but the speaker tells of it only once a second

volatile sig_atomic_t interrupted = 0;

// A terminal that goes away, or a reader that has read enough, ends the drill as politely as Ctrl-C does. What is
// ignored already stays so (nohup).
void end_politely() {
    struct sigaction act {
    }, before{};
    act.sa_handler = [](int) { interrupted = 1; };
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) {
        ::sigaction(signal, &act, &before);
        if (before.sa_handler == SIG_IGN) ::sigaction(signal, &before, nullptr);
    }
}

struct Refusal {
    std::string sentence;
    int code = failed;
};

// What koid says now; throws a Refusal, which ends the drill.
json ask(Client& client, const char* part) {
    const auto heard = client.get(std::string("/v1/status?format=json&part=") + part);
    if (!heard) throw Refusal{heard.error().story, nobody_answers(heard.error()) ? not_running : failed};
    auto tree = json::parse(heard->body, nullptr, false);
    if (heard->status != 200 || !tree.is_object() || !tree.contains(part) || !tree[part].is_array())
        throw Refusal{"koid gave no answer about its " + std::string(part)};
    return std::move(tree[part]);
}

std::string text(const json& object, const char* name) {
    const auto found = object.find(name);
    return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}
std::int64_t number(const json& object, const char* name) {
    const auto found = object.find(name);
    return found != object.end() && found->is_number() ? found->get<std::int64_t>() : 0;
}
bool flag(const json& object, const char* name) {
    const auto found = object.find(name);
    return found != object.end() && found->is_boolean() && found->get<bool>();
}

json role_of(Client& client, int vhid) {
    for (auto& one : ask(client, "roles"))
        if (number(one, "vhid") == vhid) return one;
    throw Refusal{"vhid " + std::to_string(vhid) + " is not in the configuration"};
}

std::vector<IpAddress> vips_of(Client& client, int vhid) {
    std::vector<IpAddress> all;
    for (const auto& one : ask(client, "vips")) {
        const auto prefix = Prefix::parse(text(one, "vip"));
        if (number(one, "vhid") == vhid && prefix) all.push_back(prefix->address);
    }
    return all;
}

bool leads(const json& role) { return text(role, "role") == "master"; }
// Not that this node let go, but that somebody else is heard.
bool another_leads(const json& role) { return !leads(role) && !text(role, "master").empty(); }

// The standby that is fit to take over, in words; refuses otherwise.
std::string fit_standby(Client& client, int vhid) {
    const auto role = role_of(client, vhid);
    if (!leads(role))
        throw Refusal{"this node is " + text(role, "role") + " of vhid " + std::to_string(vhid) +
                      "; the drill belongs to the node that leads" +
                      (text(role, "master").empty() ? "" : ", " + text(role, "master"))};
    if (role.contains("preempt") && role["preempt"] == false)
        throw Refusal{"vhid " + std::to_string(vhid) +
                      " has preempt: false on this node, so it would not come back to the lead by itself; to switch "
                      "one way: koi step-down " +
                      std::to_string(vhid) + " here, and koi step-up " + std::to_string(vhid) +
                      " here once the other node leads"};
    std::string unfit;
    for (const auto& peer : ask(client, "peers")) {
        if (number(peer, "vhid") != vhid || !flag(peer, "standby")) continue;
        const std::string who = text(peer, "address");
        const auto backends = number(peer, "backends"), healthy = number(peer, "healthy_backends");
        if (const auto demotion = number(peer, "demotion"); demotion > 0)
            unfit = who + " stands by but is demoted by " + std::to_string(demotion) + "; koi status there says why";
        else if (flag(peer, "other_configuration"))
            unfit = who + " stands by but runs another configuration; compare what koid -T prints on both";
        else
            return who + (backends > 0 ? ", " + std::to_string(healthy) + " of " + std::to_string(backends) +
                                             " backends with weight there"
                                       : "");
    }
    throw Refusal{unfit.empty() ? "nobody stands by for vhid " + std::to_string(vhid) +
                                      "; a switch would take its vips down (only peers with auth: prefer or require "
                                      "tell that they stand by)"
                                : unfit};
}

void step(Client& client, int vhid, const char* where) {
    const auto heard = client.post(std::string("/v1/") + where, json{{"vhid", vhid}}.dump());
    if (!heard) throw Refusal{heard.error().story};
    if (heard->status != 200) throw Refusal{"koid refused to " + std::string(where)};
}

// How long it took until the role was so; nothing: not in time. Throws a Refusal when it is interrupted.
std::optional<Prober::Clock::duration> wait_for(Client& client, int vhid, bool (*is_so)(const json& role),
                                                Prober::Clock::duration most) {
    const auto began = Prober::Clock::now();
    while (Prober::Clock::now() - began < most) {
        if (interrupted) throw Refusal{"interrupted"};
        if (is_so(role_of(client, vhid))) return Prober::Clock::now() - began;
        std::this_thread::sleep_for(10ms);
    }
    return std::nullopt;
}

double ms(Prober::Clock::duration d) { return std::chrono::duration<double, std::milli>(d).count(); }

json told(const Prober::Darkness& d, Prober::Clock::duration took) {
    return {{"switch_ms", ms(took)}, {"probes", d.asked}, {"lost", d.lost}, {"longest_dark_ms", ms(d.longest)}};
}

void print(const Wish& wish, const char* leg, const std::string& who, const json& leg_told) {
    if (wish.format != Format::text) return;
    std::printf("%-6s %s after %.0f ms; %lld of %lld probes lost", leg, who.c_str(),
                leg_told["switch_ms"].get<double>(), static_cast<long long>(number(leg_told, "lost")),
                static_cast<long long>(number(leg_told, "probes")));
    if (number(leg_told, "lost") > 0)
        std::printf(", dark for %.0f ms at most", leg_told["longest_dark_ms"].get<double>());
    std::printf("\n");
    std::fflush(stdout);
}

// Whatever happened in between: this node may lead again. What became of that, in words.
std::string step_up_again(Client& client, int vhid) {
    try {
        step(client, vhid, "step-up");
        return "; this node takes part in the election again";
    } catch (const Refusal& refusal) {
        return "; and this node could not be told to take part again (" + refusal.sentence + "): koi step-up " +
               std::to_string(vhid);
    }
}

// Steps to the standby and back, while the prober asks; what each leg took.
class Switch {
public:
    Switch(const Wish& wish, Client& client, Prober& prober) : wish_(wish), client_(client), prober_(prober) {}

    json there() {
        const auto began = begin_leg("step-down");
        const auto took = wait_for(
            client_, wish_.vhid, [](const json& role) { return !leads(role); }, switch_patience);
        if (!took) throw Refusal{"this node still leads 5 s after it was told to step down"};
        if (!wait_for(client_, wish_.vhid, another_leads, successor_patience))
            throw Refusal{"nobody took over: this node stepped down, and in 2 s no other was heard to lead vhid " +
                          vhid()};
        return end_leg("there", "the standby leads", began, *took);
    }
    json back() {
        const auto began = begin_leg("step-up");
        const auto took = wait_for(client_, wish_.vhid, leads, return_patience);
        if (!took)
            throw Refusal{
                "this node has not come back to the lead in 30 s (preempt_delay, or the other has the better "
                "claim); koi step-down " +
                vhid() + " on the node that leads returns it"};
        return end_leg("back", "this node leads", began, *took);
    }

    bool began() const { return began_; }

private:
    std::string vhid() const { return std::to_string(wish_.vhid); }
    Prober::Clock::time_point begin_leg(const char* deed) {
        const auto began = Prober::Clock::now();
        std::this_thread::sleep_for(calm);
        if (interrupted) throw Refusal{"interrupted"};
        began_ = true;
        step(client_, wish_.vhid, deed);
        return began;
    }
    json end_leg(const char* leg, const char* who, Prober::Clock::time_point began, Prober::Clock::duration took) {
        std::this_thread::sleep_for(calm);
        auto dark = prober_.between(began, Prober::Clock::now());
        // The kernel drops an answer from an address that has become its own while the answer was on its way. That is
        // ours alone: to everybody else the answer was never lost.
        if (dark.lost == 1 && dark.longest <= 3 * Prober::beat && std::string_view(leg) == "back")
            dark = {dark.asked};
        auto out = told(dark, took);
        print(wish_, leg, who, out);
        return out;
    }

    const Wish& wish_;
    Client& client_;
    Prober& prober_;
    bool began_ = false;  // this node was told to step down, or may have been
};

int switch_there_and_back(const Wish& wish) {
    Client client(wish.socket);
    const auto standby = fit_standby(client, wish.vhid);
    const auto vips = vips_of(client, wish.vhid);
    auto prober = Prober::start(vips);
    if (!prober) throw Refusal{prober.error().story};
    if (wish.format == Format::text) {
        std::string list;
        for (const auto& vip : vips) list += (list.empty() ? "" : ", ") + vip.text();
        std::printf("vhid %d (%s); standby %s\n", wish.vhid, list.c_str(), standby.c_str());
        std::fflush(stdout);
    }
    json out{{"vhid", wish.vhid}, {"standby", standby}};
    Switch legs(wish, client, **prober);
    try {
        out["there"] = legs.there();
        out["back"] = legs.back();
    } catch (Refusal& refusal) {
        if (legs.began()) refusal.sentence += step_up_again(client, wish.vhid);
        throw;
    }
    if (wish.format == Format::json) std::printf("%s\n", out.dump().c_str());
    return number(out["there"], "lost") + number(out["back"], "lost") == 0 ? fine : failed;
}

int only_probe(const Wish& wish) {
    const auto address = IpAddress::parse(wish.probe);
    if (!address) throw Refusal{"\"" + wish.probe + "\" is no address"};
    auto prober = Prober::start({*address});
    if (!prober) throw Refusal{prober.error().story};
    if (wish.format == Format::text) std::printf("asking %s every 2 ms; Ctrl-C ends it\n", address->text().c_str());
    std::fflush(stdout);
    const auto began = Prober::Clock::now();
    const auto end =
        wish.seconds > 0
            ? began + std::chrono::duration_cast<Prober::Clock::duration>(std::chrono::duration<double>(wish.seconds))
            : Prober::Clock::time_point::max();
    while (!interrupted && Prober::Clock::now() < end) std::this_thread::sleep_for(20ms);
    const auto dark = (*prober)->between(began, Prober::Clock::now());
    const json out{{"address", address->text()},
                   {"probes", dark.asked},
                   {"lost", dark.lost},
                   {"longest_dark_ms", ms(dark.longest)}};
    if (wish.format == Format::json)
        std::printf("%s\n", out.dump().c_str());
    else
        std::printf("%zu of %zu probes lost, dark for %.0f ms at most\n", dark.lost, dark.asked, ms(dark.longest));
    return dark.lost == 0 ? fine : failed;
}

}  // namespace

int drill(const Wish& wish) {
    end_politely();
    try {
        return wish.probe.empty() ? switch_there_and_back(wish) : only_probe(wish);
    } catch (const Refusal& refusal) {
        std::fprintf(stderr, "koi: %s\n", refusal.sentence.c_str());
        return refusal.code;
    }
}

}  // namespace koi::control
