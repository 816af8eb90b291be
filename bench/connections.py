#!/usr/bin/python3
"""Koi beside keepalived, with ip_vs: short connections while the address changes hands by plan, there and back.

    tests/netns/engine/run -- bench/connections.py [--switches N] [--every MS] [--pause S] [--only NAME,NAME] [--case NAME]...

A client opens connections to a virtual server, one request each, over IPv4 and IPv6 at a steady beat, and notes of each when
its SYN left and how it ended. It also hears when the neighbours are told of another owner: that is the instant of a switch,
for each family. A connection whose SYN left within 20 ms of one, before or after, lies across: nothing carries what is open
through one director to the other, so those are counted apart. All others have to be answered.
Cases: dr-cold, dr-warm, nat-cold, nat-warm: how it is forwarded, and whether the standby has its table already; dr-mh: cold,
with a scheduler by which both directors choose the same server, so that nothing is lost across either. keepalived knows no
cold. The gateway of nat's backends is a second address of the same vhid. --switches: how many, every second one a
return (100). --every: a connection of each family so often (20). --pause: seconds from one switch to the next (2). Root, and
a kernel with ip_vs; programs from build/ or KOI_BUILD. A guest on a busy machine measures the machine: put chrt --rr 2 before.
"""

import argparse
import ctypes
import os
import signal
import socket
import struct
import sys
import threading
import time
from collections import Counter

import common  # finds the lab, too
from adverts import arrival, clocks_apart, stamp_arrivals
from common import present, print_table, verdict
from lab import Lab
from nodes import VIP, VIP_6, status
from processes import Failed

ACROSS = 0.02  # seconds before and after a switch
PATIENCE_MS = 3000
LATE = 0.8  # an answer after that came to a SYN or a request that had to be said again
FAMILIES = {4: (VIP, "10.77.0.99", "10.77.0.{}"), 6: (VIP_6, "fd77::63", "fd77::{:x}")}
BACKENDS = {"red": 21, "green": 22, "blue": 23}
HEAD = ["", "outside", "refused", "reset", "timeout", "late", "else",
        "", "across", "refused", "reset", "timeout", "late", "else", "koi's limit"]
CASES = ("dr-cold", "dr-warm", "nat-cold", "nat-warm", "dr-mh")


# ---- When an address changed hands, and who sent a reset, as the client's wire tells -----------------------------------------

def listened_for():
    """A packet filter: ARP, ICMPv6 and resets pass. Each line names the next ones by their labels."""
    byte, half, header, indexed, equal, any_of, end = 0x30, 0x28, 0xB1, 0x50, 0x15, 0x45, 0x06
    lines = [("", half, 12), ("", equal, 0x0806, "yes", ""), ("", equal, 0x86DD, "six", ""), ("", equal, 0x0800, "", "no"),
             ("", byte, 23), ("", equal, 6, "", "no"), ("", header, 14), ("", indexed, 14 + 13), ("", any_of, 4, "yes", "no"),
             ("six", byte, 14 + 6), ("", equal, 58, "yes", ""), ("", equal, 6, "", "no"), ("", byte, 14 + 40 + 13),
             ("", any_of, 4, "yes", "no"), ("no", end, 0), ("yes", end, 0xFFFF)]
    labels = {line[0]: number for number, line in enumerate(lines)}
    program = b""
    for number, (_, code, value, *ways) in enumerate(lines):
        program += struct.pack("HBBI", code, *(labels[way] - number - 1 if way else 0 for way in ways or ("", "")), value)
    return program


