"""A laboratory of network namespaces: hosts on one wire, with the words of the simulated lab.

    def story_the_backup_takes_over(lab):
        "When the master's power is cut, the backup answers for the address."
        left, right = lab.host("left"), lab.host("right")
        …
        left.kill_power()
        lab.wait_until(lambda: lab.master("10.77.0.100") == "right", 5, "right holds the address")

Each host is a network namespace with eth0 on the front wire (10.77.0.x/24, fd77::x/64) and, if asked,
eth1 on the back wire (10.78.0.x/24, fd78::x/64). The wires are bridges in a namespace of their own.
Every namespace is called kl<process id>-<name>; leaving the lab, by whatever way, removes all of them, and entering one
removes what killed runs left. Arrivals and departures of addresses are written into the transcript by themselves.
"""

import contextlib
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from host import WIRES, Host
from namespaces import bare, ip_batch, remove_namespaces, sweep
from processes import Failed, Koid
from slips import BareLoop


def story(needs=(), timeout=60, quiet=False):
    """Says what a story needs: "ip_vs", "nftables", "koid", "own_clock", or the name of a program. `quiet`: with a processor to itself."""
    def mark(function):
        function.needs, function.timeout, function.quiet = set(needs), timeout, quiet
        return function
    return mark


class Lab:
    def __init__(self, verbose=False, out=sys.stdout, folder=None):
        self.prefix = f"kl{os.getpid()}"
        self.wire_namespace = f"{self.prefix}-wires"
        self.folder = folder or Path(f"/tmp/{self.prefix}")
        self.verbose, self.out = verbose, out
        self.hosts, self.lines = {}, []
        self.address_changes = []  # (monotonic seconds, host name, "+" or "-", address)
        self.began = time.monotonic()
        self._lock = threading.Lock()
        self.bare_loop = None

    # Its life

    def __enter__(self):
        self._old_handler = None
        if threading.current_thread() is threading.main_thread():
            self._old_handler = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        self.sweep()
        self.bare_loop = BareLoop()  # before there are threads
        try:
            self.folder.mkdir(mode=0o755)
            self.folder.chmod(0o755)
            self._ears, self._callbacks = selectors.DefaultSelector(), {}
            self._wake, wake_end = socket.socketpair()
            self._ears.register(wake_end, selectors.EVENT_READ, lambda: wake_end.recv(64))
            self._listener = threading.Thread(target=self._listen_for_ever, daemon=True)
            self._open = True
            self._listener.start()
            ip_batch([f"netns add {self.wire_namespace}"])
            ip_batch([line for wire in WIRES for line in
                      (f"link add {wire} type bridge mcast_snooping 0 stp_state 0", f"link set {wire} up")],
                     self.wire_namespace)
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(self, kind, value, trace):
        for host in self.hosts.values():
            for process in host.processes:
                process.popen.poll()
        self._open = False
        if self.bare_loop:
            self.bare_loop.end()
        with contextlib.suppress(OSError):
            self._wake.send(b"x")
        remove_namespaces([host.namespace for host in self.hosts.values()] + [self.wire_namespace])
        for host in self.hosts.values():
            for process in host.processes:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.popen.wait(5)
        if not os.environ.get("KOI_LAB_KEEP"):
            if kind is not None:
                self.remember_logs()
            self.remove_folder()
        if self._old_handler is not None:
            signal.signal(signal.SIGTERM, self._old_handler)

    def sweep(self):
        """Removes what killed runs left behind."""
        sweep()

    def remove_folder(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    def listen(self, ear, callback):
        """Calls back, on the lab's own thread, when there is something to read."""
        self._ears.register(ear, selectors.EVENT_READ, callback)
        self._wake.send(b"x")

    def forget(self, ear):
        self._ears.unregister(ear)

    def _listen_for_ever(self):
        while self._open:
            for key, _ in self._ears.select(0.5):
                try:
                    key.data()
                except Exception as problem:  # the thread that listens must outlive any one message
                    self.say(f"(the lab misheard: {problem!r})")

    # What was said

    def relative(self, instant):
        return instant - self.began

    def say(self, text, who=""):
        """One line of the transcript."""
        self.note([f"{self.relative(time.monotonic()):8.3f}  {who:<8} {text}"])

    def note(self, lines):
        """Lines as they are, without a time."""
        with self._lock:
            self.lines += lines
            if self.verbose:
                print("\n".join(lines), file=self.out, flush=True)

    def transcript(self):
        with self._lock:
            return "\n".join(self.lines)

    def remember_logs(self, length=60):
        """Appends the ends of all logs to the transcript; done by itself when a story fails."""
        for host in self.hosts.values():
            for process in host.processes:
                with contextlib.suppress(OSError):
                    text = process.text().splitlines()
                    some = f", the last {length} of {len(text)} lines" if len(text) > length else ""
                    self.note([f"\n--- {host.name}: {process.name} (exit {process.popen.poll()}){some}", *text[-length:]])

    # Its parts

    def host(self, name, number=None, wires=("front",), addresses=None, gateway=None, forward=False):
        """A new machine.

        number     the x in 10.77.0.x and fd77::x (1–99); the next free one by default
        wires      "front" (eth0), "back" (eth1), or both
        addresses  instead of those two, on the first wire
        gateway    one or several default gateways, e.g. ("10.78.0.254", "fd78::fe")
        forward    it passes packets on (a director that does NAT)
        """
        number = number or 1 + max((host.number for host in self.hosts.values()), default=0)
        wires = (wires,) if isinstance(wires, str) else tuple(wires)
        own = {wire: [pattern.format(number) for pattern in WIRES[wire][1:]] for wire in wires}
        if addresses is not None:
            own[wires[0]] = list(addresses)
        gateways = () if gateway is None else (gateway,) if isinstance(gateway, str) else tuple(gateway)
        host = self.hosts[name] = Host(self, name, number, wires, own, gateways, forward)
        return host

    def koid(self, host, config, key="koi-lab", **more):
        """Starts koid. `config`: a dict, or YAML text in which {dir} and {key_file} are replaced."""
        host.koid = Koid(host, config, key, **more)
        return host.koid

    def node(self, name, vips=("10.77.0.100/24",), vhid=51, advbase=1, advskew=0, preempt=True, config=None, key="koi-lab",
             **host_options):
        """A machine with koid on it, as the simulated lab has them. `config` is merged over what the arguments say."""
        host = self.host(name, **host_options)
        told = {"carp": {"interface": "eth0", "advbase": advbase, "advskew": advskew, "preempt": preempt},
                "vips": [{"vhid": vhid, "addresses": list(vips)}]}
        for part, value in (config or {}).items():
            told[part] = {**told[part], **value} if isinstance(value, dict) and part in told else value
        self.koid(host, told, key)
        return host

    def ucarp(self, host, address, vhid=51, password="koi-lab", advbase=1, advskew=0, preempt=False, withdraw=True,
              interface="eth0", prefix=24, more=()):
        """Starts ucarp. `withdraw`: it runs its down script when it ends (its own option for that is --shutdown)."""
        scripts = {}
        for word, action in (("up", "add"), ("down", "del")):
            scripts[word] = host.new_file(f"ucarp-{word}", ".sh")
            scripts[word].write_text(f"#!/bin/sh\nexec ip addr {action} \"$2/{prefix}\" dev \"$1\"\n")
            scripts[word].chmod(0o755)
        host.say(f"ucarp started, advbase {advbase} advskew {advskew}" + (", preempts" if preempt else ""))
        return host.start(["ucarp", f"--interface={interface}", f"--srcip={host.address()}", f"--vhid={vhid}",
                           f"--pass={password}", f"--addr={bare(address)}", f"--advbase={advbase}", f"--advskew={advskew}",
                           f"--upscript={scripts['up']}", f"--downscript={scripts['down']}",
                           *(["--preempt"] if preempt else []), *(["--shutdown"] if withdraw else []), *more])

    def backend(self, host, name, *places):
        """Starts a server that says its name. Places: "tcp:10.78.0.11:80", "udp:[fd78::b]:53", or
        ("tcp", 80) for every own address of the host."""
        spelled = []
        for place in places or (("tcp", 80),):
            if isinstance(place, str):
                spelled.append(place)
                continue
            protocol, port = place
            spelled += [f"{protocol}:[{bare(one)}]:{port}" for wire in host._wires for one in host._own[wire]]
        server = host.start(["/usr/bin/python3", Path(__file__).with_name("backend.py"), name, *spelled], name=f"backend-{name}")
        server.wait_for_text("listens at")
        host.say(f"backend {name} listens")
        return server

    # What happens

    def unplug(self, host):
        host.unplug()

    def plug_back(self, host):
        host.plug_back()

    def run_for(self, seconds):
        """Lets time pass."""
        time.sleep(seconds)

    def wait_until(self, predicate, timeout, what, every=0.02):
        """Waits until the predicate holds; returns after how many seconds it did. Otherwise the story has failed."""
        began = time.monotonic()
        while True:
            if predicate():
                return time.monotonic() - began
            if time.monotonic() - began > timeout:
                self.say(f"waited {timeout} s in vain: {what}")
                raise Failed(f"not within {timeout} s: {what}")
            time.sleep(every)

    def check(self, condition, what):
        """Notes what holds; ends the story where it does not."""
        self.say(("✓ " if condition else "✗ ") + what)
        if not condition:
            raise Failed(f"does not hold: {what}")

    def check_soon(self, seconds, limit, what, since=None):
        """That something took no longer than a limit below a second. What a bare loop beside the story (slips.py) was late
        itself, since that instant or in the whole story, is the machine's, and not counted."""
        slip = self.bare_loop.longest(self.began if since is None else since)
        excused = f"; a bare loop was late by {1000 * slip:.0f} ms itself" if seconds > limit else ""
        self.check(seconds <= limit + (slip if seconds > limit else 0),
                   f"{what} ({1000 * seconds:.0f} ms, limit {1000 * limit:.0f} ms{excused})")

    def master(self, address):
        """Who holds an address: "left", "left and right", "nobody"."""
        return " and ".join(name for name, host in self.hosts.items() if host.holds(address)) or "nobody"

    def away(self, host, address):
        """For how many seconds the address was last away from the host, as the kernel told it; None if it never was."""
        gone = back = None
        for when, name, word, what in list(self.address_changes):
            if (name, what) == (host.name, bare(address)):
                if word == "-":
                    gone, back = when, None
                elif gone is not None and back is None:
                    back = when
        return back - gone if gone is not None and back is not None else None
