// tests/lab/lab.h
//
// The simulated lab: some nodes on one wire, and a clock that runs as fast as we think. Stories are told with its
// words (see tests/story); the labs of network namespaces use the same ones. Everything that happens is in the
// transcript.
//
//     Lab lab;
//     Node& left = lab.node("left", {.advskew = 0});
//     lab.node("right", {.advskew = 100});
//     lab.run_for(5s);
//     lab.unplug(left);
//
// Time begins at zero. One seed gives one story, whatever the machine it is told on.
#pragma once

#include <deque>
#include <functional>
#include <initializer_list>
#include <memory>
#include <queue>
#include <string>
#include <vector>

#include "tests/lab/dice.h"
#include "tests/lab/node.h"
#include "tests/lab/wire.h"

namespace koi::lab {

class Lab {
public:
    explicit Lab(std::uint64_t seed = 1) : dice_(seed) {}

    Node& node(const std::string& name, const NodeSettings& = {});  // joins the wire and starts

    void run_for(Duration);

    // What can happen to a node.
    void kill(Node&);     // power off
    void start(Node&);    // power on, after kill or stop
    void stop(Node&);     // a clean stop: bow-out and all
    void crash(Node&);    // its process is killed; the kernel goes on
    void freeze(Node&);   // the process stops; its kernel still receives
    void suspend(Node&);  // the whole machine sleeps; what is sent to it is lost
    void pause(Node&);    // a guest is paused: it will not know that it slept
    void wake(Node&);     // after freeze, suspend or pause
    void demote(Node&, int demotion);
    void step_down(Node&);
    void step_up(Node&);
    void change(Node&, carp::Settings);  // a reload
    void set_clock(Node&, Duration);     // its wall clock is so far off

    // What can happen to the wire.
    void unplug(Node&);  // it cannot know: only its wire is cut
    void plug_back(Node&);
    void cut(const Node& from, const Node& to);  // one direction
    void mend(const Node& from, const Node& to);
    void split(std::initializer_list<const Node*> island, std::initializer_list<const Node*> rest);
    void heal();  // every way open, every plug in, no noise
    void noise(Noise);
    void inject(const Packet&, const Node& to);  // somebody else says it, whatever is cut
    void watch_packets(std::function<void(const Packet&)> see) { see_packet_ = std::move(see); }

    // What is seen.
    Instant now() const { return now_; }
    std::string master() const;                            // "left", "left and right", "nobody"
    Duration doubly_held() const { return doubly_held_; }  // in all, since the beginning
    Duration unheld() const { return unheld_; }
    Duration doubly_answered() const { return doubly_answered_; }  // two kernels at once, whatever their processes do
    Duration unanswered() const { return unanswered_; }            // by any kernel
    struct Overlap {
        std::size_t one, other;
        Instant from;
        Duration lasted;
    };
    // Called for every stretch of time in which two answer and nothing happens.
    void watch_overlaps(std::function<void(const Overlap&)> see) { see_overlap_ = std::move(see); }
    // When a packet of `from` last failed to reach the process on `to` at once. Never: the beginning of time.
    Instant missed(std::size_t from, std::size_t to) const { return missed_[from * most_nodes + to]; }
    // The last packet of `from` that the process on `to` heard and did not refuse. Never: the beginning of time.
    struct Crossing {
        Instant said = Instant::min(), heard = Instant::min();
        Instant hearer_spoke = Instant::min();  // before that, if it leads
        bool hearer_hands_over = false;         // and says nothing
        unsigned late_answers = 0;              // of the hearer, before that
    };
    const Crossing& crossing(std::size_t from, std::size_t to) const { return crossings_[from * most_nodes + to]; }
    Instant spoke(std::size_t n) const { return spoke_[n]; }                 // when a packet last left this node
    const std::string& because(std::size_t n) const { return because_[n]; }  // why a node has its role
    std::uint64_t adverts() const { return adverts_; }                       // packets that left a node
    std::string transcript() const;
    const std::vector<std::unique_ptr<Node>>& nodes() const { return nodes_; }
    const Wire& wire() const { return wire_; }
    bool hears(const Node& to, const Node& from) const;  // would a packet arrive, noise apart?

    // Called after everything that happened, with the lab in its new state.
    void watch(std::function<void()> look) { look_ = std::move(look); }

private:
    struct Arrival {
        Instant at;
        std::uint64_t order;  // first sent, first come, where instants are equal
        std::size_t to;
        std::shared_ptr<const Packet> packet;
        std::size_t from;  // nobody: injected
        Instant said;
        bool operator>(const Arrival& other) const { return at != other.at ? at > other.at : order > other.order; }
    };
    struct Line {
        Instant at;
        std::string who, what, because;
    };

    void advance(Instant);
    void deliver(const Arrival&);
    void happen(const Node&, std::string what);
    void carry_out(Node&, const Outgoing&);
    void look() const {
        if (look_) look_();
    }
    Node* first_due() const;

    Dice dice_;
    Wire wire_;
    Instant now_{};
    std::vector<std::unique_ptr<Node>> nodes_;
    std::priority_queue<Arrival, std::vector<Arrival>, std::greater<>> arrivals_;
    std::uint64_t sent_ = 0, adverts_ = 0;
    Duration doubly_held_{}, unheld_{}, doubly_answered_{}, unanswered_{};
    static constexpr std::size_t most_nodes = 16, nobody = most_nodes;
    std::function<void(const Overlap&)> see_overlap_;
    std::vector<Instant> missed_ = std::vector<Instant>(most_nodes * most_nodes, Instant::min());
    std::vector<Crossing> crossings_ = std::vector<Crossing>(most_nodes * most_nodes);
    std::function<void(const Packet&)> see_packet_;
    std::vector<Instant> spoke_ = std::vector<Instant>(most_nodes, Instant::min());
    std::vector<std::string> because_ = std::vector<std::string>(most_nodes);
    std::vector<Line> lines_;
    std::function<void()> look_;
};

}  // namespace koi::lab
