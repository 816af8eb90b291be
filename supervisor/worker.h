// supervisor/worker.h
//
// A worker's life: open, adopt what is there, run, leave. Events change facts_; when the last waiting one is taken
// in, settle() (settle.cpp) runs once and does everything in one order. Answers to the control socket are in
// answers.cpp.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "ipvs/datapath.h"
#include "supervisor/base/channel.h"
#include "supervisor/base/loop.h"
#include "supervisor/config/read.h"
#include "supervisor/control/control_server.h"
#include "supervisor/control/sent_files.h"
#include "supervisor/desired.h"
#include "supervisor/event_file.h"
#include "supervisor/facts.h"
#include "supervisor/scout_process.h"
#include "supervisor/snapshot.h"
#include "supervisor/status/event_log.h"

namespace koi {

struct WorkerSetup {
    std::string configuration;  // the operator's file
    std::string scout_program;
    std::string runtime_directory, state_directory;
    std::string version_file;  // tells which version is installed
    int channel_fd = 3;        // to the speaker
    bool again = false;        // started anew: go on with the configuration that was in force
    bool beside = false;       // another worker is still at work: wait until the speaker says Begin
};

// The exit code of koid-worker: 0; 78 if the configuration cannot be used; 1.
int run_worker(const WorkerSetup&);

class Worker {
public:
    // format: of what it says to the speaker.
    Worker(Loop&, WorkerSetup, config::Config, Channel speaker, std::uint8_t format);
    Outcome start();

private:
    // events → facts
    void heard(std::span<const std::uint8_t>);  // the speaker
    void heard(const discovery::Message&);      // the scout
    void take(const link::RoleTold&);
    void take(const link::Report&);
    void take(const discovery::PoolSnapshot&);
    void change_pool(const std::string& name,
                     const std::function<discovery::Pool(discovery::Pool, const discovery::PoolSettings&)>&);
    void look_at_kernel();  // the slow beat: is the table still what it was?
    void open_datapath();
    void look_at_drains();
    void look_at_host();
    void pass_time();

    // facts → deeds, in settle.cpp
    void turn();
    void settle();
    void decide();
    void go_on_draining();
    void converge();
    void claim_ownership();
    void tell_tables();
    void tell_settings();
    void tell_demotion();
    void tell_condition();
    bool refresh_troubles();  // true: the list is another one now
    void say_status();

    // the operator, in answers.cpp
    void answer(const control::Request&, const control::Reply&);
    control::Answer answer_status(const control::Request&);
    control::Answer answer_plan(const control::Request&);
    config::Loader loader_of(const control::SentFiles&, unsigned uid) const;
    control::Answer answer_events(const control::Request&);
    control::Answer answer_reload();
    control::Answer answer_step(const control::Request&, bool down);
    control::Answer answer_versions();
    control::Answer answer_upgrade();
    status::Status status(bool with_counters);

    struct ReloadOutcome {
        std::string outcome;
        std::vector<config::Complaint> complaints;
    };
    ReloadOutcome reload();
    void adopt_configuration(config::Config);
    void leave();

    void tell(const link::Message&);
    void happened(int level, std::string_view event, std::string_view sentence,
                  std::vector<std::pair<std::string, std::string>> fields = {}, bool log_it = true);
    void dirty() { dirty_ = true; }
    void look_at_host_soon(Duration);
    void look_at_versions();

    Loop& loop_;
    WorkerSetup setup_;
    config::Config config_;
    Facts facts_;
    Desired desired_;
    std::vector<status::Trouble> troubles_;
    status::EventLog events_;
    EventFile event_file_;
    std::unique_ptr<ipvs::Datapath> datapath_;
    Channel speaker_end_;  // until start()
    std::unique_ptr<ChannelOnLoop> speaker_;
    std::uint8_t format_;
    std::unique_ptr<ScoutProcess> scout_;
    std::unique_ptr<control::ControlServer> control_;

    bool dirty_ = true;           // a fact changed that the plan may depend on
    bool report_new_ = false;     // the speaker reported; only troubles depend on that
    bool observed_stale_ = true;  // facts_.observed must be read before it is believed
    bool left_ = false;
    std::set<ipvs::ServiceKey> recorded_;  // what owned.json says
    std::map<Vhid, link::TableReady> tables_told_;
    std::optional<link::Settings> settings_told_;
    std::optional<carp::Condition> condition_told_;
    std::optional<Demotion> demotion_told_;
    std::string status_told_;
    bool ready_told_ = false;
    Instant started_{}, configured_{}, datapath_retry_{}, full_look_{};

    Watch turn_, alive_, kernel_beat_, host_beat_, pool_timer_, drain_timer_, end_;
    std::vector<Watch> signals_;
};

}  // namespace koi
