// tests/lab/node.h
//
// A machine of the simulated lab: a carp::Instance with its real bytes, and the fates a machine can meet. It does
// what the speaker does with an Instance, in the same order: what waits in the socket is heard before the timer
// counts.
//
// Beside the process there is the machine's kernel, which goes on when the process is killed or stopped: it answers
// for the vips until the lease ends that the process has renewed with each advert. Its timers stand still while the
// machine sleeps. A suspended machine's clock (CLOCK_BOOTTIME) has gone on when it wakes, a paused guest's has not.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "carp/instance.h"
#include "supervisor/speaker/resume.h"

namespace koi::lab {

struct NodeSettings {
    int advbase = 1;
    int advskew = 0;
    bool preempt = true;
    Duration preempt_delay{};
    std::string address{};  // default: 10.0.0.1, 10.0.0.2 ... in order of their coming
    std::string v6{};       // default: none, and adverts go over IPv4 alone
    std::string password = "koi-lab";
    carp::Auth::Mode auth = carp::Auth::Mode::off;  // all nodes of a lab have the same key
    Duration interval{};
};

using carp::Packet;

// Deeds, turned into what leaves the machine.
struct Outgoing {
    std::vector<Packet> packets;
    std::vector<carp::RoleChanged> roles;
};

class Node {
public:
    Node(std::size_t place, std::string name, const NodeSettings&);

    std::size_t place() const { return place_; }
    const std::string& name() const { return name_; }
    const carp::Settings& settings() const { return settings_; }

    bool is_running() const { return instance_ != nullptr; }
    bool is_awake() const { return is_running() && !asleep_; }
    bool is_plugged() const { return plugged_; }
    carp::Role role() const { return instance_ ? instance_->state().role : carp::Role::init; }
    bool holds() const { return role() == carp::Role::master; }
    // Would somebody who asks for a vip now get an answer from this machine? And until when, if nothing happens?
    bool answers(Instant now) const { return answers_until(now) > now; }
    Instant answers_until(Instant now) const {
        return held_ && !machine_sleeps_ ? std::max(leased_until_, now) : now;
    }
    Instant woke_from_pause() const { return woke_from_pause_; }
    Instant woke_from_suspend() const { return woke_from_suspend_; }
    Instant lab_time(Instant own) const { return own + lost_; }  // of what its clock shows
    const carp::OwnAddresses& addresses() const { return own_; }
    Instant deadline() const;
    // Only while it runs.
    const carp::State& state() const { return instance_->state(); }
    const carp::Instance& instance() const { return *instance_; }

    bool is_stopping = false;  // a clean stop: it ends when it leads no more

    // Every deed of a node gives what leaves it.
    Outgoing start(Instant now, std::uint64_t random);
    Outgoing arrive(const Packet&, Instant now);  // asleep: kept in the socket, or lost
    Outgoing due(Instant now);
    Outgoing tell(const carp::Event&, Instant now);  // not while it sleeps
    Outgoing change(carp::Settings, Instant now);
    Outgoing wake(Instant now);  // late timers and all
    void kill();                 // a power cut: nothing is said, nothing is held
    void crash();                // the process is killed; its kernel goes on
    // process: it is stopped, and its kernel goes on receiving. machine: all of it sleeps, and knows it when it
    // wakes. guest: its clock stands still as well.
    enum class Sleep { process, machine, guest };
    void sleep(Sleep, Instant now);
    void plug(bool in) { plugged_ = in; }
    void set_clock(Duration off) { wall_off_ = off; }  // from what it should be
    // Called with each packet that was heard and not refused.
    void watch_accepted(std::function<void(const Packet&)> see) { see_accepted_ = std::move(see); }

private:
    Instant own_time(Instant now) const { return now - lost_; }
    WallTime wall(Instant now) const;
    Outgoing perform(const std::vector<carp::Deed>&, Instant now);
    void say(const carp::Send&, Instant now, Outgoing&);

    std::size_t place_;
    std::string name_;
    carp::Settings settings_;
    carp::OwnAddresses own_;
    std::unique_ptr<carp::Instance> instance_;
    Demotion demotion_ = *Demotion::of(0);
    bool stepped_down_ = false;
    bool plugged_ = true;
    bool asleep_ = false;
    Sleep sleep_ = Sleep::process;
    Instant asleep_since_{};
    Duration lost_{};  // what its clock is behind
    // Its kernel, and what is kept there for the next process.
    bool held_ = false, machine_sleeps_ = false;
    Instant leased_until_{};
    speaker::Note note_;
    // Its disk, and its wall clock, which may be wrong.
    carp::Counter::Kept kept_;
    std::unique_ptr<carp::Counter> counter_;
    std::vector<carp::Replay::Line> heard_;
    Duration wall_off_{};
    Instant woke_from_pause_ = Instant::min(), woke_from_suspend_ = Instant::min();
    std::deque<Packet> socket_;
    std::function<void(const Packet&)> see_accepted_;
};

}  // namespace koi::lab
