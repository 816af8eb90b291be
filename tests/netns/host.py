"""One machine of the lab: a network namespace, what runs in it, and what happens to it."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections import Counter
from pathlib import Path

import addresses
from namespaces import NAMESPACES, bare, inside, ip_batch, links_down, processes_in, remove_namespaces
from owners import Owners
from processes import Failed, Process, Watching

WIRES = {"front": ("eth0", "10.77.0.{}/24", "fd77::{:x}/64"), "back": ("eth1", "10.78.0.{}/24", "fd78::{:x}/64")}


class Host:
    """One machine. Made by lab.host()."""

    def __init__(self, lab, name, number, wires, own, gateways, forward):
        self.lab, self.name, self.number = lab, name, number
        self.namespace = f"{lab.prefix}-{name}"
        self.folder = lab.folder / name
        self.folder.mkdir(mode=0o755)
        self.environment, self.processes, self.files = {}, [], 0
        self.powered = True
        self._known = {one for several in own.values() for one in several}
        self._there = set()  # addresses that came and have not gone
        self._wires, self._own, self._gateways, self._forward = wires, own, gateways, forward
        self._build()

    # Where it lives

    def _build(self):
        plugs, inner = [], ["link set lo up"]
        for wire in self._wires:
            interface, _, _ = WIRES[wire]
            plugs.append(f"link add {self.plug(wire)} netns {self.lab.wire_namespace} type veth "
                         f"peer name {interface} netns {self.namespace} address {self.mac(wire)}")
            inner += [f"addr add {address} dev {interface}" + (" nodad" if ":" in address else "")
                      for address in self._own[wire]]
            inner.append(f"link set {interface} up")
        inner += [f"route add default via {gateway}" for gateway in self._gateways]
        ip_batch([f"netns add {self.namespace}", *plugs])
        self.inode = (NAMESPACES / self.namespace).stat().st_ino
        with self.inside():
            for conf in Path("/proc/sys/net/ipv6/conf").iterdir():
                (conf / "accept_dad").write_text("0")  # an address works at once, and link-local ones too
                (conf / "accept_ra").write_text("0")
            self._ear = addresses.open_watch()
        if self._forward:
            self.sysctl("net.ipv4.ip_forward", 1)
            self.sysctl("net.ipv6.conf.all.forwarding", 1)
        ip_batch(inner, self.namespace)
        ip_batch([f"link set {self.plug(wire)} master {wire} up" for wire in self._wires], self.lab.wire_namespace)
        self.lab.listen(self._ear, self._hear_addresses)

    def plug(self, wire):
        """The bridge's end of a cable, in the wires' namespace."""
        return f"{wire[0]}-{self.number}"

    def mac(self, wire="front"):
        return f"02:00:00:{'77' if wire == 'front' else '78'}:00:{self.number:02x}"

    def inside(self):
        """`with host.inside():` sockets this thread opens and programs it starts are the host's."""
        return inside(self.namespace)

    def new_file(self, stem, suffix):
        self.files += 1
        return self.folder / f"{self.files:02}-{stem}{suffix}"

    def say(self, text):
        self.lab.say(text, self.name)

    # What it does

    def run(self, command, check=True, timeout=30, environment=None, stdin=None):
        """Runs a program to its end (a list, or a string for the shell). Returns stdout, stderr, returncode as text."""
        words = ["/bin/sh", "-c", command] if isinstance(command, str) else [str(word) for word in command]
        with self.inside():
            done = subprocess.run(words, capture_output=True, text=True, errors="replace", timeout=timeout, input=stdin,
                                  cwd=self.folder, env={**os.environ, **self.environment, **(environment or {})})
        if check and done.returncode:
            raise Failed(f"{self.name}: '{' '.join(words)}' ended with {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def start(self, command, name=None, **more):
        """Starts a program and leaves it running."""
        words = ["/bin/sh", "-c", command] if isinstance(command, str) else command
        return Process(self, words, name, **more)

    def sysctl(self, name, value=None):
        """Reads, or writes, one kernel setting of this host (those of the network)."""
        path = Path("/proc/sys") / name.replace(".", "/")
        with self.inside():
            if value is not None:
                path.write_text(str(value))
            return path.read_text().strip()

    def addresses(self, interface=None):
        """All addresses, without prefix lengths; those of one interface if it is named."""
        with self.inside():
            found = addresses.read_all()
        return [bare(address) for name, several in found.items() if interface in (None, name) for address in several]

    def holds(self, address):
        """Whether it answers for an address. One that is kept quietly on lo (accept_direct) does not count."""
        if not self.powered:
            return False
        with self.inside():
            found = addresses.read_all()
        return any(bare(one) == bare(address) for name, several in found.items() if name != "lo" for one in several)

    def address(self, wire="front", version=4):
        """Its own address on a wire."""
        return next(bare(one) for one in self._own[wire] if (":" in one) == (version == 6))

    def _hear_addresses(self):
        while True:
            try:
                data = self._ear.recv(1 << 16)
            except OSError:
                return
            now = time.monotonic()
            for kind, _, address in addresses.messages(data):
                if kind == addresses.DONE:
                    continue
                word = "+" if kind == addresses.NEW_ADDRESS else "-"
                # A lifetime that is renewed looks like an arrival; it is one only if the address was away.
                if word == "+" and address in self._there:
                    continue
                (self._there.add if word == "+" else self._there.discard)(address)
                self.lab.address_changes.append((now, self.name, word, bare(address)))
                if word == "-" or not address.startswith(("fe80:", "127.", "::1/")) and address not in self._known:
                    self.say(f"{word}{address}")

    # What happens to it

    def unplug(self, wire="front"):
        """The cable is pulled: both ends lose the link."""
        self.say("unplugged" if wire == "front" else f"unplugged ({wire})")
        self._set_plug(wire, "down")

    def plug_back(self, wire="front"):
        self.say("plugged back" if wire == "front" else f"plugged back ({wire})")
        self._set_plug(wire, "up")

    def _set_plug(self, wire, state):
        ip_batch([f"link set {self.plug(wire)} {state}"], self.lab.wire_namespace)

    def mute(self, wire="front"):
        """What it sends is lost; it still hears."""
        self.say("mute: what it sends is lost")
        self._set_port(wire, "locked on learning off")  # a locked port lets only known senders in; none is known

    def deafen(self, wire="front"):
        """What is sent to it is lost; it still speaks."""
        self.say("deaf: what is sent to it is lost")
        self._set_port(wire, "flood off mcast_flood off bcast_flood off learning off")

    def cut_off(self, wire="front"):
        """Both directions are lost, and its link stays up: it cannot know."""
        self.say("cut off: nothing reaches it, nothing leaves it")
        self._set_port(wire, "locked on learning off flood off mcast_flood off bcast_flood off")

    def isolate(self, wire="front"):
        """Hosts so isolated do not hear each other; everybody else goes on hearing them."""
        self.say("isolated: hears no other isolated host")
        self._set_port(wire, "isolated on")

    def heal(self, wire="front"):
        """Ends mute(), deafen(), cut_off() and isolate()."""
        self.say("hears and speaks again")
        self._set_port(wire, "isolated off locked off learning on flood on mcast_flood on bcast_flood on")

    def _set_port(self, wire, how):
        """Through the bridge and not through a queueing discipline, because small kernels have no netem."""
        ip_batch([f"link set {self.plug(wire)} type bridge_slave {how} fdb_flush"], self.lab.wire_namespace)

    def kill_power(self):
        """The power is cut: nothing leaves it any more, every program ends without a word."""
        self.say("power cut")
        self._signal_all(signal.SIGSTOP)  # or one would see its link go and say something
        links_down([self.plug(wire) for wire in self._wires], self.lab.wire_namespace)
        self._kill_programs()
        self.powered = False

    def power_on(self):
        """After kill_power(): a freshly booted machine with its own addresses and nothing else."""
        self.lab.forget(self._ear)
        ip_batch([f"link del {self.plug(wire)}" for wire in self._wires], self.lab.wire_namespace)
        remove_namespaces([self.namespace])
        self._build()
        self.powered = True
        self.say("power on")

    def kill_programs(self):
        """Every program ends without a word; the kernel, its addresses and the wire stay."""
        self.say("every program killed")
        self._signal_all(signal.SIGSTOP)  # or one would see another one end and do something about it
        self._kill_programs()

    def _kill_programs(self):
        self._signal_all(signal.SIGKILL)
        for process in self.processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.popen.wait(5)

    def freeze(self):
        """Every program stops where it is; the kernel goes on, as it does for a hung process."""
        self.say("frozen")
        self._signal_all(signal.SIGSTOP)

    def thaw(self):
        self.say("thawed")
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, number):
        for pid in list(processes_in(self.inode)):  # to find them takes time, to signal them does not
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    # As a client

    def ask(self, address, port, n=1, proto="tcp", within=30):
        """Asks n times, each with a fresh connection. Returns a Counter of names; failures look like "(refused)"."""
        done = self.run(["/usr/bin/python3", Path(__file__).with_name("probe.py"), "ask", proto, bare(address), port, n,
                         within], timeout=within + 15)
        answers = Counter(json.loads(done.stdout)["answers"])
        self.say(f"asked {address} port {port}/{proto} {n} times: "
                 + ", ".join(f"{name} {count}" for name, count in sorted(answers.items())))
        return answers

    def watch(self, address, port=0, every_ms=5, proto="tcp", timeout_ms=100):
        """Asks at a steady beat from now until .end(); proto may also be "ping", which needs no server."""
        return Watching(self, proto, bare(address), port, every_ms, timeout_ms)

    def owners(self, address, nodes, every_ms=2):
        """Asks each node by itself, from now until .end(), whether it answers for an address of the front wire."""
        return Owners(self, bare(address), nodes, every_ms)

    def connect(self, address, port, proto="tcp", timeout=5):
        """A long connection to a backend. line.ask("text") returns what came back, or None if it is broken."""
        with self.inside():
            return Line(bare(address), port, proto, timeout)

    # As a backend of forwarding methods that keep the destination address

    def accept_direct(self, *vips):
        """Takes packets for the VIPs (`forward: dr`) without answering ARP or neighbour discovery for them."""
        self.sysctl("net.ipv4.conf.all.arp_ignore", 1)
        self.sysctl("net.ipv4.conf.all.arp_announce", 2)
        self._add_quietly("lo", vips)

    def accept_tunnel(self, *vips):
        """Takes packets for the VIPs out of plain IP-in-IP tunnels (`forward: tun`)."""
        for interface in ("tunl0", "ip6tnl0"):
            self.run(f"modprobe -q {'ipip' if interface == 'tunl0' else 'ip6_tunnel'}", check=False)
            if self.run(f"ip link set {interface} up", check=False).returncode == 0 and interface == "tunl0":
                self.sysctl("net.ipv4.conf.tunl0.rp_filter", 0)
                self.sysctl("net.ipv4.conf.all.rp_filter", 0)
        self._add_quietly("lo", vips)
        self.sysctl("net.ipv4.conf.all.arp_ignore", 1)
        self.sysctl("net.ipv4.conf.all.arp_announce", 2)

    def _add_quietly(self, interface, vips):
        ip_batch([f"addr add {bare(vip)}/{128 if ':' in vip else 32} dev {interface}" + (" nodad" if ":" in vip else "")
                  for vip in vips], self.namespace)


class Line:
    """A connection that stays: to see that those under way are not disturbed."""

    def __init__(self, address, port, proto, timeout):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        kind = socket.SOCK_DGRAM if proto == "udp" else socket.SOCK_STREAM
        self.socket = socket.socket(family, kind, 132 if proto == "sctp" else 0)
        self.socket.settimeout(timeout)
        self.socket.connect((address, port))

    def ask(self, text="hello"):
        """What the backend answered ("red hello"), or None if the connection is gone."""
        try:
            self.socket.send(text.encode() + b"\n")
            return self.socket.recv(4096).decode().strip() or None
        except OSError:
            return None

    def close(self):
        self.socket.close()
