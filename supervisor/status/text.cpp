// A status for a terminal: what is wrong comes first, then who leads, what is where, and who does the work.
#include <algorithm>

#include "supervisor/status/layout.h"
#include "supervisor/status/status.h"
#include "supervisor/status/text_services.h"
#include "supervisor/status/words.h"

namespace koi::status {

namespace {

constexpr std::size_t widest_screen = 100;

void join(std::string& sentence, const std::string& more) {
    if (!sentence.empty() && !more.empty()) sentence += "; ";
    sentence += more;
}

std::string seconds_text(Duration beat) {
    std::string text = std::to_string(std::chrono::duration<double>(beat).count());  // six decimals
    text.erase(text.size() - 3);
    while (text.ends_with('0')) text.pop_back();
    if (text.ends_with('.')) text.pop_back();
    return text + " s";
}

class Screen {
public:
    Screen(const Status& status, Style style)
        : s_(status), page_(std::min<std::size_t>(style.columns, widest_screen), style.colour) {}

    std::string show(Part part) {
        switch (part) {
            case Part::all: whole(); break;
            case Part::roles: roles(); break;
            case Part::vips: vips(); break;
            case Part::services: services(EveryBackend::yes); break;
            case Part::pools:
                pools();
                members();
                break;
            case Part::sources: sources(); break;
            case Part::troubles:
                troubles();
                if (s_.troubles.empty()) page_.line("no troubles");
                break;
            case Part::peers: peers(); break;
        }
        return page_.text();
    }

private:
    void whole() {
        headline();
        troubles();
        roles();
        vips();
        services(EveryBackend::no);
        pools();
    }

    std::string ago(Instant t) const { return t == Instant{} ? "never" : age(s_.at - t); }
    std::string lasting(Instant since) const { return since == Instant{} ? "-" : age(s_.at - since); }

    void headline() {
        const auto warnings = static_cast<std::size_t>(std::ranges::count_if(s_.troubles, &Trouble::warning));
        const std::size_t worse = s_.troubles.size() - warnings;
        std::string verdict = worse > 0 ? counted(worse, "trouble", "troubles") : "";
        if (warnings > 0) verdict += (worse > 0 ? ", " : "") + counted(warnings, "warning", "warnings");
        if (verdict.empty()) verdict = s_.speaker_known ? "all well" : "starting";
        const bool well = s_.troubles.empty() && s_.speaker_known;
        const Colour colour = worse > 0 ? Colour::red : well ? Colour::green : Colour::yellow;

        const std::string name = clean(s_.node);
        const std::string rest = "  koi " + clean(s_.version) + "  up " + age(s_.at - s_.started) + "  ";
        if (width(name + rest + verdict) <= page_.columns())
            page_.raw(page_.paint({name, Colour::bold}) + rest + page_.paint({verdict, colour}) + "\n");
        else
            page_.line({name + rest + verdict, colour});

        std::string about;
        if (!s_.configuration.empty()) about = s_.configuration + ", applied " + ago(s_.configured) + " ago";
        if (!s_.standby.empty()) join(about, "standby " + s_.standby);
        if (!s_.datapath.empty()) join(about, "datapath " + s_.datapath);
        page_.line({about, Colour::dim}, 0, 0);
    }

    void troubles() {
        if (s_.troubles.empty()) return;
        page_.gap();
        for (const Trouble& t : s_.troubles) {
            const std::string about = t.about.empty() ? t.what : t.what + " " + t.about;
            page_.line({(t.warning ? "? " : "! ") + about + ", for " + age(s_.at - t.since),
                        t.warning ? Colour::yellow : Colour::red});
            page_.line(t.sentence, 2, 0);
        }
    }

    void roles() {
        page_.gap();
        if (!s_.speaker_known) {
            page_.line({"ROLES", Colour::bold});
            page_.line({"not known yet: the speaker has not reported", Colour::yellow}, 2);
            return;
        }
        Table table({"", "role", "for>", "demotion>", "interface", "because"});
        for (const auto& v : s_.speaker.vhids)
            table.row({"vhid " + std::to_string(v.vhid.value()),
                       {std::string(to_string(v.role)), v.role == carp::Role::master ? Colour::green : Colour::none},
                       lasting(v.since),
                       {std::to_string(v.demotion.value()), v.demotion.value() > 0 ? Colour::yellow : Colour::none},
                       v.interface,
                       reasons(v)});
        table.put(page_, "ROLES");
    }

    std::string reasons(const link::VhidReport& v) const {
        std::string out;
        if (!v.link_works) out = "the link of " + v.interface + " does not work";
        if (v.stepped_down) join(out, "stepped down until: koi step-up " + std::to_string(v.vhid.value()));
        if (v.role == carp::Role::backup && v.master)
            join(out, "follows " + v.master->text() + ", heard " + ago(v.last_heard) + " ago");
        join(out, v.because);
        if (v.role == carp::Role::master) join(out, standbys(v.vhid));
        return out;
    }