class Witness:
    """`owner` by family: the MAC announced last. `changes`: when it became another one. `resets`: from where, by port."""

    def __init__(self, host):
        self.owner, self.changes, self.resets = {}, {4: [], 6: []}, {}
        program = ctypes.create_string_buffer(listened_for())
        with host.inside():
            self.ear = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            self.ear.setsockopt(socket.SOL_SOCKET, 26, struct.pack("HL", len(program) // 8, ctypes.addressof(program)))
            stamp_arrivals(self.ear)
            self.ear.bind(("eth0", 3))
        self.offset = clocks_apart()
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        while True:
            try:
                frame, notes, _, _ = self.ear.recvmsg(2048, 256)
            except OSError:  # its host is gone
                return
            when, sender, kind, packet = arrival(notes, self.offset), frame[6:12].hex(":"), frame[12:14], frame[14:]
            if kind == b"\x08\x06" and packet[14:18] == packet[24:28] == socket.inet_aton(VIP):
                self.announced(4, sender, when)
            elif kind == b"\x86\xdd" and packet[6] == 58:
                if packet[40] == 136 and packet[48:64] == socket.inet_pton(socket.AF_INET6, VIP_6):
                    self.announced(6, sender, when)
            else:
                segment = packet[40:] if kind == b"\x86\xdd" else packet[(packet[0] & 15) * 4:]
                if segment:
                    self.resets[(4 if kind == b"\x08\x00" else 6, int.from_bytes(segment[2:4], "big"))] = when, sender

    def announced(self, family, mac, when):
        if self.owner.get(family) not in (None, mac):
            self.changes[family].append(when)
        self.owner[family] = mac


# ---- The contenders ---------------------------------------------------------------------------------------------------------

class Koi(common.SignedKoi):
    """Nodes that sign; koi step-down and step-up."""
    cases = CASES

    @staticmethod
    def start(scene, host, preferred):
        forward, standby = scene.case.split("-")
        scheduler = {"scheduler": "wrr"}
        if standby == "mh":
            standby, scheduler = "cold", {"scheduler": "mh", "scheduler_flags": ["mh-port", "mh-fallback"]}
        servers = {f"v{v}": {"source": {"static": [spelled(one, 80) for one in scene.servers(v)]}} for v in FAMILIES}
        return scene.lab.koid(host, {
            "carp": {"interface": "eth0", "advskew": 0 if preferred else 50, "auth": "require",
                     "auth_keys": {1: "{dir}/auth.key"}},
            "vips": [{"vhid": 51, "addresses": scene.addresses()}], "standby": standby, "pools": servers,
            "services": [{"name": f"web{v}", "at": spelled(vip, 80) + "/tcp", "pool": f"v{v}", "forward": forward,
                          **scheduler} for v, (vip, *_) in FAMILIES.items()]})

    @staticmethod
    def settle(scene):
        """Who is stepped down does not stand by, so that only the left one can wait for it."""
        scene.lab.wait_until(lambda: any(peer["standby"] for peer in status(scene.left, "peers").get("peers", [])), 15,
                             "left hears that somebody stands by", every=0.1)

    @staticmethod
    def switch(scene, back):
        if not back:
            Koi.settle(scene)
        scene.left.koid.koi("step-up" if back else "step-down", "51")


class Keepalived(common.Keepalived):
    """Another priority, and a reload."""
    cases = ("dr-warm", "nat-warm")

    @staticmethod
    def text(scene, name, priority):
        vip, *others = scene.addresses()
        servers = "".join(
            f"virtual_server {vip} 80 {{\n  lb_algo wrr\n  lb_kind {scene.case.split('-')[0].upper()}\n  protocol TCP\n"
            + "".join(f"  real_server {one} 80 {{\n    weight 1\n  }}\n" for one in scene.servers(v)) + "}\n"
            for v, (vip, *_) in FAMILIES.items())
        # The first address alone makes the adverts, of one family; the others go along.
        more = "virtual_ipaddress_excluded {{\n    " + "\n    ".join(others) + "\n  }}\n}}\n{services}"
        return common.KEEPALIVED.replace("}}\n{services}", more).format(
            name=name, state="MASTER" if priority > 100 else "BACKUP", priority=priority, interval=1, vip=VIP, services=servers)

    @classmethod
    def start(cls, scene, host, preferred):
        settings = host.new_file("keepalived", ".conf")
        settings.write_text(cls.text(scene, host.name, 150 if preferred else 100))
        pids = [f"{settings}.{what}" for what in ("pid", "vrrp", "checkers")]
        return host.start(["keepalived", "-n", "-l", "-f", settings, "-p", pids[0], "-r", pids[1], "-c", pids[2]])

    @staticmethod
    def settle(scene):
        pass

    @classmethod
    def switch(cls, scene, back):
        program = scene.programs["left"]
        settings = next(word for word in program.popen.args if word.endswith(".conf"))
        with open(settings, "w", encoding="utf-8") as file:
            file.write(cls.text(scene, "left", 150 if back else 50))
        program.signal(signal.SIGHUP)


CONTENDERS = {"koi": Koi, "keepalived": Keepalived}


def spelled(address, port):
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def goes_first(process):
    """Client and servers are machines of their own, and do not wait for a processor until the directors are done."""
    os.sched_setscheduler(process.pid, os.SCHED_RR, os.sched_param(1))
    return process


class Scene:
    """Two directors, three web servers and a client on one network. The left director is preferred, and leads."""

    def __init__(self, lab, contender, case):
        self.lab, self.contender, self.case = lab, contender, case
        self.nat = case.startswith("nat")
        self.client = lab.host("client", number=1)
        self.client.sysctl("net.ipv4.ip_local_port_range", "1025 65000")  # no port is used twice
        self.left, self.right = self.directors = [lab.host(name, number=n, forward=self.nat)
                                                  for name, n in (("left", 11), ("right", 12))]
        for name, number in BACKENDS.items():
            host = lab.host(name, number=number)
            if self.nat:
                self.answer_by_the_gateway(host)
            else:
                host.accept_direct(*(vip for vip, *_ in FAMILIES.values()))
            goes_first(lab.backend(host, name, *(() if self.nat else (f"tcp:{spelled(vip, 80)}" for vip, *_ in FAMILIES.values()))))
        self.witness = Witness(self.client)
        self.programs = {}
        for director in self.directors:
            director.sysctl("net.ipv4.vs.expire_nodest_conn", 1)
            director.sysctl("net.ipv4.vs.sloppy_tcp", int(case == "dr-mh"))
            for scope in ("all", "eth0"):
                director.sysctl(f"net.ipv4.conf.{scope}.send_redirects", 0)
            self.programs[director.name] = contender.start(self, director, director is self.left)
            self.wait_for(self.left)

    def answer_by_the_gateway(self, host):
        """The client is on the same network, and must not be answered around the director."""
        for v, (_, gateway, pattern) in FAMILIES.items():
            for scope in ("all", "eth0"):
                host.sysctl(f"net.ipv{v}.conf.{scope}.accept_redirects", 0)
            host.run(["ip", f"-{v}", "route", "add", f"{pattern.format(1)}/{32 if v == 4 else 128}", "via", gateway])

    def addresses(self):
        """Of the vhid, with the VIP of IPv4 first."""
        return [f"{one}/{24 if v == 4 else 64}" for v, (vip, gateway, _) in FAMILIES.items()
                for one in ((vip, gateway) if self.nat else (vip,))]

    def servers(self, family):
        return [FAMILIES[family][2].format(number) for number in BACKENDS.values()]

    def wait_for(self, director):
        self.lab.wait_until(lambda: all(self.witness.owner.get(v) == director.mac() for v in FAMILIES), 20,
                            f"{director.name} has told the neighbours of its addresses")


# ---- What happens, and what is seen -----------------------------------------------------------------------------------------

def live(scene, switches, every, pause):
    """Returns (what the connections outside came to, those across, sentences about failures outside)."""
    lab, contender = scene.lab, scene.contender
    contender.settle(scene)
    for vip, *_ in FAMILIES.values():
        scene.client.ask(vip, 80, 5)
    watches = {v: goes_first(scene.client.watch(vip, 80, every_ms=every, timeout_ms=PATIENCE_MS))
               for v, (vip, *_) in FAMILIES.items()}
    lab.run_for(0.5)
    for number in range(switches):
        back = number % 2 == 1
        began = time.monotonic()
        contender.switch(scene, back)
        scene.wait_for(scene.left if back else scene.right)
        lab.run_for(max(0.3, pause - (time.monotonic() - began)))
    lab.run_for(1)
    outside, across, stories = Counter(), Counter(), []
    names = {host.mac(): name for name, host in lab.hosts.items()}
    for v, watch in watches.items():
        watch.end()
        instants = scene.witness.changes[v]
        if len(instants) != switches:
            stories.append(f"IPv{v}: {switches} switches were asked for, and {len(instants)} seen")
        reasons = {sent: (reason, port) for sent, reason, port in watch.failed}
        for sent, ended, answer in watch.seen:
            reason, port = reasons[sent] if answer is None else ("late" if ended - sent > LATE else "answered", 0)
            apart = min((sent - one for one in instants), key=abs)
            (across if abs(apart) <= ACROSS else outside)[reason] += 1
            if reason != "answered":
                when, mac = scene.witness.resets.get((v, port), (0, None))
                blame = f", by {names.get(mac, mac)} {1000 * (when - sent):.1f} ms later" if mac else ""
                stories.append(f"IPv{v}: SYN {1000 * apart:+.1f} ms from a switch: {reason} after "
                               f"{1000 * (ended - sent):.1f} ms{blame}")
    return outside, across, stories


def row(name, case, found):
    outside, across, _ = found
    bad = ("refused", "reset", "timeout", "late")

    def words(counts):
        others = sum(counts.values()) - counts["answered"] - sum(counts[reason] for reason in bad)
        return [str(sum(counts.values())), *(str(counts[reason]) for reason in bad), str(others)]
    holds = not outside["refused"] and not outside["reset"]
    return [f"{name}, {case}", *words(outside), "", *words(across), verdict(holds, "0 refused, 0 reset") if name == "koi" else ""]


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--switches", type=int, default=100)
    parser.add_argument("--every", type=float, default=20)
    parser.add_argument("--pause", type=float, default=2)
    parser.add_argument("--only", default=",".join(CONTENDERS))
    parser.add_argument("--case", action="append", choices=CASES)
    told = parser.parse_args()
    if os.geteuid() != 0 or not os.path.exists("/proc/net/ip_vs"):
        sys.exit("bench/connections.py needs root and a kernel with ip_vs: tests/netns/engine/run -- bench/connections.py")
    names, good, table = present(told.only, CONTENDERS), bool(told.only), []
    for name in names:
        for case in [one for one in CONTENDERS[name].cases if one in (told.case or CASES)]:
            print(f"{name}, {case}: {told.switches} switches", flush=True)
            with Lab(out=sys.stderr) as lab:
                try:
                    found = live(Scene(lab, CONTENDERS[name], case), told.switches, told.every, told.pause)
                except Failed as problem:
                    lab.remember_logs()
                    print(f"{problem}\n{lab.transcript()[-6000:]}", flush=True)
                    good = False
                    continue
            for sentence in found[2][:20]:
                print("  " + sentence, flush=True)
            table.append(row(name, case, found))
            print_table(HEAD, table[-1:])
            good &= name != "koi" or not (found[0]["refused"] or found[0]["reset"])
    print()
    print_table(HEAD, table)
    return 0 if names and good else 1


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8", errors="replace")
    sys.exit(main())
