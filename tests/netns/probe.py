#!/usr/bin/python3
"""A client for stories. One process asks many times; what it saw is printed as JSON at its end.

    probe.py ask   PROTOCOL ADDRESS PORT TIMES SECONDS        asks one after the other, fresh connections
    probe.py watch PROTOCOL ADDRESS PORT EVERY_MS TIMEOUT_MS  asks at a steady beat until SIGTERM

PROTOCOL is tcp, sctp (an HTTP request each time), udp (a datagram), or for watch also ping.
ask prints   {"answers": {"red": 30, "blue": 10, "(refused)": 1}, "seconds": 0.2}
watch prints {"seen": [[sent, ended, answer or null], …], "reasons": {"timeout": 2}, "failed": [[sent, "timeout", port], …]},
seconds of the monotonic clock; port: the client's own, 0 where there is none.
Probes of a watch overlap: a slow answer never delays the next question.
"""

import errno
import json
import os
import select
import signal
import socket
import struct
import sys
import time
from collections import Counter

SCTP = 132
REQUEST = b"GET / HTTP/1.0\r\n\r\n"
BAD_WORDS = {errno.ECONNREFUSED: "(refused)", errno.ECONNRESET: "(reset)", errno.EHOSTUNREACH: "(no route)",
             errno.ENETUNREACH: "(no route)", errno.EPIPE: "(reset)",
             errno.ETIMEDOUT: "(timeout)"}


