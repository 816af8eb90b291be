// supervisor/base/channel.h
//
// Whole messages between two processes of Koi, over a SOCK_SEQPACKET pair. A message of any length up to 64 MiB
// arrives whole and in order, or not at all. Nothing here ever blocks.
//
// What the kernel does not take at once waits here and leaves when the socket is writable. At most 8 MiB may wait
// before a further message is refused with "the other end does not read"; a refused message is refused whole, the
// ones before it still arrive. (A single message larger than that is taken when nothing else waits.)
//
// closed(): the other end is gone, or sent what no Channel sends; why_closed() says which. What it sent before is
// delivered first.
//
// On the wire: datagrams of one byte (1: more follows, 0: the last) and up to 32 KiB of the message.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "supervisor/base/fd.h"
#include "supervisor/base/loop.h"
#include "supervisor/base/result.h"

namespace koi {

using Message = std::vector<std::uint8_t>;

class Channel {
public:
    static constexpr std::size_t largest_message = 64u << 20;
    static constexpr std::size_t longest_queue = 8u << 20;
    static constexpr std::size_t datagram = 32u << 10;

    // Our end, and the end for a child. Close that one after spawn() handed it over, or the child's end goes
    // unnoticed.
    static Result<std::pair<Channel, Fd>> pair();

    // Takes over one end. `largest`: a larger message from the other end is refused and closes the channel.
    explicit Channel(Fd, std::size_t largest = largest_message);

    Outcome send(std::span<const std::uint8_t> message);
    // Whole messages that have arrived, at most `most`, and not more than a few MiB of parts in one call, so that a
    // flood cannot hold up a timer.
    std::vector<Message> receive(std::size_t most = 64);
    // Sends what waits, as far as the kernel takes it. Call when the descriptor is writable.
    void flush();

    bool closed() const { return !why_closed_.empty(); }
    const std::string& why_closed() const { return why_closed_; }
    int fd() const { return fd_.get(); }
    bool wants_write() const { return !waiting_.empty(); }
    // Between two messages, in both directions: another program could go on with the descriptor.
    bool is_idle() const { return waiting_.empty() && joining_.empty() && !reader_gone_ && !closed(); }

private:
    struct Waiting {
        Message message;
        std::size_t sent = 0;
    };
    bool push(std::span<const std::uint8_t> message, std::size_t& sent);
    void take_in(std::span<const std::uint8_t> part, std::vector<Message>& whole);

    Fd fd_;
    std::size_t largest_;
    std::deque<Waiting> waiting_;
    std::size_t waiting_bytes_ = 0;
    bool reader_gone_ = false;
    Message joining_;
    std::string why_closed_;
};

// A Channel with its watch on the loop: on_message is called once per whole message, on_close once when the channel
// has closed, never from within send(). Both may destroy the ChannelOnLoop; nothing is called after that.
class ChannelOnLoop {
public:
    using OnMessage = std::function<void(std::span<const std::uint8_t>)>;
    using OnClose = std::function<void(const std::string& why)>;

    ChannelOnLoop(Loop&, Channel, Priority, const char* name, OnMessage, OnClose);
    ~ChannelOnLoop();
    ChannelOnLoop(ChannelOnLoop&&) noexcept = default;
    ChannelOnLoop& operator=(ChannelOnLoop&&) noexcept;

    Outcome send(std::span<const std::uint8_t> message);
    std::vector<Message> receive();  // what has arrived and was not told yet: the last words before it goes
    bool closed() const;
    bool is_idle() const;
    int fd() const;

private:
    struct Inside;
    std::shared_ptr<Inside> inside_;
};

}  // namespace koi
