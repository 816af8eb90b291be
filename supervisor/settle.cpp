// supervisor/settle.cpp — everything the worker does, in the order it does it.
#include <algorithm>

#include "supervisor/base/log.h"
#include "supervisor/owned.h"
#include "supervisor/plan.h"
#include "supervisor/troubles.h"
#include "supervisor/worker.h"

namespace koi {

namespace {
constexpr std::size_t most_told = 20;  // changes named one by one; beyond that their number
}

// Once per turn, when no event waits. The speaker's report comes every second and changes no plan, only what is said.
void Worker::turn() {
    if (dirty_) return settle();
    if (!report_new_) return;
    report_new_ = false;
    if (refresh_troubles()) say_status();
}

void Worker::settle() {
    dirty_ = report_new_ = false;
    decide();
    converge();
    tell_tables();
    tell_settings();  // an address that is new in the file may come at once: after its virtual servers
    tell_demotion();
    tell_condition();
    refresh_troubles();
    say_status();
}

void Worker::decide() {
    if (!left_) go_on_draining();
    desired_ = left_ ? Desired{} : plan(config_, facts_, loop_.now());
}

// What drained under the worker before drains on: the kernel has it still, and only that worker knew until when.
void Worker::go_on_draining() {
    if (!facts_.observed_known) return;
    for (const auto& pool : config_.pools) {
        const auto state = facts_.pools.find(pool.name);
        if (state == facts_.pools.end() || !discovery::may_adopt(state->second)) continue;
        change_pool(pool.name, [&, found = left_behind(config_, facts_, pool.name)](auto s, const auto& settings) {
            return discovery::adopt(std::move(s), found, settings, loop_.now());
        });
    }
}

void Worker::converge() {
    if (!datapath_) return;
    if (observed_stale_) {
        auto there = datapath_->read();
        if (!there) {
            facts_.datapath_missing = there.error().story;
            datapath_.reset();  // opened anew on the kernel beat
            return;
        }
        facts_.observed = std::move(*there);
        facts_.observed_known = true;
        observed_stale_ = false;
        // The plan was made without knowing what stands here, so it is made again.
        decide();
    }
    claim_ownership();
    const auto changes = ipvs::diff(ipvs::only(facts_.observed, facts_.owned), desired_.table);
    if (changes.empty()) return;
    const auto refused = datapath_->change(changes);
    if (!refused) {
        happened(3, "ipvs", refused.error().story);
        observed_stale_ = true;
        return;
    }
    for (const auto& one : *refused) {
        const auto text = ipvs::text(one.change);
        facts_.refused[text] = one.error.story;  // told as a trouble
        facts_.refused_at = loop_.now();
    }
    if (refused->empty()) {
        facts_.observed = ipvs::after(std::move(facts_.observed), changes);
        facts_.refused.clear();
        if (changes.size() <= most_told)
            for (const auto& change : changes) happened(6, "ipvs", ipvs::text(change));
        else
            happened(6, "ipvs", std::to_string(changes.size()) + " changes to virtual servers");
    } else {
        // Some were done and some were not; what is really there is read now, the rest is tried again on the kernel
        // beat.
        if (auto there = datapath_->read()) facts_.observed = std::move(*there);
        observed_stale_ = true;
    }
    claim_ownership();
}

// Ours is what the configuration names, and what an earlier life made that is still there. The record on disk says so
// before a service is made.
void Worker::claim_ownership() {
    std::set<ipvs::ServiceKey> ours;
    for (const auto& service : config_.services) ours.insert(service.at);
    for (const auto& key : facts_.owned)
        if (facts_.observed.contains(key)) ours.insert(key);
    facts_.owned = ours;

    std::set<ipvs::ServiceKey> record;  // only what stands or is about to
    for (const auto& key : ours)
        if (facts_.observed.contains(key) || desired_.table.contains(key)) record.insert(key);
    if (record == recorded_) return;
    if (auto written = write_owned(setup_.state_directory, record); !written)
        log::note(log::Level::warning, "owned", written.error().story);
    recorded_ = record;
}

void Worker::tell_tables() {
    if (left_ || !facts_.roles_known) return;
    const bool warm = config::standby(config_).warm;
    for (const auto& group : config_.vips) {
        const Vhid vhid = group.carp.vhid;
        const auto role = facts_.roles.find(vhid);
        if (role == facts_.roles.end()) continue;
        const auto concerns = [&](const config::Service& s) { return !s.vhid || *s.vhid == vhid; };
        const bool needed = std::ranges::any_of(config_.services, concerns);
        // Before the first word about its pool, a virtual server would refuse everybody.
        const bool stands = std::ranges::all_of(config_.services, [&](const auto& s) {
            return !concerns(s) || !desired_.table.contains(s.at) ||
                   (facts_.observed.contains(s.at) && heard_of(facts_, s.pool));
        });
        const link::TableReady now{.vhid = vhid,
                                   .ready = !needed || (datapath_ && stands),
                                   .always = !needed || warm,
                                   .since = role->second.since,
                                   .prepared = role->second.prepares};
        const auto told = tables_told_.find(vhid);
        if (told != tables_told_.end() && told->second == now) continue;
        tell(now);
        tables_told_.insert_or_assign(vhid, now);
    }
}

void Worker::tell_settings() {
    if (left_) return;
    link::Settings now{.node = config_.node, .vhids = {}, .demote_link = config_.demote_link};
    for (const auto& group : config_.vips) now.vhids.push_back({group.carp, group.addresses});
    if (settings_told_ == now) return;
    tell(now);
    settings_told_ = std::move(now);
}

void Worker::tell_demotion() {
    if (left_ || !facts_.roles_known || demotion_told_ == desired_.demotion) return;
    tell(link::Demote{desired_.demotion});
    demotion_told_ = desired_.demotion;
}

void Worker::tell_condition() {
    constexpr std::uint16_t most = 0xFFFF;
    carp::Condition now{facts_.configuration, 0, 0};
    for (const auto& [key, entry] : desired_.table)
        for (const auto& [endpoint, backend] : entry.backends) {
            if (now.backends < most) ++now.backends;
            if (backend.weight > 0 && now.healthy < most) ++now.healthy;
        }
    if (left_ || condition_told_ == now) return;
    tell(link::Condition{now});
    condition_told_ = now;
}

bool Worker::refresh_troubles() {
    auto next = keep_since(troubles(config_, facts_, desired_, loop_.now()), troubles_, loop_.now());
    if (next == troubles_) return false;
    const auto lasts = [](const auto& list, const status::Trouble& one) {
        return std::ranges::any_of(list, [&](const auto& t) { return t.what == one.what && t.about == one.about; });
    };
    const auto as_bad = [](const auto& list, const status::Trouble& one) {
        return std::ranges::any_of(list, [&](const auto& t) {
            return t.what == one.what && t.about == one.about && t.warning == one.warning;
        });
    };
    const auto before = std::exchange(troubles_, std::move(next));
    // Each is told once, and what the host lacks under a word of its own, which has its own text in the catalog.
    const auto tell_of = [&](int level, const status::Trouble& trouble, const std::string& sentence) {
        if (trouble.what == "lease") return;  // the speaker tells its beginning and its end
        const bool of_host = trouble.what == "host";
        happened(level, of_host ? "host" : "trouble", sentence,
                 {{"trouble", trouble.what}, {"about", trouble.about}});
    };
    for (const auto& trouble : troubles_)
        if (!as_bad(before, trouble)) tell_of(trouble.warning ? 4 : 3, trouble, trouble.sentence);
    for (const auto& trouble : before)
        if (!lasts(troubles_, trouble)) tell_of(5, trouble, "no longer: " + trouble.sentence);
    return true;
}

void Worker::say_status() {
    if (left_) return;
    const bool ready = facts_.roles_known && (facts_.observed_known || facts_.datapath_missing);
    const auto line = status::as_line(status(false));
    if (ready == ready_told_ && line == status_told_) return;
    tell(link::Say{ready, line});
    ready_told_ = ready;
    status_told_ = line;
}

}  // namespace koi
