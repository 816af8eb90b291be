#include "tests/lab/lab.h"

#include <algorithm>
#include <cstdio>

#include "supervisor/base/check.h"

namespace koi::lab {

Node& Lab::node(const std::string& name, const NodeSettings& settings) {
    nodes_.push_back(std::make_unique<Node>(nodes_.size(), name, settings));
    wire_.add_place();
    start(*nodes_.back());
    return *nodes_.back();
}

// ---- Time -----------------------------------------------------------------------------------------

void Lab::run_for(Duration time) {
    const Instant end = now_ + time;
    for (;;) {
        Node* due = first_due();
        const Instant next_due = due ? due->deadline() : Instant::max();
        const Instant next_arrival = arrivals_.empty() ? Instant::max() : arrivals_.top().at;
        const Instant next = std::min(next_due, next_arrival);
        if (next > end) break;
        advance(next);
        if (next_arrival <= next_due) {  // what came is heard before a timer counts
            const Arrival arrival = arrivals_.top();
            arrivals_.pop();
            deliver(arrival);
        } else {
            carry_out(*due, due->due(now_));
        }
        look();
    }
    advance(end);
}

void Lab::deliver(const Arrival& a) {
    Node& to = *nodes_[a.to];
    const std::size_t way = a.from * most_nodes + a.to;
    const bool awake = to.is_awake();
    if (!awake && a.from != nobody) missed_[way] = now_;
    const Instant spoke = awake ? to.lab_time(to.state().counts_from) : Instant::min();
    const unsigned answers = awake ? to.state().late_answers : 0;
    const bool hands_over = awake && to.state().handing_to != 0;
    const auto accepted = awake ? to.instance().counters().accepted : 0;
    const auto out = to.arrive(*a.packet, now_);
    const bool heard = awake && to.instance().counters().accepted != accepted;
    carry_out(to, out);
    if (heard && a.from != nobody) crossings_[way] = {a.said, now_, spoke, hands_over, answers};
}

Node* Lab::first_due() const {
    const auto first = std::ranges::min_element(nodes_, {}, [](const auto& n) { return n->deadline(); });
    return first == nodes_.end() || (*first)->deadline() == Instant::max() ? nullptr : first->get();
}

void Lab::advance(Instant to) {
    to = std::max(to, now_);
    const auto holders = std::ranges::count_if(nodes_, &Node::holds, [](const auto& n) -> const Node& { return *n; });
    if (holders == 0) unheld_ += to - now_;
    if (holders > 1) doubly_held_ += to - now_;
    Instant answered = now_;
    for (const auto& n : nodes_) answered = std::max(answered, std::min(to, n->answers_until(now_)));
    unanswered_ += to - answered;
    for (std::size_t a = 0; a < nodes_.size(); ++a)
        for (std::size_t b = a + 1; b < nodes_.size(); ++b) {
            const Instant until = std::min({to, nodes_[a]->answers_until(now_), nodes_[b]->answers_until(now_)});
            if (until <= now_) continue;
            doubly_answered_ += until - now_;
            if (see_overlap_) see_overlap_({a, b, now_, until - now_});
        }
    now_ = to;
}

void Lab::carry_out(Node& from, const Outgoing& out) {
    for (const auto& packet : out.packets) {
        ++adverts_;
        spoke_[from.place()] = now_;
        if (see_packet_) see_packet_(packet);
        const auto shared = std::make_shared<const Packet>(packet);
        for (const auto& to : nodes_) {
            auto& missed = missed_[from.place() * most_nodes + to->place()];
            if (!hears(*to, from) || !to->is_awake()) missed = now_;
            if (!hears(*to, from)) continue;
            const auto when = wire_.arrivals(from.place(), to->place(), now_, dice_);
            if (when.empty() || when.front() > now_ + 2 * Wire::slowest) missed = now_;
            for (const auto at : when) arrivals_.push({at, sent_++, to->place(), shared, from.place(), now_});
        }
    }
    for (const auto& r : out.roles) because_[from.place()] = r.because;
    for (const auto& r : out.roles)
        lines_.push_back(
            {now_, from.name(), std::string(to_string(r.from)) + " -> " + std::string(to_string(r.to)), r.because});
    if (from.is_stopping && from.role() == carp::Role::init) {
        look();  // it has left, and is still there
        from.kill();
    }
}

// ---- What can happen ------------------------------------------------------------------------------

void Lab::happen(const Node& node, std::string what) { lines_.push_back({now_, node.name(), std::move(what), {}}); }

void Lab::kill(Node& n) {
    happen(n, "killed");
    n.kill();
    look();
}

void Lab::start(Node& n) {
    KOI_CHECK(!n.is_running());
    happen(n, "started");
    carry_out(n, n.start(now_, dice_.throw_once()));
    look();
}

void Lab::stop(Node& n) {
    happen(n, "stopped");
    n.is_stopping = true;
    carry_out(n, n.tell(carp::Stopped{}, now_));
    look();
}

void Lab::crash(Node& n) {
    happen(n, "crashed");
    n.crash();
    look();
}

void Lab::freeze(Node& n) {
    happen(n, "frozen");
    n.sleep(Node::Sleep::process, now_);
    look();
}

void Lab::suspend(Node& n) {
    happen(n, "suspended");
    n.sleep(Node::Sleep::machine, now_);
    look();
}

void Lab::pause(Node& n) {
    happen(n, "paused");
    n.sleep(Node::Sleep::guest, now_);
    look();
}

void Lab::wake(Node& n) {
    happen(n, "awake again");
    carry_out(n, n.wake(now_));
    look();
}

void Lab::set_clock(Node& n, Duration off) {
    happen(n, "clock is off by " + std::to_string(off / 1s) + " s");
    n.set_clock(off);
    look();
}

void Lab::demote(Node& n, int demotion) {
    happen(n, "demotion " + std::to_string(demotion));
    carry_out(n, n.tell(carp::Demoted{*Demotion::of(demotion)}, now_));
    look();
}

void Lab::step_down(Node& n) {
    happen(n, "stepped down");
    carry_out(n, n.tell(carp::SteppedDown{"the operator said so"}, now_));
    look();
}

void Lab::step_up(Node& n) {
    happen(n, "stepped up");
    carry_out(n, n.tell(carp::SteppedUp{}, now_));
    look();
}

void Lab::change(Node& n, carp::Settings s) {
    happen(n, "reloaded");
    carry_out(n, n.change(std::move(s), now_));
    look();
}

void Lab::unplug(Node& n) {
    happen(n, "unplugged");
    n.plug(false);
    look();
}

void Lab::plug_back(Node& n) {
    happen(n, "plugged back");
    n.plug(true);
    look();
}

void Lab::cut(const Node& from, const Node& to) {
    happen(to, "hears " + from.name() + " no more");
    wire_.cut(from.place(), to.place());
    look();
}

void Lab::mend(const Node& from, const Node& to) {
    happen(to, "hears " + from.name() + " again");
    wire_.mend(from.place(), to.place());
    look();
}

void Lab::split(std::initializer_list<const Node*> island, std::initializer_list<const Node*> rest) {
    for (const auto* a : island)
        for (const auto* b : rest) {
            cut(*a, *b);
            cut(*b, *a);
        }
}

void Lab::heal() {
    for (const auto& a : nodes_) {
        a->plug(true);
        for (const auto& b : nodes_) wire_.mend(a->place(), b->place());
    }
    wire_.noise({});
    lines_.push_back({now_, "wire", "healed", {}});
    look();
}

void Lab::noise(Noise n) {
    lines_.push_back({now_,
                      "wire",
                      "loses " + std::to_string(n.loss) + " %, doubles " + std::to_string(n.duplication) +
                          " %, delays up to " + std::to_string(n.delay.count() / 1000) + " ms",
                      {}});
    wire_.noise(n);
    look();
}

void Lab::inject(const Packet& packet, const Node& to) {
    const auto at = now_ + dice_.between(Wire::fastest, Wire::slowest);
    arrivals_.push({at, sent_++, to.place(), std::make_shared<const Packet>(packet), nobody, now_});
}

// ---- What is seen ---------------------------------------------------------------------------------

bool Lab::hears(const Node& to, const Node& from) const {
    return &to != &from && to.is_plugged() && from.is_plugged() && wire_.carries(from.place(), to.place());
}

std::string Lab::master() const {
    std::string names;
    for (const auto& n : nodes_)
        if (n->holds()) names += (names.empty() ? "" : " and ") + n->name();
    return names.empty() ? "nobody" : names;
}

std::string Lab::transcript() const {
    std::size_t longest = 4;
    for (const auto& line : lines_) longest = std::max(longest, line.who.size());
    std::string out = "\n";
    for (const auto& line : lines_) {
        char head[64];
        std::snprintf(head, sizeof head, "%8.3f  %-*s  ",
                      static_cast<double>(line.at.time_since_epoch().count()) / 1e6,
                      static_cast<int>(std::min<std::size_t>(longest, 40)), line.who.c_str());
        out += head + line.what + (line.because.empty() ? "" : "   (" + line.because + ")") + "\n";
    }
    return out;
}

}  // namespace koi::lab
