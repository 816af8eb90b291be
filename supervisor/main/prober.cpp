#include "supervisor/main/prober.h"

#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace koi::control {

namespace {

constexpr std::uint8_t echo_request_v4 = 8, echo_reply_v4 = 0, echo_request_v6 = 128, echo_reply_v6 = 129;

struct Echo {
    std::uint8_t type = 0, code = 0;
    std::uint16_t checksum = 0, identity = 0, sequence = 0;  // network order; an ICMP socket fills in the first two
};

std::uint16_t identity() { return htons(static_cast<std::uint16_t>(::getpid())); }

// RFC 1071; ICMPv6 sockets do it themselves.
std::uint16_t checksum_of(const Echo& echo) {
    std::array<std::uint16_t, sizeof(Echo) / 2> words;
    std::memcpy(words.data(), &echo, sizeof echo);
    std::uint32_t sum = 0;
    for (const auto word : words) sum += word;
    while (sum >> 16) sum = (sum & 0xFFFF) + (sum >> 16);
    return static_cast<std::uint16_t>(~sum);
}

}  // namespace

Result<std::unique_ptr<Prober>> Prober::start(const std::vector<IpAddress>& addresses) {
    auto prober = std::unique_ptr<Prober>(new Prober());
    for (const auto& address : addresses) {
        auto target = std::make_unique<Target>();
        target->address = address;
        const int protocol = address.is_v4() ? int{IPPROTO_ICMP} : int{IPPROTO_ICMPV6};
        for (const int kind : {SOCK_DGRAM, SOCK_RAW}) {
            target->socket = Fd(::socket(af(address.family()), kind | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol));
            target->raw = kind == SOCK_RAW;
            if (target->socket) break;
        }
        if (!target->socket) return during("pinging " + address.text(), from_errno("opening an ICMP socket"));
        prober->targets_.push_back(std::move(target));
    }
    prober->thread_ = std::thread([p = prober.get()] { p->run(); });
    return prober;
}

Prober::~Prober() {
    going_ = false;
    if (thread_.joinable()) thread_.join();
}

void Prober::run() {
    auto next = Clock::now();
    std::vector<pollfd> wait;
    for (const auto& target : targets_) wait.push_back({target->socket.get(), POLLIN, 0});
    while (going_) {
        if (Clock::now() >= next) {
            for (const auto& target : targets_) ask(*target);
            next = std::max(next + beat, Clock::now());
        }
        const auto rest = std::max(next - Clock::now(), Clock::duration::zero());
        const timespec most{0, std::chrono::duration_cast<std::chrono::nanoseconds>(rest).count()};
        if (::ppoll(wait.data(), wait.size(), &most, nullptr) <= 0) continue;
        for (const auto& target : targets_) listen(*target);
    }
}

void Prober::ask(Target& target) {
    const std::size_t number = target.count;
    auto& question = target.questions[number % target.questions.size()];
    question.answered = 0;
    question.asked = Clock::now();
    Echo echo{.type = target.address.is_v4() ? echo_request_v4 : echo_request_v6,
              .identity = identity(),
              .sequence = htons(static_cast<std::uint16_t>(number))};
    echo.checksum = checksum_of(echo);
    sockaddr_storage to;
    const auto length = target.address.to_sockaddr(to);
    target.count = number + 1;
    // What cannot be sent is not answered, and thereby counted.
    (void)::sendto(target.socket.get(), &echo, sizeof echo, 0, reinterpret_cast<const sockaddr*>(&to), length);
}

void Prober::listen(Target& target) {
    std::array<std::uint8_t, 256> bytes;
    for (;;) {
        sockaddr_storage from{};
        socklen_t length = sizeof from;
        const ssize_t n = ::recvfrom(target.socket.get(), bytes.data(), bytes.size(), 0,
                                     reinterpret_cast<sockaddr*>(&from), &length);
        if (n < 0) return;
        // A raw IPv4 socket hands over the header, too, and everybody's answers.
        const std::size_t head = target.raw && target.address.is_v4() ? (bytes[0] & 15) * 4u : 0;
        if (static_cast<std::size_t>(n) < head + sizeof(Echo)) continue;
        Echo echo;
        std::memcpy(&echo, bytes.data() + head, sizeof echo);
        const auto reply = target.address.is_v4() ? echo_reply_v4 : echo_reply_v6;
        if (echo.type != reply || (target.raw && echo.identity != identity())) continue;
        if (IpAddress::from_sockaddr(reinterpret_cast<const sockaddr*>(&from)) != target.address) continue;
        const std::size_t count = target.count;
        const auto behind = static_cast<std::uint16_t>(static_cast<std::uint16_t>(count - 1) - ntohs(echo.sequence));
        if (behind >= count || behind > patience / beat) continue;
        auto& question = target.questions[(count - 1 - behind) % target.questions.size()];
        if (question.answered == 0) question.answered = Clock::now().time_since_epoch().count();
    }
}

Prober::Darkness Prober::between(Clock::time_point since, Clock::time_point until) {
    std::this_thread::sleep_until(until + patience);
    Darkness all;
    for (const auto& target : targets_) {
        const std::size_t count = target->count, first = count - std::min(count, target->questions.size() / 2);
        auto last_answer = since;
        bool lost = false;
        for (std::size_t n = first; n < count; ++n) {
            const auto& question = target->questions[n % target->questions.size()];
            if (question.asked < since || question.asked > until) continue;
            ++all.asked;
            if (question.answered == 0) {
                ++all.lost;
                lost = true;
                continue;
            }
            const Clock::time_point answer{Clock::duration(question.answered.load())};
            if (lost) all.longest = std::max(all.longest, answer - last_answer);
            lost = false;
            last_answer = std::max(last_answer, answer);
        }
        if (lost) all.longest = std::max(all.longest, until - last_answer);
    }
    return all;
}

}  // namespace koi::control
