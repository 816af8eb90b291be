#!/usr/bin/python3
"""A backend for stories: says its name to everybody who asks.

    backend.py NAME PROTOCOL:ADDRESS:PORT...        e.g.  backend.py red tcp:10.78.0.11:80 udp:[fd78::11]:53

tcp, sctp  A request that begins with GET or HEAD gets an HTTP/1.0 answer with the name, and the
           connection ends. Any other line is answered with "NAME LINE" and the connection stays.
udp        Each datagram is answered with "NAME DATAGRAM".

One process, one epoll, as few system calls as possible: in a slow guest they are what costs.
Prints one line when it listens, and at the end (SIGTERM) how much it served.
"""

import select
import signal
import socket
import sys

SCTP = 132


def parse(place):
    protocol, rest = place.split(":", 1)
    address, port = rest.rsplit(":", 1)
    return protocol, address.strip("[]"), int(port)


def listen(protocol, address, port):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    kind = socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM
    number = {"tcp": 0, "udp": 0, "sctp": SCTP}[protocol]
    ear = socket.socket(family, kind | socket.SOCK_NONBLOCK, number)
    ear.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        ear.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    ear.bind((address, port))
    if kind == socket.SOCK_STREAM:
        ear.listen(1024)
    return ear


class Backend:
    def __init__(self, name, places):
        self.name = name.encode()
        self.page = (b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n"
                     b"Content-Length: %d\r\n\r\n%s\n" % (len(self.name) + 1, self.name))
        self.poll = select.epoll()
        self.listeners, self.datagrams, self.lines = {}, {}, {}
        self.pages = self.answers = 0
        for protocol, address, port in places:
            ear = listen(protocol, address, port)
            (self.datagrams if protocol == "udp" else self.listeners)[ear.fileno()] = ear
            self.poll.register(ear.fileno(), select.EPOLLIN)

    def serve_for_ever(self):
        while True:
            for number, _ in self.poll.poll():
                if number in self.listeners:
                    self.greet(self.listeners[number])
                elif number in self.datagrams:
                    self.reply(self.datagrams[number])
                elif number in self.lines:
                    self.listen_to(number, self.lines[number])

    def greet(self, ear):
        for _ in range(64):
            try:
                line, _ = ear.accept()
            except OSError:
                return
            line.setblocking(False)
            self.lines[line.fileno()] = line
            # Most requests are already there: answered without ever asking epoll.
            if not self.listen_to(line.fileno(), line):
                self.poll.register(line.fileno(), select.EPOLLIN)

    def listen_to(self, number, line):
        """Returns True when the connection has ended."""
        try:
            request = line.recv(4096)
            if request.startswith((b"GET ", b"HEAD ")):
                self.pages += 1
                line.send(self.page)
            elif request:
                self.answers += 1
                line.send(b"".join(self.name + b" " + text + b"\n" for text in request.splitlines()))
                return False
        except BlockingIOError:
            return False
        except OSError:
            pass
        del self.lines[number]
        line.close()
        return True

    def reply(self, ear):
        for _ in range(64):
            try:
                text, sender = ear.recvfrom(4096)
                ear.sendto(self.name + b" " + text, sender)
                self.answers += 1
            except OSError:
                return

    def say_goodbye(self, *_):
        print(f"{self.name.decode()} served {self.pages} pages and {self.answers} lines, "
              f"{len(self.lines)} connections still open", flush=True)
        sys.exit(0)


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    places = [parse(place) for place in sys.argv[2:]]
    backend = Backend(sys.argv[1], places)
    signal.signal(signal.SIGTERM, backend.say_goodbye)
    print(f"{sys.argv[1]} listens at {' '.join(sys.argv[2:])}", flush=True)
    backend.serve_for_ever()


if __name__ == "__main__":
    main()
