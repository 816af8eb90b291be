#include "tests/lab/node.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "supervisor/base/check.h"

namespace koi::lab {

namespace {

constexpr std::size_t socket_holds = 200;  // packets; about what a default receive buffer keeps of ours

carp::Settings settings_of(const NodeSettings& n) {
    carp::Settings s;
    s.vhid = *Vhid::of(51);
    s.interface = "lab0";
    s.addresses = {*IpAddress::parse("192.0.2.10"), *IpAddress::parse("2001:db8::10")};
    s.password = n.password;
    s.advbase = *carp::Advbase::of(n.advbase);
    s.advskew = *carp::Advskew::of(n.advskew);
    s.preempt = n.preempt;
    s.preempt_delay = n.preempt_delay;
    s.auth.mode = n.auth;
    if (n.auth != carp::Auth::Mode::off) s.auth.keys = {{1, "thirty-two bytes that a lab knows"}};
    s.interval = n.interval;
    return s;
}

void append(Outgoing& to, Outgoing from) {
    std::ranges::move(from.packets, std::back_inserter(to.packets));
    std::ranges::move(from.roles, std::back_inserter(to.roles));
}

}  // namespace

Node::Node(std::size_t place, std::string name, const NodeSettings& n)
    : place_(place), name_(std::move(name)), settings_(settings_of(n)) {
    own_.v4 = IpAddress::parse(n.address.empty() ? "10.0.0." + std::to_string(place + 1) : n.address);
    own_.v6 = IpAddress::parse(n.v6);
}

WallTime Node::wall(Instant now) const {
    constexpr std::uint64_t begin = 1'767'225'600'000'000;  // the year 2026
    return {begin + static_cast<std::uint64_t>((now.time_since_epoch() + wall_off_).count()), wall_off_ == 0us};
}

Outgoing Node::start(Instant now, std::uint64_t random) {
    socket_.clear();
    asleep_ = false;
    if (kept_.sender == 0) kept_.sender = random | 1;
    counter_ = std::make_unique<carp::Counter>(kept_);
    instance_ = std::make_unique<carp::Instance>(settings_, *counter_);
    instance_->guard().replay().recall(heard_, own_time(now));
    instance_->own_address(*own_.v4);
    if (own_.v6) instance_->own_address(*own_.v6);
    instance_->take(carp::Demoted{demotion_}, own_time(now));
    if (stepped_down_) instance_->take(carp::SteppedDown{"the operator said so"}, own_time(now));
    if (speaker::may_resume(note_, settings_, own_time(now)) && !stepped_down_)
        return perform(instance_->resume(own_time(now)), now);
    held_ = false;
    return perform(instance_->start(own_time(now)), now);
}

Outgoing Node::arrive(const Packet& packet, Instant now) {
    const auto& to = packet.envelope.destination;
    const bool for_us = to.is_multicast() || own_.of(to.family()) == to;
    if (!is_running() || !for_us) return {};
    if (asleep_) {
        if (sleep_ == Sleep::process && socket_.size() < socket_holds) socket_.push_back(packet);
        return {};
    }
    const auto decoded = carp::decode(packet.payload, packet.envelope);
    if (const auto* why = std::get_if<carp::Refusal>(&decoded)) {
        instance_->refuse(*why);
        return {};
    }
    const auto& advert = std::get<carp::Advert>(decoded);
    const auto before = instance_->counters().accepted;
    auto out = perform(instance_->hear(advert, packet, own_time(now), wall(now)).deeds, now);
    if (see_accepted_ && instance_->counters().accepted != before) see_accepted_(packet);
    return out;
}

Outgoing Node::due(Instant now) { return perform(instance_->take(carp::DeadlinePassed{}, own_time(now)), now); }

Outgoing Node::tell(const carp::Event& event, Instant now) {
    KOI_CHECK(!asleep_);
    if (const auto* d = std::get_if<carp::Demoted>(&event)) demotion_ = d->demotion;
    if (std::holds_alternative<carp::SteppedDown>(event)) stepped_down_ = true;
    if (std::holds_alternative<carp::SteppedUp>(event)) stepped_down_ = false;
    return is_running() ? perform(instance_->take(event, own_time(now)), now) : Outgoing{};
}

Outgoing Node::change(carp::Settings s, Instant now) {
    settings_ = std::move(s);
    return is_running() ? perform(instance_->change(settings_, own_time(now)), now) : Outgoing{};
}

Outgoing Node::wake(Instant now) {
    asleep_ = false;
    machine_sleeps_ = false;
    if (sleep_ != Sleep::process) leased_until_ += now - asleep_since_;
    if (sleep_ == Sleep::guest) {
        lost_ += now - asleep_since_;
        woke_from_pause_ = now;
    }
    if (sleep_ == Sleep::machine) woke_from_suspend_ = now;
    Outgoing all;
    if (is_running()) append(all, perform(instance_->wake(own_time(now)), now));
    const auto waited = std::exchange(socket_, {});
    for (const auto& packet : waited) append(all, arrive(packet, now));
    if (is_running() && instance_->deadline() <= own_time(now)) append(all, due(now));
    return all;
}

Instant Node::deadline() const {
    if (!is_awake() || instance_->deadline() == Instant::max()) return Instant::max();
    return instance_->deadline() + lost_;
}

void Node::crash() {
    is_stopping = false;
    if (instance_) heard_ = instance_->guard().replay().all();
    instance_.reset();
    socket_.clear();
    asleep_ = false;
    machine_sleeps_ = false;
}

void Node::kill() {
    crash();
    held_ = false;
    note_ = {};
}

void Node::sleep(Sleep how, Instant now) {
    asleep_ = true;
    sleep_ = how;
    asleep_since_ = now;
    machine_sleeps_ = how != Sleep::process;
}

Outgoing Node::perform(const std::vector<carp::Deed>& deeds, Instant now) {
    Outgoing out;
    for (const auto& deed : deeds) {
        if (const auto* send = std::get_if<carp::Send>(&deed)) say(*send, now, out);
        if (const auto* role = std::get_if<carp::RoleChanged>(&deed)) {
            out.roles.push_back(*role);
            held_ = role->to == carp::Role::master;
            note_ = {role->to, held_ ? own_time(now) : Instant{}};
            if (held_) leased_until_ = instance_->leased_until() + lost_;
        }
        if (std::holds_alternative<carp::HandingOver>(deed)) {
            leased_until_ = std::min(leased_until_, instance_->leased_until() + lost_);
            note_ = {};
        }
        // Its tables are small: they are there at once.
        if (const auto* prepare = std::get_if<carp::Prepare>(&deed); prepare && prepare->wanted)
            append(out, perform(instance_->take(carp::Prepared{true}, own_time(now)), now));
    }
    return out;
}

void Node::say(const carp::Send& send, Instant now, Outgoing& out) {
    static const IpAddress group_v4 = *IpAddress::parse("224.0.0.18"), group_v6 = *IpAddress::parse("ff02::12");
    if (holds() && instance_->state().handing_to == 0) {
        instance_->advert_left(own_time(now));
        leased_until_ = instance_->leased_until() + lost_;
        note_ = {carp::Role::master, own_time(now)};
    }
    for (int copy = 0; copy < send.copies; ++copy) {
        const auto give = [&](const carp::Envelope& way) {
            out.packets.push_back({way, instance_->bytes(send, way, own_time(now), wall(now))});
        };
        const auto to = [&](const IpAddress& group) { return send.only ? *send.only : group; };
        const auto speaks = [&](Family f) { return !send.only || send.only->family() == f; };
        if (speaks(Family::ipv4)) give({*own_.v4, to(group_v4), 255});
        if (own_.v6 && speaks(Family::ipv6)) give({*own_.v6, to(group_v6), 255});
        if (counter_->wants_keeping()) kept_ = counter_->reserve();
    }
}

}  // namespace koi::lab
