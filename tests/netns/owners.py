#!/usr/bin/python3
"""Who answers for an address: each node is asked by itself, so that two who answer at once are seen.

    owners = client.owners("10.77.0.100", [left, right])      asks from now on
    …
    owners.end()
    owners.intervals["left"]     [(since, until), …] in which it answered, seconds of the monotonic clock
    owners.doubly                for how many seconds two answered at once
    owners.longest_dark          the longest time in which nobody answered a ping

A client that asks its cache of neighbours hears one owner only. Here a frame goes to the MAC of each node: a request for the
MAC of the address (ARP, or a neighbour solicitation) and a ping, each at every beat. Who answers is told by the MAC the answer
comes from. The asker has a MAC and addresses of its own, of which its host's kernel knows nothing: what it hears changes no
cache of the client's.

Answers bear the kernel's time of arrival. A node has surely answered from the arrival of the first of several answers in a row
to the sending of the last question answered; two stretches of that kind that overlap are two owners, however busy the machine.

    owners.py INTERFACE NUMBER ADDRESS EVERY_MS NAME=MAC…     the program behind it: asks until SIGTERM, prints what it saw
"""

import json
import os
import select
import signal
import socket
import struct
import sys
import time
from pathlib import Path

from adverts import (ALL_PACKETS, ARP, IPV4, IPV6, PACKET_IGNORE_OUTGOING, SOL_PACKET, arrival, checksum, clocks_apart,
                     stamp_arrivals)
from processes import Process

SO_RCVBUFFORCE = 33
ICMP, ICMPV6 = 1, 58
NEIGHBOUR, PING = "neighbour", "ping"  # the two kinds of questions


# ---- The asker, a program on the client's host -----------------------------------------------------------------------------

