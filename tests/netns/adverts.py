"""CARP and VRRP by hand: what a stranger may say on the wire, and an ear for what is said.

The bytes are made here and not by Koi, so that neither proves the other with its own mistakes.
"""

import hashlib
import hmac
import os
import socket
import struct
import time

from namespaces import bare

PROTOCOL = 112
GROUP = {4: "224.0.0.18", 6: "ff02::12"}
ALL_PACKETS, ARP, IPV4, IPV6 = 0x0003, 0x0806, 0x0800, 0x86DD


def checksum(data):
    """The Internet's sum of 16-bit words."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def seal(password, vhid, addresses, counter):
    """HMAC-SHA-1 over version, type, vhid, the sorted addresses and the counter."""
    raw = [socket.inet_pton(socket.AF_INET6 if ":" in one else socket.AF_INET, bare(one)) for one in addresses]
    message = b"\x02\x01" + bytes([vhid]) + b"".join(sorted(set(raw), key=lambda one: (len(one), one))) + counter
    return hmac.new(password.encode(), message, hashlib.sha1).digest()


def advert(vhid=51, advbase=1, advskew=0, addresses=("10.77.0.100",), password="koi-lab", demotion=0, first=0x21,
           counter=None, sum_is_wrong=False):
    """The 36 bytes."""
    counter = counter or os.urandom(8)
    digest = seal(password, vhid, addresses, counter)
    body = bytearray(struct.pack("!BBBBBBH", first, vhid, advskew, 7, demotion, advbase, 0) + counter + digest)
    struct.pack_into("!H", body, 6, checksum(bytes(body)) ^ (0x5555 if sum_is_wrong else 0))
    return bytes(body)


def vrrp_2(number=51, priority=150, addresses=("10.77.0.100",), interval=1):
    """An advert of VRRP version 2 without authentication (RFC 3768)."""
    body = bytearray(struct.pack("!BBBBBBH", 0x21, number, priority, len(addresses), 0, interval, 0)
                     + b"".join(socket.inet_aton(one) for one in addresses) + bytes(8))
    struct.pack_into("!H", body, 6, checksum(bytes(body)))
    return bytes(body)


# When the kernel took a packet in, which is earlier than when a busy machine reads it.
SO_TIMESTAMPNS = 35


def stamp_arrivals(line):
    line.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)


def arrival(notes, offset):
    """The time in what recvmsg() says beside a packet, less what clocks_apart() returned: of the monotonic clock."""
    for level, kind, data in notes:
        if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS):
            seconds, nanoseconds = struct.unpack("=qq", data[:16])
            return seconds + nanoseconds / 1e9 - offset
    return time.monotonic()


def clocks_apart():
    """The clock of arrivals less the monotonic one; measured so that being interrupted in between does not count."""
    best = None
    for _ in range(5):
        before, other, after = time.monotonic(), time.time(), time.monotonic()
        if best is None or after - before < best[0]:
            best = after - before, other - (before + after) / 2
        if best[0] < 5e-6:
            break
    return best[1]


class Mouth:
    """Says anything on the front wire of a host, from any address, with any TTL."""

    def __init__(self, host, interface="eth0"):
        self.host, self.interface = host, interface
        with host.inside():
            self.index = socket.if_nametoindex(interface)
            self.v4 = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)  # we make the IP header
            self.v6 = socket.socket(socket.AF_INET6, socket.SOCK_RAW, PROTOCOL)
            self.frames = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            self.frames.bind((interface, IPV6))
        self.v4.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack("=4s4si", bytes(4), bytes(4), self.index))
        self.v6.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, self.index)

    def say(self, payload, source=None, ttl=255, to=None):
        """Over IPv4."""
        to, source = to or GROUP[4], source or self.host.address()
        header = struct.pack("!BBHHHBBH4s4s", 0x45, 0x10, 20 + len(payload), 0, 0x4000, ttl, PROTOCOL, 0,
                             socket.inet_aton(source), socket.inet_aton(to))
        self.v4.sendto(header + payload, (to, 0))

    def say_v6(self, payload, hops=255, source=None):
        if source:  # somebody else's, which the kernel would not send for us
            head = struct.pack("!IHBB", 6 << 28, len(payload), PROTOCOL, hops)
            addresses = socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, GROUP[6])
            self.frames.send(bytes.fromhex("333300000012") + self.frames.getsockname()[4] + struct.pack("!H", IPV6) + head + addresses + payload)
            return
        self.v6.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, hops)
        self.v6.sendto(payload, (GROUP[6], 0, 0, self.index))


class Ear:
    """Hears what a host's front wire carries of elections and neighbours.

    heard: a list of (when, kind, source, what), when in seconds of the monotonic clock, as it arrived:
        "advert"     source: an address     what: {"vhid", "advbase", "advskew", "demotion"}
        "vrrp"       source: an address     what: {"vhid", "priority"}, of version 3
        "announced"  source: an address     what: the MAC it is said to be at now (ARP or neighbour advertisement)
    """

    def __init__(self, host, interface="eth0"):
        self.lab, self.heard = host.lab, []
        with host.inside():
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.htons(ALL_PACKETS))
            self.socket.bind((interface, ALL_PACKETS))
        stamp_arrivals(self.socket)
        self.lab.listen(self.socket, self.listen)

    def listen(self):
        offset = clocks_apart()
        while True:
            try:
                frame, notes, _, (_, _, direction, _, _) = self.socket.recvmsg(2048, 64)
            except OSError:
                return
            if direction != socket.PACKET_OUTGOING:
                what = understand(frame)
                if what:
                    self.heard.append((arrival(notes, offset), *what))

    def since(self, when, kind="advert", source=None, **like):
        """What was heard after an instant; `like` compares members of an advert."""
        return [one for one in list(self.heard) if one[0] >= when and one[1] == kind and source in (None, one[2])
                and all(one[3][key] == value for key, value in like.items())]

    def wait_for_advert(self, source, timeout=5):
        """Returns right after the next advert of that address."""
        now = time.monotonic()
        self.lab.wait_until(lambda: self.since(now, source=source), timeout, f"an advert of {source}", every=0.001)


def understand(frame):
    kind, packet = struct.unpack_from("!H", frame, 12)[0], frame[14:]
    if kind == ARP and len(packet) >= 28:
        sender, target = packet[14:18], packet[24:28]
        return ("announced", socket.inet_ntoa(sender), packet[8:14].hex(":")) if sender == target else None
    if kind == IPV4 and len(packet) >= 20 and packet[9] == PROTOCOL:
        payload = packet[(packet[0] & 15) * 4:struct.unpack_from("!H", packet, 2)[0]]
        return advert_in(socket.inet_ntoa(packet[12:16]), payload)
    if kind == IPV6 and len(packet) >= 40 and packet[6] == PROTOCOL:
        return advert_in(socket.inet_ntop(socket.AF_INET6, packet[8:24]), packet[40:])
    if kind == IPV6 and len(packet) >= 72 and packet[6] == 58 and packet[40] == 136 and not packet[44] & 0x40:
        return "announced", socket.inet_ntop(socket.AF_INET6, packet[48:64]), packet[66:72].hex(":")  # unsolicited
    return None


def advert_in(source, payload):
    if len(payload) >= 8 and payload[0] == 0x31:
        return "vrrp", source, {"vhid": payload[1], "priority": payload[2]}
    if len(payload) < 36 or payload[0] != 0x21:
        return None
    return "advert", source, {"vhid": payload[1], "advskew": payload[2], "demotion": payload[4], "advbase": payload[5]}
