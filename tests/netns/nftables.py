"""Whether this kernel makes the tables that Koi silences a dead master with. No program is asked, as Koi asks none."""

import os
import socket
import struct

from namespaces import enter_new

NETFILTER, BATCH_BEGIN, BATCH_END, NEW_TABLE, GET_TABLE = 12, 0x10, 0x11, 10 << 8, 10 << 8 | 1
REQUEST, ACK, CREATE, ERROR = 0x1, 0x4, 0x400, 2
FAMILIES = {"inet": 1, "arp": 3}


def missing_tables():
    """Names of the families a table cannot be made of: tried in a network namespace that is gone afterwards."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        bad = list(FAMILIES)
        try:
            enter_new()
            bad = [name for name in FAMILIES if not can_make(FAMILIES[name])]
        finally:
            os.write(theirs, " ".join(bad).encode())
            os._exit(0)
    os.close(theirs)
    with os.fdopen(ours) as pipe:
        bad = pipe.read().split()
    os.waitpid(child, 0)
    return bad


def message(kind, flags, family, number, resource=0, attributes=b""):
    body = struct.pack("=BB", family, 0) + struct.pack("!H", resource) + attributes
    return struct.pack("=IHHII", 16 + len(body), kind, flags, number, 0) + body


def has_table(family, name):
    """Whether the network namespace we are in has a table of that name."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETFILTER) as link:
        link.settimeout(5)
        link.bind((0, 0))
        link.send(message(GET_TABLE, REQUEST, FAMILIES[family], 1, attributes=called(name)))
        answer = link.recv(4096)
        return struct.unpack_from("=H", answer, 4)[0] == NEW_TABLE


def called(name):
    data = name.encode() + b"\0"
    return (struct.pack("=HH", 4 + len(data), 1) + data).ljust(4 + len(data) + 3 & ~3, b"\0")


def can_make(family):
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETFILTER) as link:
            link.settimeout(5)
            link.bind((0, 0))
            link.send(message(BATCH_BEGIN, REQUEST, 0, 1, resource=10)
                      + message(NEW_TABLE, REQUEST | ACK | CREATE, family, 2, attributes=called("koi-try"))
                      + message(BATCH_END, REQUEST, 0, 3, resource=10))
            answer = link.recv(4096)
            return struct.unpack_from("=H", answer, 4)[0] == ERROR and struct.unpack_from("=i", answer, 16)[0] == 0
    except OSError:
        return False
