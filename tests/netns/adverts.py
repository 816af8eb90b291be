"""CARP, its trailer and VRRP by hand: what a stranger may say on the wire, and an ear for what is said.

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
PRESENCE = 0xF2  # the first byte of a backup's word to its master
GROUP = {4: "224.0.0.18", 6: "ff02::12"}
GROUP_MAC = {4: bytes.fromhex("01005e000012"), 6: bytes.fromhex("333300000012")}
SOL_PACKET, PACKET_IGNORE_OUTGOING = 263, 23
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


def edited(payload, counter=None, **members):
    """An advert with other members (first, vhid, advskew, …) and a right checksum; the digest and what follows stay."""
    body = bytearray(payload[:36])
    for name, value in members.items():
        body[{"first": 0, "vhid": 1, "advskew": 2, "demotion": 4, "advbase": 5}[name]] = value
    body[8:16] = body[8:16] if counter is None else struct.pack("!Q", counter)
    body[6:8] = bytes(2)
    struct.pack_into("!H", body, 6, checksum(bytes(body)))
    return bytes(body) + payload[36:]


# ---- The trailer KOIA, version 2 (carp/trailer.h) ----------------------------------------------------------------------------

TRAILER = struct.Struct("!4sBBBBHHQQHHI")  # what stands before the tag
FLAGS = {"leaving": 1, "clock": 2, "asks": 4, "ready": 8, "go": 16}


def as_v6(address):
    return socket.inet_pton(socket.AF_INET6, address if ":" in address else f"::ffff:{address}")


def tag(key, signed, source, destination=None):
    """HMAC-SHA-256 over the way and everything before the tag."""
    version = 6 if ":" in source else 4
    way = bytes([version, 0, 0, 0]) + as_v6(source) + as_v6(destination or GROUP[version])
    return hmac.new(key.encode(), b"koi-carp-auth-v1" + way + signed, hashlib.sha256).digest()


def with_trailer(advert, key, source, key_id=1, flags=(), interval_ms=0, session=1, sender=1, configuration=0, healthy=0,
                 backends=0, to=0, tag_is=None):
    """An advert of 36 bytes and its trailer, signed for the way from this source to the group."""
    bits = sum(FLAGS[flag] for flag in flags)
    head = TRAILER.pack(b"KOIA", 2, 1, key_id, bits, interval_ms, session, sender, configuration, healthy, backends, to)
    body = head + (tag_is or tag(key, advert + head, source))
    return advert + body + struct.pack("!HH", checksum(body), 0)


def trailer_in(payload):
    """The trailer's members, unchecked; None if there is none."""
    if len(payload) != 36 + TRAILER.size + 36 or payload[36:40] != b"KOIA":
        return None
    _, version, algorithm, key_id, bits, interval_ms, session, sender, *_ = TRAILER.unpack_from(payload, 36)
    return {"version": version, "algorithm": algorithm, "key_id": key_id, "interval_ms": interval_ms, "session": session,
            "sender": sender, "flags": {name for name, bit in FLAGS.items() if bits & bit}}


def is_genuine(payload, key, source):
    """Whether the trailer's tag and sum are right."""
    signed = 36 + TRAILER.size
    return trailer_in(payload) is not None and checksum(payload[36:]) == 0 and \
        hmac.compare_digest(payload[signed:signed + 32], tag(key, payload[:signed], source))


# ---- On the wire -------------------------------------------------------------------------------------------------------------

def frame(payload, source, mac=bytes.fromhex("00005e000133"), hops=255):
    """The whole frame that carries an advert to its group, as from anybody."""
    version = 6 if ":" in source else 4
    if version == 6:
        head = struct.pack("!IHBB", 6 << 28, len(payload), PROTOCOL, hops) + as_v6(source) + as_v6(GROUP[6])
    else:
        head = bytearray(struct.pack("!BBHHHBBH4s4s", 0x45, 0x10, 20 + len(payload), 0, 0x4000, hops, PROTOCOL, 0,
                                     socket.inet_aton(source), socket.inet_aton(GROUP[4])))
        struct.pack_into("!H", head, 10, checksum(bytes(head)))
    return GROUP_MAC[version] + mac + struct.pack("!H", IPV6 if version == 6 else IPV4) + bytes(head) + payload


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
            self.frames.send(frame(payload, source, self.frames.getsockname()[4], hops))
            return
        self.v6.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, hops)
        self.v6.sendto(payload, (GROUP[6], 0, 0, self.index))

    def say_as(self, payload, source):
        """Over the family of the source, which may be anybody's."""
        self.frames.send(frame(payload, source))


class Ear:
    """Hears what a host's front wire carries of elections and neighbours.

    heard: a list of (when, kind, source, what), when in seconds of the monotonic clock, as it arrived:
        "advert"     source: an address     what: {"vhid", "advbase", "advskew", "demotion", "payload"}
        "vrrp"       source: an address     what: {"vhid", "priority"}, of version 3
        "announced"  source: an address     what: the MAC it is said to be at now (ARP or neighbour advertisement)
    """

    def __init__(self, host, interface="eth0"):
        self.lab, self.heard = host.lab, []
        with host.inside():
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.htons(ALL_PACKETS))
            self.socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)  # or what is said here would take the room
            self.socket.bind((interface, ALL_PACKETS))
        stamp_arrivals(self.socket)
        self.lab.listen(self.socket, self.listen)

    def listen(self):
        offset = clocks_apart()
        while True:
            try:
                frame, notes, *_ = self.socket.recvmsg(2048, 64)
            except OSError:
                return
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
    return "advert", source, {"vhid": payload[1], "advskew": payload[2], "demotion": payload[4], "advbase": payload[5],
                              "payload": payload}