    // "10.0.0.2 stands by", "10.0.0.2, 10.0.0.3 stand by"
    std::string standbys(Vhid vhid) const {
        std::string who;
        std::size_t n = 0;
        for (const auto& p : s_.speaker.peers)
            if (p.vhid == vhid && p.standby) who += (n++ > 0 ? ", " : "") + p.address.text();
        if (n == 0) return "";
        return who + (n == 1 ? " stands by" : " stand by");
    }

    void vips() {
        Table table({"", "state", "for>", "interface", "vhid>", ""});
        for (const auto& v : s_.speaker.vhids)
            for (const auto& vip : v.vips)
                table.row({vip.held.prefix.text(), state(vip), lasting(vip.since), vip.held.interface,
                           std::to_string(v.vhid.value()), stranger(vip.held.prefix.address)});
        put(table, "VIPS");
    }

    static Cell state(const link::VipReport& v) {
        if (v.desired && v.present) return {"here", Colour::green};
        if (v.desired) return {"missing", Colour::red};
        if (v.present) return {"should be gone", Colour::red};
        return {"not here", Colour::dim};
    }

    Cell stranger(const IpAddress& vip) const {
        for (const auto& s : s_.speaker.strangers)
            if (s.vip == vip)
                return {vip::text(s.mac) + " answered for it, too, " + ago(s.last_seen) + " ago", Colour::red};
        return "";
    }

    void services(EveryBackend every) { put(services_table(s_.services, every), "SERVICES"); }

    void pools() {
        Table table({"", "members>", "draining>", "changed>", "heard>", "state", "source"});
        for (const PoolStatus& p : s_.pools) {
            const auto draining =
                std::ranges::count_if(p.members, [](const auto& m) { return m.draining_until.has_value(); });
            table.row({p.name, std::to_string(std::ssize(p.members) - draining), std::to_string(draining),
                       ago(p.changed), ago(p.heard), state(p), p.source});
        }
        put(table, "POOLS");
    }

    Cell state(const PoolStatus& p) const {
        if (p.failure) return {"failing " + age(s_.at - p.failing_since), Colour::red};
        if (!p.known) return {"not heard yet", Colour::yellow};
        if (p.empty_since) return {"empty? " + age(s_.at - *p.empty_since), Colour::yellow};
        if (p.from_disk) return {"last known", Colour::yellow};
        return "good";
    }

    void members() {
        Table table({"", "weight>", ""}, 4);
        for (const PoolStatus& p : s_.pools) {
            table.between(p.name, 2);
            for (const auto& m : p.members)
                table.row({m.endpoint.text(), std::to_string(m.weight.value()),
                           m.draining_until
                               ? Cell("draining, " + age(*m.draining_until - s_.at) + " left", Colour::yellow)
                               : Cell("")});
        }
        put(table, "MEMBERS");
    }

    void sources() {
        Table table({"", "state", "heard>", "source"});
        for (const PoolStatus& p : s_.pools) {
            table.row({p.name, state(p), ago(p.heard), p.source});
            if (p.failure) table.between({*p.failure, Colour::red}, 4);
        }
        put(table, "SOURCES");
        if (s_.pools.empty()) page_.line("no sources");
    }

    void peers() {
        Table table({"", "vhid>", "demotion>", "advert every>", "heard>", "trailer", "backends>", ""});
        for (const auto& p : s_.speaker.peers)
            table.row({p.address.text(), std::to_string(p.vhid.value()), std::to_string(p.demotion),
                       seconds_text(p.beat), ago(p.last_heard), trailer_word(p),
                       p.condition
                           ? std::to_string(p.condition->healthy) + "/" + std::to_string(p.condition->backends)
                           : "",
                       p.standby    ? "stands by"
                       : p.presence ? "stood by"
                                    : ""});
        put(table, "PEERS");
        if (s_.speaker.peers.empty()) page_.line("no peer was heard");

        Table strangers({"", "mac", "seen>", ""});
        for (const auto& s : s_.speaker.strangers)
            strangers.row({{s.vip.text(), Colour::red}, vip::text(s.mac), ago(s.last_seen), ""});
        put(strangers, "STRANGERS");
    }

    void put(const Table& table, std::string_view heading) {
        if (table.empty()) return;
        page_.gap();
        table.put(page_, heading);
    }

    const Status& s_;
    Page page_;
};

}  // namespace

std::string as_text(const Status& status, Part part, Style style) { return Screen(status, style).show(part); }

std::string event_text(const Event& event, std::chrono::system_clock::time_point when, Style style) {
    std::string before = rfc3339(when) + "  " + clean(event.event);
    before.resize(std::max<std::size_t>(before.size(), 36), ' ');
    Page page(std::min<std::size_t>(style.columns, widest_screen), style.colour);
    const Colour colour = event.level <= 3 ? Colour::red : event.level == 4 ? Colour::yellow : Colour::none;
    page.line({before + "  " + event.sentence, colour}, 0, std::min<std::size_t>(width(before) + 2, 40));
    return page.text();
}

}  // namespace koi::status