class Asker:
    def __init__(self, interface, number, address, every, nodes):
        self.mac = bytes((2, 0, 0, 0x77, 1, number))
        self.every, self.going = every, True
        self.version = 6 if ":" in address else 4
        self.family = socket.AF_INET6 if self.version == 6 else socket.AF_INET
        self.target = socket.inet_pton(self.family, address)
        self.own = socket.inet_pton(self.family, f"fd77::1:{number:x}" if self.version == 6 else f"10.77.0.{150 + number}")
        self.names = {mac: name for name, mac in nodes.items()}
        self.seen = {name: {NEIGHBOUR: [], PING: []} for name in nodes}  # [sent, answered or null], in order
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
        self.socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
        stamp_arrivals(self.socket)
        self.socket.bind((interface, ALL_PACKETS))

    def run(self):
        signal.signal(signal.SIGTERM, self.stop)
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        print("asking", file=sys.stderr, flush=True)
        following = time.monotonic()
        while self.going:
            now = time.monotonic()
            if now >= following:
                self.ask()
                following = max(following + self.every, now + self.every / 2)
            if poll.poll(max(0, 1000 * (following - time.monotonic()))):
                self.hear()
        until = time.monotonic() + 0.05
        while time.monotonic() < until:  # what is still under way
            poll.poll(10)
            self.hear()
        print(json.dumps(self.seen))

    def stop(self, *_):
        self.going = False

    # Asking

    def ask(self):
        for mac, name in self.names.items():
            for kind, make in ((NEIGHBOUR, self.who_has), (PING, self.echo)):
                several = self.seen[name][kind]
                frame = make(mac, len(several) & 0xFFFF)
                several.append([time.monotonic(), None])
                self.socket.send(frame)

    def frame(self, to, protocol, packet):
        return to + self.mac + struct.pack("!H", protocol) + packet

    def who_has(self, mac, _):
        if self.version == 4:
            return self.frame(mac, ARP, struct.pack("!HHBBH", 1, IPV4, 6, 4, 1) + self.mac + self.own + bytes(6) + self.target)
        group = bytes.fromhex("ff0200000000000000000001ff") + self.target[13:]
        return self.icmp_6(mac, group, struct.pack("!BBHI", 135, 0, 0, 0) + self.target + b"\1\1" + self.mac)

    def echo(self, mac, sequence):
        body = struct.pack("!BBHHH", 128 if self.version == 6 else 8, 0, 0, os.getpid() & 0xFFFF, sequence)
        if self.version == 6:
            return self.icmp_6(mac, self.target, body)
        body = body[:2] + struct.pack("!H", checksum(body)) + body[4:]
        head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(body), 0, 0x4000, 64, ICMP, 0, self.own, self.target)
        head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
        return self.frame(mac, IPV4, head + body)

    def icmp_6(self, mac, to, body):
        total = checksum(self.own + to + struct.pack("!II", len(body), ICMPV6) + body)
        body = body[:2] + struct.pack("!H", total) + body[4:]
        return self.frame(mac, IPV6, struct.pack("!IHBB", 6 << 28, len(body), ICMPV6, 255) + self.own + to + body)

    # Hearing

    def hear(self):
        offset = clocks_apart()
        while True:
            try:
                frame, notes, _, _ = self.socket.recvmsg(256, 64)
            except BlockingIOError:
                return
            arrived = arrival(notes, offset)
            protocol, packet = struct.unpack_from("!H", frame, 12)[0], frame[14:]
            if protocol == ARP and self.version == 4:
                self.hear_arp(frame, packet, arrived)
            elif protocol == IPV4 and self.version == 4 and packet[9] == ICMP and packet[16:20] == self.own:
                self.hear_echo(frame, packet[12:16], packet[(packet[0] & 15) * 4:], 0, arrived)
            elif protocol == IPV6 and self.version == 6 and packet[6] == ICMPV6:
                self.hear_icmp_6(frame, packet, arrived)

    def hear_arp(self, frame, packet, arrived):
        what, sender, target = packet[7], packet[14:18], packet[24:28]
        if what == 1 and target == self.own:  # a node wants to answer our ping
            self.socket.send(self.frame(frame[6:12], ARP, struct.pack("!HHBBH", 1, IPV4, 6, 4, 2) + self.mac + self.own
                                        + packet[8:18]))
        elif what == 2 and frame[:6] == self.mac and sender == self.target:
            self.note(frame, NEIGHBOUR, None, arrived)

    def hear_icmp_6(self, frame, packet, arrived):
        source, body = packet[8:24], packet[40:]
        if body[0] == 135 and body[8:24] == self.own:
            self.socket.send(self.icmp_6(frame[6:12], source, struct.pack("!BBHI", 136, 0, 0, 0x60000000) + self.own
                                         + b"\2\1" + self.mac))
        elif body[0] == 136 and frame[:6] == self.mac and body[8:24] == self.target:
            self.note(frame, NEIGHBOUR, None, arrived)
        elif packet[24:40] == self.own:
            self.hear_echo(frame, source, body, 129, arrived)

    def hear_echo(self, frame, source, body, kind, arrived):
        if body[0] == kind and source == self.target:
            identity, sequence = struct.unpack_from("!HH", body, 4)
            if identity == os.getpid() & 0xFFFF:
                self.note(frame, PING, sequence, arrived)

    def note(self, frame, kind, sequence, arrived):
        """The answer to the question of that number, or to the last one asked before it arrived."""
        name = self.names.get(frame[6:12])
        if name is None:
            return
        for question in range(len(self.seen[name][kind]) - 1, -1, -1):
            probe = self.seen[name][kind][question]
            if sequence == question & 0xFFFF or sequence is None and probe[0] <= arrived + 1e-4:
                probe[1] = probe[1] or max(probe[0], arrived)
                return
            if probe[0] < arrived - 5:
                return


# ---- What a story sees -----------------------------------------------------------------------------------------------------