def family_of(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def open_socket(protocol, address):
    family = family_of(address)
    if protocol == "ping":
        return socket.socket(family, socket.SOCK_RAW, 58 if family == socket.AF_INET6 else 1)
    kind = socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM
    return socket.socket(family, kind, SCTP if protocol == "sctp" else 0)


def name_in(answer):
    """The backend's name: the body of a page, or the first word of a datagram."""
    if answer.startswith(b"HTTP/"):
        answer = answer.partition(b"\r\n\r\n")[2]
    words = answer.split()
    return words[0].decode(errors="replace") if words else ""


def ask_once(protocol, address, port, patience):
    with open_socket(protocol, address) as line:
        line.settimeout(patience)
        try:
            line.connect((address, port))
            line.send(REQUEST if protocol != "udp" else b"?")
            answer = line.recv(4096)
            return name_in(answer) or "(closed)"
        except TimeoutError:
            return "(timeout)"
        except OSError as problem:
            return BAD_WORDS.get(problem.errno, f"({os.strerror(problem.errno or 0)})")


def ask(protocol, address, port, times, seconds):
    began = time.monotonic()
    answers = Counter()
    for done in range(times):
        left = began + seconds - time.monotonic()
        if left <= 0:
            answers["(never asked)"] += times - done
            break
        answers[ask_once(protocol, address, port, min(left, 3.0))] += 1
    print(json.dumps({"answers": answers, "seconds": time.monotonic() - began}))


class Watch:
    """Starts a probe at each beat; each waits for its own answer until its own end."""

    def __init__(self, protocol, address, port, every, patience):
        self.protocol, self.address, self.port = protocol, address, port
        self.every, self.patience = every, patience
        self.poll = select.epoll()
        self.open = {}      # descriptor → (socket, when sent), oldest first
        self.seen = []      # [sent, ended, answer]
        self.reasons = Counter()
        self.failed = []    # [sent, reason, port]
        self.going = True
        self.target = (address, port)
        self.pings = {}     # sequence number → when sent, for the one socket that sends all pings
        self.sequence = 0
        if protocol == "ping":
            self.echo = open_socket("ping", address)
            self.echo.setblocking(False)
            self.poll.register(self.echo.fileno(), select.EPOLLIN)

    def run(self):
        signal.signal(signal.SIGTERM, self.stop)
        print("watching", file=sys.stderr, flush=True)  # whoever started us may go on now
        following = time.monotonic()
        while self.going or self.open or self.pings:
            now = time.monotonic()
            if self.going and now >= following:
                self.send(now)
                following = max(following + self.every, now)
            pause = (following if self.going else now + 0.01) - time.monotonic()
            for number, events in self.poll.poll(max(pause, 0)):
                self.hear(number, events)
            self.give_up(now)  # who was kept from listening has heard by now what had been answered
        self.seen.sort(key=lambda probe: probe[:2])
        print(json.dumps({"seen": self.seen, "reasons": self.reasons, "failed": self.failed}))

    def stop(self, *_):
        self.going = False

    def send(self, now):
        if self.protocol == "ping":
            return self.send_ping(now)
        line = open_socket(self.protocol, self.address)
        line.setblocking(False)
        try:
            line.connect(self.target)
        except BlockingIOError:
            pass
        except OSError as problem:
            self.fail([now, now, None], problem.errno, line)
            line.close()
            return
        self.open[line.fileno()] = (line, now)
        if self.protocol == "udp":
            self.tell(line)
            self.poll.register(line.fileno(), select.EPOLLIN)
        else:
            self.poll.register(line.fileno(), select.EPOLLOUT)

    def send_ping(self, now):
        self.sequence = (self.sequence + 1) & 0xFFFF
        self.pings[self.sequence] = now
        identity = os.getpid() & 0xFFFF
        kind = 128 if family_of(self.address) == socket.AF_INET6 else 8
        packet = struct.pack("!BBHHH", kind, 0, 0, identity, self.sequence)
        if kind == 8:  # the kernel fills in the sum of version 6 only
            total = sum(struct.unpack("!4H", packet))
            total = (total & 0xFFFF) + (total >> 16)
            packet = struct.pack("!BBHHH", kind, 0, ~total & 0xFFFF, identity, self.sequence)
        try:
            self.echo.sendto(packet, (self.address, 0))
        except OSError:
            pass  # an unreachable address is simply an answer that does not come

    def hear_pings(self):
        version_6 = family_of(self.address) == socket.AF_INET6
        while True:
            try:
                packet, sender = self.echo.recvfrom(256)
            except OSError:
                return
            packet = packet if version_6 else packet[(packet[0] & 15) * 4:]
            kind, _, _, identity, sequence = struct.unpack_from("!BBHHH", packet)
            if kind == (129 if version_6 else 0) and identity == os.getpid() & 0xFFFF and sequence in self.pings:
                self.seen.append([self.pings.pop(sequence), time.monotonic(), sender[0]])

    def tell(self, line):
        try:
            line.send(REQUEST if self.protocol != "udp" else b"?")
            return True
        except OSError:
            return False

    def hear(self, number, events):
        if self.protocol == "ping":
            return self.hear_pings()
        if number not in self.open:
            return
        line, sent = self.open[number]
        if events & select.EPOLLOUT and not events & (select.EPOLLERR | select.EPOLLHUP):
            if self.tell(line):
                self.poll.modify(number, select.EPOLLIN)
                return
        answer, reason = None, None
        try:
            answer = name_in(line.recv(4096)) or None
        except BlockingIOError:
            return
        except OSError as problem:
            reason = problem.errno
        self.open.pop(number)
        if answer is None:
            self.fail([sent, time.monotonic(), None], reason, line)
        else:
            self.seen.append([sent, time.monotonic(), answer])
        line.close()

    def fail(self, probe, number, line=None):
        """A probe without answer, and why: an errno, or none when the connection was closed without a word."""
        self.seen.append(probe)
        reason = BAD_WORDS.get(number, os.strerror(number) if number else "closed").strip("()")
        self.reasons[reason] += 1
        self.failed.append([probe[0], reason, line.getsockname()[1] if line else 0])

    def give_up(self, now):
        for number, (line, sent) in list(self.open.items()):
            if now - sent < self.patience:
                break
            del self.open[number]
            self.fail([sent, now, None], errno.ETIMEDOUT, line)
            line.close()
        for sequence, sent in list(self.pings.items()):
            if now - sent < self.patience:
                break
            del self.pings[sequence]
            self.fail([sent, now, None], errno.ETIMEDOUT)


def main():
    if len(sys.argv) != 7 or sys.argv[1] not in ("ask", "watch"):
        sys.exit(__doc__)
    protocol, address, port = sys.argv[2], sys.argv[3], int(sys.argv[4])
    if sys.argv[1] == "ask":
        ask(protocol, address, port, int(sys.argv[5]), float(sys.argv[6]))
    else:
        Watch(protocol, address, port, float(sys.argv[5]) / 1000, float(sys.argv[6]) / 1000).run()


if __name__ == "__main__":
    main()
