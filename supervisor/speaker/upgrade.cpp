// The speaker and its upgrade: the programs that are installed now take over from those that run, and nobody notices.
// In this order, so that whatever does not work leaves the running ones at work:
//
//   1. the new koid is started and asked whether it can take over what this one would leave (estate.h);
//   2. a new worker gets ready beside the old one, which then goes (worker_process.h);
//   3. right after an advert, when the next one is furthest away, this process becomes the new program: same pid,
//   same
//      sockets, same worker, same roles. The next advert leaves when it would have left anyway.
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "supervisor/base/child.h"
#include "supervisor/base/privileges.h"
#include "supervisor/base/version.h"
#include "supervisor/speaker/estate.h"
#include "supervisor/speaker/speaker.h"

namespace koi::speaker {

namespace {

constexpr Duration answer_patience = 10s;  // of the new program, to say whether it can take over
constexpr Duration ready_patience = 10s;   // of the new worker, to have its tables in place
constexpr Duration quiet_patience = 5s;    // until no hand-over is in progress and nothing waits to be written

void leave_open(int fd, bool open) { (void)::fcntl(fd, F_SETFD, open ? 0 : FD_CLOEXEC); }

}  // namespace

void Speaker::begin_upgrade() {
    if (stopping_ || upgrade_.running) return;
    upgrade_ = {upgrade_.number, true, "", koi::version(), ""};
    report_soon();
    ask_program(estate_formats.highest);
}

// The release before this one reads the format before this one: going back is an upgrade, too.
void Speaker::ask_program(std::uint8_t format) {
    estate_format_ = format;
    Spawn question;
    question.command = {setup_.program, "--can-take-over", std::to_string(format)};
    question.when_parent_dies = SIGKILL;
    question.wait_for_exec = 0ms;
    const auto pid = spawn(question);
    if (!pid) return upgrade_failed("cannot start the new koid: " + pid.error().story);
    question_ = *pid;
    question_end_ = loop_.on_end(*pid, Priority::facts, "question", [this](int code, int status) {
        question_ = 0;
        upgrade_timer_.reset();
        if (code == CLD_EXITED && status == 0) return upgrade_worker();
        if (code == CLD_EXITED && status != 127 && estate_format_ > estate_formats.lowest)
            return ask_program(static_cast<std::uint8_t>(estate_format_ - 1));
        upgrade_failed(code == CLD_EXITED && status == 127 ? setup_.program + " cannot be started"
                       : code == CLD_EXITED
                           ? "the koid that is installed cannot take over what this one knows; hand over to the "
                             "peer and start it anew: systemctl restart koi"
                           : setup_.program + " does not run here: ended by signal " + std::to_string(status));
    });
    upgrade_timer_ = loop_.at(loop_.now() + answer_patience, Priority::facts, "question patience", [this] {
        if (question_ != 0) ::kill(question_, SIGKILL);
    });
}

void Speaker::upgrade_worker() {
    if (stopping_) return upgrade_failed("koid was told to stop");
    worker_.replace([this](const std::string& failure) {
        if (!failure.empty()) return upgrade_failed(failure);
        upgrade_.to = worker_.version();
        report();
        upgrade_timer_ = loop_.at(loop_.now() + ready_patience, Priority::facts, "worker patience", [this] {
            upgrade_failed(
                "the new worker works, but its tables were not ready in time; koid itself goes on as it is");
        });
        upgrade_waits_for_worker_ = true;
    });
}

// The worker has said that it is ready.
void Speaker::upgrade_self() {
    if (!upgrade_.running || !std::exchange(upgrade_waits_for_worker_, false)) return;
    upgrade_until_ = loop_.now() + quiet_patience;
    // Not from here: words that were read together with this one would be lost.
    upgrade_timer_ = loop_.at(loop_.now(), Priority::idle, "quiet", [this] { replace_when_quiet(); });
}

// How long this speaker may be silent at most without saying anything late, and how much of the beat that is.
std::pair<Duration, bool> Speaker::slack() const {
    Duration least = Duration::max();
    bool fresh = true;
    for (const auto& [vhid, g] : groups_) {
        if (g->role() != carp::Role::master) continue;
        const auto& us = g->settings().carp;
        const auto beat = carp::beat(us, carp::sent_skew(us, g->instance().state().demotion));
        const Duration left = g->instance().deadline() - loop_.now();
        least = std::min(least, left);
        fresh &= left > beat * 3 / 4 || left > 1s;
    }
    return {least, fresh};
}

void Speaker::replace_when_quiet() {
    const Instant now = loop_.now();
    const bool hands_over =
        std::ranges::any_of(groups_, [](const auto& g) { return g.second->instance().state().handing_to != 0; });
    const bool idle =
        !hands_over && !tell_role_ && silent_.empty() && memory_.is_idle() && worker_.keep().has_value();
    const auto [left, fresh] = slack();
    if (stopping_) return upgrade_failed("koid was told to stop");
    if (idle && (fresh || now + quiet_patience / 2 > upgrade_until_)) return replace_self();
    if (now > upgrade_until_) return upgrade_failed("there was no quiet moment for it; try again");
    // Right after the next advert; many vhids may never all be fresh, and then any moment is as good as another.
    const Duration wait = idle && left < quiet_patience ? std::max<Duration>(left, 0ms) + 200us : 5ms;
    // The last of all: a signal that the loop has read already would be lost with this program.
    upgrade_timer_ = loop_.at(now + wait, Priority::idle, "quiet", [this] { replace_when_quiet(); });
}

Estate Speaker::estate() const {
    Estate e;
    e.left = Loop::clock();
    e.lock = lock_.get();
    e.worker = *worker_.keep();
    for (const auto& [interface, w] : wires_)
        for (const auto* socket : w->sockets())
            e.sockets.push_back({interface, socket->family(), socket->index(), socket->fd()});
    const auto format = e.worker.format;  // in which the worker has told it, and which the next koid speaks, too
    e.told.push_back(link::encode(settings_, format));
    e.told.push_back(link::encode(link::Condition{condition_}, format));
    e.told.push_back(link::encode(link::Demote{worker_demotion_}, format));
    for (const auto& [vhid, table] : tables_) e.told.push_back(link::encode(table, format));
    e.counter = counter_.whole();
    for (const auto& [vhid, lines] : memory_.heard()) e.heard.push_back({vhid, lines});
    for (const auto& [vhid, g] : groups_) {
        Estate::OfVhid one{.vhid = vhid, .group = g->whole()};
        if (const auto taken = takeovers_.find(vhid); taken != takeovers_.end()) {
            one.unplanned_takeovers = taken->second.unplanned;
            one.last_silence = taken->second.last_silence;
        }
        if (const auto since = silences_.find(vhid); since != silences_.end()) one.silence_since = since->second;
        e.vhids.push_back(std::move(one));
    }
    e.holder = holder_.whole();
    e.ready_told = ready_told_;
    e.is_another = is_another_;
    e.status = status_;
    e.unready_until = unready_until_;
    e.slipped_until = slipped_until_;
    e.worst_slip = worst_slip_;
    e.last_minute_slip = last_minute_slip_;
    e.slip_since = slip_since_;
    e.upgrade = upgrade_;
    return e;
}

void Speaker::replace_self() {
    upgrade_timer_.reset();
    const auto all = estate();
    const auto left = leave_behind(all, estate_format_);
    if (!left) return upgrade_failed(left.error().story);
    std::vector<std::string> words = setup_.arguments;
    words.insert(words.end(), {"--take-over", std::to_string(left->get())});
    std::vector<char*> argv;
    for (auto& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);

    if (auto done = keep_over_exec(); !done) return upgrade_failed(done.error().story);
    ::syscall(SYS_close_range, 3u, ~0u, CLOSE_RANGE_CLOEXEC);
    auto kept = descriptors(all);
    kept.push_back(left->get());
    for (const int fd : kept) leave_open(fd, true);
    ::execv(setup_.program.c_str(), argv.data());
    const int failure = errno;
    for (const int fd : kept) leave_open(fd, false);
    upgrade_failed("starting " + setup_.program + ": " + std::strerror(failure));
}

void Speaker::upgrade_failed(const std::string& because) {
    upgrade_timer_.reset();
    upgrade_waits_for_worker_ = false;
    ++upgrade_.number;
    upgrade_.running = false;
    upgrade_.failed = because;
    tell(log::Level::error, "upgrade",
         "the installed programs cannot take over: " + because + "; those that run go on, and no role changes",
         {{"from", upgrade_.from}, {"because", because}});
    report_soon();
}

// The other end of replace_self(), in the new program.
void Speaker::go_on(const Estate& e) {
    watch_everything();
    for (const auto& bytes : e.told) {
        const auto message = link::decode(bytes);
        if (!message) continue;
        if (const auto* settings = std::get_if<link::Settings>(&*message)) settings_ = *settings;
        if (const auto* condition = std::get_if<link::Condition>(&*message)) condition_ = condition->carp;
        if (const auto* demote = std::get_if<link::Demote>(&*message)) worker_demotion_ = demote->demotion;
        if (const auto* table = std::get_if<link::TableReady>(&*message)) tables_[table->vhid] = *table;
    }
    settled_once_ = true;
    ready_told_ = e.ready_told;
    is_another_ = e.is_another;
    status_ = e.status;
    unready_until_ = e.unready_until;
    slipped_until_ = e.slipped_until;
    worst_slip_ = e.worst_slip;
    last_minute_slip_ = e.last_minute_slip;
    slip_since_ = e.slip_since;
    heard_kept_ = loop_.now();
    for (const auto& s : e.sockets) wire(s.interface).adopt(carp::AdvertSocket::adopt(Fd(s.fd), s.family, s.index));
    holder_.want_leases(wants_leases(settings_));
    for (const auto& one : settings_.vhids) {
        const auto vhid = one.carp.vhid;
        auto made = make_group(one);
        const auto left = std::ranges::find(e.vhids, vhid, &Estate::OfVhid::vhid);
        if (left != e.vhids.end()) {
            made->restore(left->group);
            if (left->unplanned_takeovers > 0) takeovers_[vhid] = {left->unplanned_takeovers, left->last_silence};
            if (left->silence_since) silences_[vhid] = *left->silence_since;
        }
        groups_.emplace(vhid, std::move(made));
    }
    holder_.restore(e.holder);
    worker_.adopt(e.worker);
    look(false);
    Instant again = Instant::min();
    for (const auto& [vhid, g] : groups_) again = std::max(again, g->mute_until());
    if (again > loop_.now()) Loop::move(look_timer_, again);
    // An answer to a wish of the program before is none to us: wish again.
    for (auto& [vhid, g] : groups_) {
        const auto& state = g->instance().state();
        if (state.role == carp::Role::backup && !state.asking.empty()) prepare(*g, true);
    }
    settle_watchdog();
    upgrade_ = e.upgrade;
    ++upgrade_.number;
    upgrade_.running = false;
    upgrade_.to = koi::version();
    const Duration took = Loop::clock() - e.left;
    tell(log::Level::notice, "upgrade",
         "koid " + upgrade_.to + " has taken over from koid " + upgrade_.from + " within " +
             std::to_string((took + 500us) / 1ms) + " ms, and no role has changed",
         {{"from", upgrade_.from}, {"to", upgrade_.to}, {"took_us", std::to_string(took.count())}});
    report();
}

}  // namespace koi::speaker