class Owners(Process):
    def __init__(self, host, address, nodes, every_ms):
        self.address, self.nodes, self.seen = address, [node.name for node in nodes], None
        self.answers_file = host.new_file("owners", ".json")
        with open(self.answers_file, "wb") as answers:
            super().__init__(host, ["/usr/bin/python3", "-B", Path(__file__), "eth0", host.number, address, every_ms,
                                    *(f"{node.name}={node.mac()}" for node in nodes)], "owners", stdout=answers)
        self.wait_for_text("asking")

    def end(self, timeout=15):
        """Stops asking. Returns itself."""
        if self.seen is None:
            self.stop(timeout)
            self.seen = json.loads(self.answers_file.read_text())
            self.intervals = {name: united(stretch for several in self.seen[name].values() for stretch in in_a_row(several))
                              for name in self.nodes}
            for name in self.nodes:
                self.host.say(f"{name} answered for {self.address} " + (", ".join(
                    f"from {self.lab.relative(since):.3f} to {self.lab.relative(until):.3f}"
                    for since, until in self.intervals[name]) or "never"))
            self.host.say(f"both at once for {1000 * self.doubly:.0f} ms, nobody for {1000 * self.longest_dark:.0f} ms; "
                          f"longest time without a question {1000 * self.longest_pause:.0f} ms")
        return self

    @property
    def doubly(self):
        """Seconds in which at least two answered."""
        return self.doubly_between(float("-inf"), float("inf"))

    def doubly_between(self, since, until):
        return sum(max(0.0, min(until, to) - max(since, start)) for start, to in self.overlaps)

    @property
    def overlaps(self):
        """[(since, until), …] in which at least two answered."""
        found = []
        for n, name in enumerate(self.nodes):
            for other in self.nodes[n + 1:]:
                found += [(max(a, c), min(b, d)) for a, b in self.intervals[name] for c, d in self.intervals[other]
                          if max(a, c) < min(b, d)]
        return united(found)

    def last_answer(self, node, before=float("inf")):
        """When a node answered for the last time, in any way; None if never."""
        return max((answered for several in self.seen[node.name].values() for _, answered in several
                    if answered is not None and answered < before), default=None)

    def first_answer(self, node, after=float("-inf")):
        return min((answered for several in self.seen[node.name].values() for _, answered in several
                    if answered is not None and answered > after), default=None)

    @property
    def longest_dark(self):
        """Seconds in which no node answered a ping, from one answer to the next; from and to the ends of the asking."""
        return self.dark_between(float("-inf"), float("inf"))

    def dark_between(self, since, until):
        beats = list(zip(*(kinds[PING] for kinds in self.seen.values())))
        in_vain = [beat[0][0] for beat in beats if not any(answered for _, answered in beat)]  # or it was only not asked
        marks = sorted([max(since, beats[0][0][0]), min(until, beats[-1][0][0])]
                       + [answered for beat in beats for _, answered in beat if answered and since < answered < until])
        return max((b - a for a, b in zip(marks, marks[1:]) if any(a <= sent <= b for sent in in_vain)), default=0.0)

    @property
    def longest_pause(self):
        """Seconds between two questions. Much more than the beat: the machine was too busy to look closely."""
        sent = [one for one, _ in self.seen[self.nodes[0]][PING]]
        return max((b - a for a, b in zip(sent, sent[1:])), default=0.0)


def in_a_row(probes):
    """Stretches of questions answered one after the other: from the first answer to the last question. One answer
    between two failures lasts as long as it took."""
    found, row = [], []
    for probe in [*probes, (0, None)]:
        if probe[1] is not None:
            row.append(probe)
        elif row:
            first, last = row[0], row[-1]
            found.append((first[1], last[0]) if last[0] > first[1] else (first[0], last[1]))
            row = []
    return found


def united(stretches):
    found = []
    for since, until in sorted(stretches):
        if found and since <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], until))
        else:
            found.append((since, until))
    return found


def main():
    if len(sys.argv) < 6:
        sys.exit(__doc__)
    interface, number, address, every_ms = sys.argv[1:5]
    nodes = {name: bytes.fromhex(mac.replace(":", "")) for name, mac in (word.split("=") for word in sys.argv[5:])}
    Asker(interface, int(number), address, float(every_ms) / 1000, nodes).run()


if __name__ == "__main__":
    main()
