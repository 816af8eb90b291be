// supervisor/speaker/speaker.h
//
// The parent process: election, addresses, and the life of the worker. It parses adverts and the messages of its own
// worker, and nothing else; it links no YAML and no HTTP, so that who leads never waits for anything.
//
// The order of things (docs/design.md): becoming master: advert, then the worker's table, then addresses and their
// announcement. Leaving: addresses, then the bow-out, then the table.
//
// A node that cannot serve says so. Its demotion is the sum, at most 240, of: what the worker finds; demote.link for
// each other interface that is down; 240 without a worker for worker_grace (10 s); 240 for a minute after a table was
// not ready within 2 s, an advert was late by half of what peers wait for, or an address could not be taken, so that
// a peer leads and this node does not come back to fail again.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "supervisor/base/log.h"
#include "supervisor/base/loop.h"
#include "supervisor/base/watchdog.h"
#include "supervisor/speaker/group.h"
#include "supervisor/speaker/holder.h"
#include "supervisor/speaker/memory.h"
#include "supervisor/speaker/refusal_lines.h"
#include "supervisor/speaker/resume.h"
#include "supervisor/speaker/wire.h"
#include "supervisor/speaker/worker_process.h"

namespace koi::speaker {

struct Setup {
    std::string program;                 // of this very process, as it is installed
    std::vector<std::string> arguments;  // it was started with, its name first
    std::string configuration;           // path of the file; the worker reads it
    std::string worker_program;
    std::string runtime_directory;  // exists and can be written
    std::string state_directory;
    int estate = -1;  // the descriptor of what an earlier program of this process has left (estate.h)
};
struct Estate;

// Runs until a signal; the exit code of koid (0; 78: the configuration cannot be used; 1: something else cannot).
int run(const Setup&);

bool wants_leases(const link::Settings&);  // of any vhid

class Speaker {
public:
    // lock: that this is the only speaker here. counter: above all that was said before.
    Speaker(Loop&, vip::KernelAddresses, Notes, Memory, Fd lock, const carp::Counter& counter, const Setup&);
    // problems: what the worker shall tell of the time before it.
    void start(std::vector<std::string> problems);
    void go_on(const Estate&);  // instead of start(), in the middle of everything
    void finish();              // after the loop has ended

private:
    static constexpr Duration memory_of_failure{
        std::chrono::seconds(60)};  // for so long a node that failed is demoted

    void watch_everything();
    // the upgrade (upgrade.cpp)
    void begin_upgrade();
    void ask_program(std::uint8_t format);
    void upgrade_worker();
    void upgrade_self();
    void replace_when_quiet();
    void replace_self();
    void upgrade_failed(const std::string& because);
    std::pair<Duration, bool> slack() const;
    Estate estate() const;
    // from the worker
    void heard(const link::Message&);
    void apply(const link::Settings&);
    void brief_worker();
    void worker_gone(const std::string& because);
    // from the kernel
    void kernel_events();
    void look(bool resume);
    // from the groups (groups.cpp)
    void role_changed(Group&, const carp::RoleChanged&);
    void hold_if_ready(Group&);
    void note_takeover(Group&);
    void slipped(Group&, Duration);
    void prepare(Group&, bool wanted);
    void tell_if_prepared(Group&);
    link::RoleTold told(const Group&) const;
    bool is_prepared(Vhid) const;
    void tell_role(Group&, const carp::RoleChanged&);
    void tell_waiting_role();
    void let_go_of_silent();
    void advert_heard(const std::string& interface, const carp::Advert&, const carp::Packet&);
    // counted: the group itself has done it.
    void refused(const std::string& interface, carp::Refusal, const IpAddress& source, std::optional<unsigned> vhid,
                 bool counted = false);
    void become_another();
    void sender_heard(Vhid, carp::Replay::News, const IpAddress& source, std::uint64_t sender);
    // by itself
    void beat();
    void remember();
    void keep_heard();
    void settle_demotion();
    void settle_watchdog();
    Demotion demotion_of(const Group&) const;
    void report();
    void report_soon();
    void stop();
    bool is_free() const;  // leads nowhere
    void leave_when_free();
    void tell(log::Level, std::string_view event, std::string_view sentence, const log::Fields&);
    void tell_worker(link::Happened);

    Group* group(Vhid);
    std::set<vip::Held> held_of(const link::VhidSettings&) const;
    std::unique_ptr<Group> make_group(const link::VhidSettings&);
    Wire& wire(const std::string& interface);

    Loop& loop_;
    Setup setup_;
    Fd lock_;
    vip::KernelAddresses kernel_;
    Notes notes_;
    Memory memory_;
    carp::Counter counter_;
    Holder holder_;
    WorkerProcess worker_;
    Watchdog watchdog_;

    bool settled_once_ = false;  // the first settings were applied
    bool stopping_ = false, ready_told_ = false;
    bool is_another_ = false;  // has taken a new identity in this life
    link::Settings settings_;
    std::map<std::string, std::unique_ptr<Wire>> wires_;
    std::map<Vhid, std::unique_ptr<Group>> groups_;
    std::map<Vhid, link::TableReady> tables_;
    std::map<Vhid, Instant> prepared_since_;                       // when preparing was last wanted, or called off
    std::optional<std::pair<Vhid, carp::RoleChanged>> tell_role_;  // once the advert that belongs to it has left
    carp::Condition condition_;
    Demotion worker_demotion_ = *Demotion::of(0);
    std::optional<Instant> unready_until_, slipped_until_;
    std::map<Vhid, Instant> silences_;  // of masters we took over from: since when; until our addresses answer
    struct Takeovers {
        std::uint64_t unplanned = 0;
        Duration last_silence{};
    };
    std::map<Vhid, Takeovers> takeovers_;
    Duration worst_slip_{}, last_minute_slip_{};
    Instant slip_since_{};
    Instant heard_kept_{};
    std::string memory_trouble_;
    std::deque<link::Happened> untold_;  // while no worker listened
    RefusalLines refusal_lines_;
    LastRefusals last_refusals_;
    log::RateLimit sender_limit_{20, 60s}, silent_limit_{6, 60s};
    std::map<Vhid, std::string> silent_;  // whose adverts do not leave, and why
    std::string status_;
    link::UpgradeReport upgrade_;
    bool upgrade_waits_for_worker_ = false;
    Instant upgrade_until_{};
    std::uint8_t estate_format_ = 0;  // that the new program reads, or is asked about
    int question_ = 0;                // the pid of a new koid that is asked
    Watch upgrade_timer_, question_end_;

    Watch kernel_watch_, beat_timer_, report_timer_, stop_timer_, look_timer_, settle_timer_, silent_timer_,
        tell_role_timer_;
    std::vector<Watch> signals_;
};

}  // namespace koi::speaker
