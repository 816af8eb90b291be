#include "supervisor/base/channel.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>

#include "supervisor/base/check.h"

namespace koi {

namespace {

constexpr std::uint8_t last = 0, more = 1;
constexpr std::size_t parts_per_call = 64;

const Error gone{"the other end has gone", EPIPE};

}  // namespace

Result<std::pair<Channel, Fd>> Channel::pair() {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        return from_errno("creating a channel between two processes");
    Fd ours(ends[0]), theirs(ends[1]);
    return std::pair{Channel(std::move(ours)), std::move(theirs)};
}

Channel::Channel(Fd fd, std::size_t largest) : fd_(std::move(fd)), largest_(largest) {
    ::fcntl(fd_.get(), F_SETFD, FD_CLOEXEC);
    ::fcntl(fd_.get(), F_SETFL, ::fcntl(fd_.get(), F_GETFL) | O_NONBLOCK);
}

// Sends parts from `sent` on; false when the kernel takes no more for now.
bool Channel::push(std::span<const std::uint8_t> message, std::size_t& sent) {
    for (;;) {
        const auto part = message.subspan(sent, std::min(datagram, message.size() - sent));
        const bool is_last = sent + part.size() == message.size();
        std::uint8_t mark = is_last ? last : more;
        iovec pieces[2] = {{&mark, 1}, {const_cast<std::uint8_t*>(part.data()), part.size()}};
        msghdr header{};
        header.msg_iov = pieces;
        header.msg_iovlen = 2;
        if (::sendmsg(fd_.get(), &header, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
            if (errno == EINTR) continue;
            // Out of memory or buffer passes; anything else means that nobody will ever read.
            reader_gone_ = errno != EAGAIN && errno != ENOBUFS && errno != ENOMEM;
            return false;
        }
        sent += part.size();
        if (is_last) return true;
    }
}

Outcome Channel::send(std::span<const std::uint8_t> message) {
    if (message.size() > largest_message)
        return Error{"a message of " + std::to_string(message.size()) + " bytes is larger than a channel takes",
                     EMSGSIZE};
    if (reader_gone_ || closed()) return gone;
    if (!waiting_.empty() && waiting_bytes_ + message.size() > longest_queue)
        return Error{"the other end does not read: " + std::to_string(waiting_bytes_) + " bytes wait", ENOBUFS};

    std::size_t sent = 0;
    if (waiting_.empty() && push(message, sent)) return Done{};
    if (reader_gone_) return gone;
    waiting_.push_back({Message(message.begin(), message.end()), sent});
    waiting_bytes_ += message.size();
    return Done{};
}

void Channel::flush() {
    while (!waiting_.empty() && push(waiting_.front().message, waiting_.front().sent)) {
        waiting_bytes_ -= waiting_.front().message.size();
        waiting_.pop_front();
    }
    if (!reader_gone_) return;
    waiting_.clear();
    waiting_bytes_ = 0;
}

void Channel::take_in(std::span<const std::uint8_t> part, std::vector<Message>& whole) {
    const auto mark = part[0];
    const auto content = part.subspan(1);
    if (mark != last && mark != more) {
        why_closed_ = "the other end sent bytes that are no message of Koi";
    } else if (joining_.size() + content.size() > largest_) {
        why_closed_ = "the other end sent a message of more than " + std::to_string(largest_) + " bytes";
    } else {
        joining_.insert(joining_.end(), content.begin(), content.end());
        if (mark == last) whole.push_back(std::exchange(joining_, {}));
        return;
    }
    joining_ = {};
}

std::vector<Message> Channel::receive(std::size_t most) {
    std::vector<Message> whole;
    std::uint8_t part[1 + datagram];
    for (std::size_t parts = 0; parts < parts_per_call && whole.size() < most && !closed(); ++parts) {
        const ssize_t n = ::recv(fd_.get(), part, sizeof part, MSG_DONTWAIT | MSG_TRUNC);
        if (n > 0 && static_cast<std::size_t>(n) <= sizeof part) {
            take_in({part, static_cast<std::size_t>(n)}, whole);
        } else if (n > 0) {
            why_closed_ = "the other end sent bytes that are no message of Koi";
        } else if (n == 0) {
            why_closed_ = joining_.empty() ? gone.story : gone.story + " in the middle of a message";
        } else if (errno == EAGAIN) {
            break;
        } else if (errno != EINTR && errno != ECONNRESET) {
            // ECONNRESET: it went without reading all of ours. What it said before is still there: go on to the end.
            why_closed_ = from_errno("reading from the other end").story;
        }
    }
    return whole;
}

struct ChannelOnLoop::Inside : std::enable_shared_from_this<Inside> {
    Inside(Channel c, OnMessage m, OnClose e)
        : channel(std::move(c)), on_message(std::move(m)), on_close(std::move(e)) {}

    void wake(std::uint32_t events);
    void look_for_room();

    Channel channel;
    OnMessage on_message;
    OnClose on_close;
    Watch watch;
    bool dropped = false;
    bool wanted_write = false;
};

void ChannelOnLoop::Inside::look_for_room() {
    if (!watch || channel.wants_write() == wanted_write) return;
    wanted_write = channel.wants_write();
    Loop::expect(watch, wanted_write ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

void ChannelOnLoop::Inside::wake(std::uint32_t events) {
    const auto kept = shared_from_this();  // a callback may destroy the ChannelOnLoop
    if (events & EPOLLOUT) channel.flush();
    if (events & ~static_cast<std::uint32_t>(EPOLLOUT))
        for (const auto& message : channel.receive()) {
            on_message(message);
            if (dropped) return;
        }
    look_for_room();
    if (!channel.closed()) return;
    watch.reset();
    on_close(channel.why_closed());
}

ChannelOnLoop::ChannelOnLoop(Loop& loop, Channel channel, Priority priority, const char* name, OnMessage on_message,
                             OnClose on_close)
    : inside_(std::make_shared<Inside>(std::move(channel), std::move(on_message), std::move(on_close))) {
    inside_->watch = loop.on_io(inside_->channel.fd(), EPOLLIN, priority, name,
                                [raw = inside_.get()](std::uint32_t events) { raw->wake(events); });
}

ChannelOnLoop::~ChannelOnLoop() {
    if (!inside_) return;
    inside_->dropped = true;
    inside_->watch.reset();
}

ChannelOnLoop& ChannelOnLoop::operator=(ChannelOnLoop&& other) noexcept {
    const ChannelOnLoop old(std::move(*this));
    inside_ = std::move(other.inside_);
    return *this;
}

Outcome ChannelOnLoop::send(std::span<const std::uint8_t> message) {
    KOI_CHECK(inside_);
    auto outcome = inside_->channel.send(message);
    inside_->look_for_room();
    return outcome;
}

std::vector<Message> ChannelOnLoop::receive() { return inside_->channel.receive(); }
bool ChannelOnLoop::is_idle() const { return inside_->channel.is_idle(); }
int ChannelOnLoop::fd() const { return inside_->channel.fd(); }
bool ChannelOnLoop::closed() const { return !inside_ || inside_->channel.closed(); }

}  // namespace koi
