#!/usr/bin/python3
"""The main job of Koi, shown: two directors, one address, three web servers, and a client that asks and asks.

    ./dev demo          finds a kernel that has ip_vs and runs this file there

Every step says what was done and what the client saw. Ends with a table; exit code 0 only if every step held.
"""

import contextlib
import os
import shutil
import signal
import sys
import textwrap
import time
import traceback
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))

import nodes
from lab import Lab
from processes import Failed

VIP = "10.77.0.100"
COLUMNS = 100
SKEW = {"lb1": 0, "lb2": 5}
FAST_SKEW = {"lb1": 5, "lb2": 10}
DARK, DARK_IN_A_HURRY = 3.2, 0.25  # seconds that are allowed
EVERY_MS, PATIENCE_MS = 10, 200  # of the client
AT_A_SWITCH_MS = PATIENCE_MS
GO_PATIENCE = 0.015  # seconds; rule 14 of carp/machine.h
if os.environ.get("KOI_GUEST") == "qemu":  # its processor is emulated, ten to twenty times slower
    DARK_IN_A_HURRY = 0.75
    EVERY_MS, PATIENCE_MS = 50, 800
    AT_A_SWITCH_MS = 2500  # to agree may take it longer than the 15 ms there are: a SYN is said again after a second

PICTURE = f"""\
  client 10.77.0.1     asks http://{VIP}/ again and again
         │
  ───────┴─┬─────────────────┬────────────────┬────────────┬────────────┬───────  one network
           │                 │                │            │            │
    lb1 10.77.0.11    lb2 10.77.0.12         red         green        blue        web servers
    koid, advskew 0   koid, advskew 5    10.77.0.21   10.77.0.22   10.77.0.23
           └────────┬────────┘
              {VIP}      One of the two holds this address: the master. Its IPVS hands every
                               connection to a web server, which answers the client directly (dr)."""


class Step:
    """One thing that is shown. `name`, `seen`, `figure` and `held` make its row in the table."""

    def __init__(self, number, title, name):
        self.number, self.title, self.name = number, title, name
        self.seen, self.figure, self.held = "", "", False


class Demo:
    def __init__(self, lab):
        self.lab, self.steps = lab, []
        self.backends = {}
        self.listed = {}  # backend name → weight, as the operator's file has it
        self.scheduler = {"scheduler": "wrr"}

    # Telling

    def tell(self, word, text):
        when = time.monotonic() - self.lab.began
        rows = textwrap.wrap(text, COLUMNS - 19)
        print(f"  {when:6.2f} s  {word:<5} {rows[0]}", flush=True)
        for row in rows[1:]:
            print(" " * 17 + row, flush=True)
        self.lab.say(f"{word}: {text}", "demo")

    def did(self, text):
        self.tell("did", text)

    def saw(self, text):
        self.tell("saw", text)

    def why(self, text):
        self.tell("why", text)

    @contextlib.contextmanager
    def step(self, title, name):
        step = Step(len(self.steps) + 1, title, name)
        self.steps.append(step)
        print(f"\n{step.number}  {title}\n", flush=True)
        try:
            yield step
            step.held = True
        except Failed as problem:
            step.seen = str(problem)
            raise

    def holds(self, condition, otherwise):
        if not condition:
            raise Failed(otherwise)

    # The machines

    def configuration(self, name, fast=False):
        return {"carp": {"interface": "eth0", "advbase": 0 if fast else 1, "advskew": (FAST_SKEW if fast else SKEW)[name],
                         "auth": "require", "auth_keys": {1: "{dir}/auth.key"}},
                "vips": [{"vhid": 51, "addresses": [VIP + "/24"]}],
                "services": [{"name": "web", "at": VIP + ":80/tcp", "pool": "web", **self.scheduler, "forward": "dr"}],
                "pools": {"web": {"source": {"file": str(self.file)}, "drain": "60s"}}}

    def build(self):
        lab = self.lab
        self.file = lab.folder / "web.backends"  # of both: two machines with one configuration should say so
        self.client = lab.host("client", number=1)
        self.directors = [lab.host(name, number=number) for name, number in (("lb1", 11), ("lb2", 12))]
        self.lb1, self.lb2 = self.directors
        for number, name in enumerate(("red", "green", "blue"), 21):
            self.backends[name] = host = lab.host(name, number=number)
            host.accept_direct(VIP)
            lab.backend(host, name, f"tcp:{VIP}:80")

    def start_koid(self, director, fast=False):
        """What the operator does on each director: a configuration, and koid."""
        director.sysctl("net.ipv4.vs.expire_nodest_conn", 1)
        director.sysctl("net.ipv4.vs.sloppy_tcp", 1)
        return self.lab.koid(director, self.configuration(director.name, fast))

    def reload(self, director, fast=False):
        director.koid.write_config(self.configuration(director.name, fast))
        director.koid.koi("reload")

    def boot_lb1(self):
        """lb1 after a power cut; it takes the address back as soon as it may."""
        self.lb1.power_on()
        shutil.rmtree(self.lb1.koid.folder / "run")  # which a machine that boots finds empty
        self.start_koid(self.lb1).wait_ready()
        self.lab.wait_until(lambda: self.lab.master(VIP) == "lb1", 10, "lb1 takes the address back")

    def list_text(self):
        return "".join(f"{self.backends[name].address()}:80 {weight}\n" for name, weight in self.listed.items())

    def list_backends(self, **weights):
        """The file of both directors, replaced in one step. Returns when that began."""
        self.listed, began = weights, time.monotonic()
        beside = self.file.with_suffix(".new")
        beside.write_text(self.list_text())
        beside.rename(self.file)
        return began

    def weights(self, director):
        """What stands in the kernel, by backend name: {"red": 1}."""
        names = {host.address(): name for name, host in self.backends.items()}
        service = nodes.status(director, "services")["services"][0]
        return {names[one["backend"].rsplit(":", 1)[0]]: one["observed_weight"] for one in service["backends"]
                if one["observed_weight"] is not None}

    def watch(self, timeout_ms=PATIENCE_MS):
        return self.client.watch(VIP, 80, every_ms=EVERY_MS, timeout_ms=timeout_ms)

    def show_status(self, director):
        text = director.koid.koi("status").stdout.rstrip()
        print(f"\n{director.name}# koi status\n{text}", flush=True)


def share(counts):
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items(), key=lambda item: -item[1]))


def figures(counts):
    return " : ".join(str(count) for count in sorted(counts.values(), reverse=True))


def ms(seconds):
    return f"{seconds * 1000:.0f} ms"


def lost(watch):
    return f"{watch.failures} of {watch.probes} requests lost"


def nothing_lost(demo, watch, since, when):
    """A machine that keeps even a loop that only sleeps waiting for longer than a master waits for its successor loses what
    Koi would not, and that is said."""
    late = demo.lab.bare_loop.longest(since)
    if watch.failures and late > GO_PATIENCE:
        demo.saw(f"not counted: a loop that only sleeps was late by {ms(late)} meanwhile, and a master waits {ms(GO_PATIENCE)} for "
                 "its successor: this machine is too busy to show a switch without a loss; run the demo again")
        return
    demo.holds(watch.failures == 0, f"{lost(watch)} {when}")


# ---- The steps, in the order in which they are shown -----------------------------------------------------------------------


def election(demo):
    with demo.step("Two machines elect who holds the address", "election and VIP") as step:
        demo.list_backends(red=1, green=1)
        for director in demo.directors:
            demo.start_koid(director)
        ready = max(director.koid.wait_ready() for director in demo.directors)
        demo.did(f"koid started on lb1 and lb2 (advbase 1: an advert a second, signed); both ready after {ms(ready)}")
        demo.why("who starts listens for three adverts first, so that it never takes an address that somebody holds")
        demo.lab.wait_until(lambda: demo.lab.master(VIP) != "nobody", 10, "somebody holds the address")
        took = time.monotonic() - demo.lb1.koid.began
        demo.holds(demo.lab.master(VIP) == "lb1", f"{demo.lab.master(VIP)} holds {VIP}, not lb1")
        step.seen, step.figure = f"lb1 leads and holds {VIP}, lb2 stands by", f"after {took:.1f} s"
        demo.saw(f"lb1 has the smaller advskew: it leads and holds {VIP}, {took:.1f} s after its start")
        demo.lab.run_for(0.1)  # until the address is in lb1's own report
        for director in demo.directors:
            demo.show_status(director)


def traffic(demo):
    with demo.step("IPVS spreads live HTTP traffic over the web servers", "IPVS, HTTP traffic") as step:
        answers = demo.client.ask(VIP, 80, 100)
        demo.did(f"the client asked http://{VIP}/ 100 times, each time with a new connection")
        demo.saw(f"answers: {share(answers)}")
        step.seen, step.figure = "red and green have equal weights", figures(answers)
        demo.holds(answers == {"red": 50, "green": 50}, f"the shares are not equal: {dict(answers)}")


def backend_added(demo):
    with demo.step("A web server is added: one more line in a file", "backend added") as step:
        watch = demo.watch()
        demo.lab.run_for(0.4)
        began = demo.list_backends(red=1, green=1, blue=1)
        demo.did(f"echo '{demo.backends['blue'].address()}:80 1' >> web.backends")
        demo.lab.run_for(0.6)
        watch.end()
        first = next((sent for sent, _, name in watch.seen if name == "blue"), None)
        demo.holds(first is not None, "blue was never asked")
        step.seen, step.figure = f"blue serves; {lost(watch)}", f"after {ms(first - began)}"
        demo.saw(f"blue is asked {ms(first - began)} later; {lost(watch)} meanwhile")
        demo.holds(watch.failures == 0, f"{lost(watch)} while a backend was added")


def backend_weighted(demo):
    with demo.step("A web server gets three times the weight", "backend re-weighted") as step:
        demo.list_backends(red=3, green=1, blue=1)
        demo.did(f"sed -i 's/^{demo.backends['red'].address()}:80 1/{demo.backends['red'].address()}:80 3/' web.backends")
        demo.lab.wait_until(lambda: demo.weights(demo.lb1).get("red") == 3, 5, "red has weight 3")
        answers = demo.client.ask(VIP, 80, 100)
        demo.saw(f"of 100 connections: {share(answers)}")
        step.seen, step.figure = "shares follow the weights 3 : 1 : 1", figures(answers)
        demo.holds(abs(answers["red"] - 60) <= 2 and abs(answers["green"] - 20) <= 2 and sum(answers.values()) == 100
                   and set(answers) == {"red", "green", "blue"}, f"that is not 3 : 1 : 1: {dict(answers)}")


def backend_removed(demo):
    with demo.step("A web server is removed while somebody is connected to it", "backend removed") as step:
        line = long_connection(demo, "green")
        demo.did("a client opened a connection to green and keeps it open")
        watch = demo.watch()
        demo.lab.run_for(0.2)
        demo.list_backends(red=3, blue=1)
        demo.did(f"sed -i '/^{demo.backends['green'].address()}:80/d' web.backends")
        demo.lab.wait_until(lambda: demo.weights(demo.lb1).get("green") == 0, 5, "green takes no new connection")
        since = time.monotonic()
        demo.lab.run_for(0.4)
        watch.end()
        late = sum(1 for sent, _, name in watch.seen if name == "green" and sent > since)
        demo.saw(f"green has weight 0 and {late} new connections; its old one is still answered: "
                 f"\"{line.ask('still there?')}\"")
        demo.holds(late == 0, f"green got {late} new connections after its removal")
        demo.holds(line.ask("hello") == "green hello", "the old connection to green is broken")
        line.close()
        took = demo.lab.wait_until(lambda: "green" not in demo.weights(demo.lb1), 15, "green leaves the table", every=0.2)
        demo.saw(f"the old connection ended, and {took:.1f} s later green has left the table; {lost(watch)}")
        step.seen, step.figure = f"its old connection finished; {lost(watch)}", f"{late} new"
        demo.holds(watch.failures == 0, f"{lost(watch)} while a backend was removed")


def long_connection(demo, name):
    for _ in range(12):
        line = demo.client.connect(VIP, 80)
        if line.ask("hello") == f"{name} hello":
            return line
        line.close()
    raise Failed(f"twelve connections and none went to {name}")


def power_cut(demo):
    with demo.step("The power of lb1 is cut", "power of lb1 cut") as step:
        dark = cut_power_of_lb1(demo)
        step.seen, step.figure = f"lb2 holds {VIP} and serves", f"dark {dark:.2f} s"
        demo.saw(f"lb2 missed three adverts, made the virtual server, took {VIP}, told the neighbours, and serves")
        demo.saw(f"dark for {dark:.2f} s, from the client's last answer to its next (at most {DARK} s are allowed)")
        demo.holds(dark <= DARK, f"dark for {dark:.2f} s, more than {DARK} s")


def cut_power_of_lb1(demo):
    watch = demo.watch()
    demo.lab.run_for(0.5)
    demo.lb1.kill_power()
    demo.did("lb1's wire is dead and every program on it ended, without a word to anybody")
    demo.lab.wait_until(lambda: demo.lab.master(VIP) == "lb2", 10, "lb2 takes over")
    demo.lab.run_for(0.4)
    watch.end()
    demo.holds(watch.seen[-1][2] is not None, "lb2 holds the address but the client gets no answers")
    return watch.longest_dark


def old_one_back(demo):
    with demo.step("lb1 is repaired and comes back, and nobody notices", "lb1 back") as step:
        demo.scheduler = {"scheduler": "mh", "scheduler_flags": ["mh-port", "mh-fallback"]}
        demo.reload(demo.lb2)
        demo.did("scheduler: mh in both files, and koi reload on lb2")
        demo.why("mh computes the web server from the client's address and port, so both machines choose the same one, and "
                 "a request that is under way may change its machine (net.ipv4.vs.sloppy_tcp=1)")
        watch, since = demo.watch(AT_A_SWITCH_MS), time.monotonic()
        demo.boot_lb1()
        demo.did("lb1 booted and started koid")
        demo.lab.run_for(0.4)
        watch.end()
        step.seen, step.figure = "lb1 leads again, by agreement", f"{watch.failures} of {watch.probes} lost"
        demo.saw(f"lb1 has the better claim: it made its table, lb2 handed over; {lost(watch)}")
        nothing_lost(demo, watch, since, "at the return of lb1")


def in_a_hurry(demo):
    with demo.step("The same pair in a hurry: adverts every 20 ms, and another power cut", "power cut, advbase 0") as step:
        for director in demo.directors:
            demo.reload(director, fast=True)
        demo.did(f"koi reload on both, with advbase 0 and advskew {FAST_SKEW['lb1']} on lb1, {FAST_SKEW['lb2']} on lb2")
        demo.lab.run_for(0.5)
        demo.holds(demo.lab.master(VIP) == "lb1", f"after the reload {demo.lab.master(VIP)} holds the address")
        dark = cut_power_of_lb1(demo)
        step.seen, step.figure = f"lb2 holds {VIP} and serves", f"dark {ms(dark)}"
        demo.saw(f"lb2 serves; dark for {ms(dark)} (at most {ms(DARK_IN_A_HURRY)} are allowed)")
        demo.holds(dark <= DARK_IN_A_HURRY, f"dark for {ms(dark)}, more than {ms(DARK_IN_A_HURRY)}")


def planned_switch(demo):
    with demo.step("A planned switch, there and back: no request is lost", "planned switch") as step:
        demo.reload(demo.lb2)
        demo.boot_lb1()
        demo.did("lb1 booted once more, and leads; an advert a second again")
        demo.lab.wait_until(lambda: any(one["standby"] for one in nodes.status(demo.lb1, "peers").get("peers", [])), 5,
                            "lb1 hears that lb2 stands by")
        watch, since = demo.watch(AT_A_SWITCH_MS), time.monotonic()
        demo.lab.run_for(0.4)
        for told, leader in (("step-down", "lb2"), ("step-up", "lb1")):
            demo.lb1.koid.koi(told, "51")
            demo.did(f"koi {told} 51 on lb1")
            demo.lab.wait_until(lambda leader=leader: demo.lab.master(VIP) == leader, 5, f"{leader} holds the address")
            demo.saw(f"{leader} leads and holds {VIP}")
            demo.lab.run_for(0.8)
        watch.end()
        step.seen, step.figure = "lb2 led meanwhile, lb1 leads again", f"{watch.failures} of {watch.probes} lost"
        demo.saw(f"{lost(watch)}: each waited for the other's word before it let go, or took over")
        nothing_lost(demo, watch, since, "at a planned switch and return")


STEPS = (election, traffic, backend_added, backend_weighted, backend_removed, power_cut, old_one_back, in_a_hurry, planned_switch)


# ---- Around them -----------------------------------------------------------------------------------------------------------


def kernel_sentence():
    release = os.uname().release
    guest = os.environ.get("KOI_GUEST")
    if not guest:
        return f"Linux {release}, the running kernel: it has ip_vs"
    name = {"uml": "User Mode Linux", "qemu": "qemu"}.get(guest, guest)
    because = os.environ.get("KOI_GUEST_BECAUSE", "").removeprefix("native: ")
    return f"Linux {release} as a guest in {name}" + (f", because {because}" if because else "")


def summary(demo):
    def row(number, name, seen, figure, verdict):
        print(f"{number:>2}  {name:<20} {seen:<50.50} {figure:<13} {verdict}".rstrip())
    print("\n" + "─" * COLUMNS)
    row("", "step", "what was seen", "figure", "")
    for step in demo.steps:
        row(step.number, step.name, step.seen, step.figure, "held" if step.held else "fell short")
    print("─" * COLUMNS)


def run(demo):
    """All steps; the first that falls short ends it."""
    try:
        demo.build()
        for step in STEPS:
            step(demo)
        return True
    except Failed as problem:
        demo.tell("fell", f"short: {problem}")
    except Exception:
        demo.lab.note(["", traceback.format_exc()])
        demo.tell("fell", "short: something unforeseen happened; see the end")
    demo.lab.remember_logs()
    return False


def main():
    began = time.monotonic()
    print("Koi in a laboratory: two directors, one address, three web servers\n")
    print("\n".join(textwrap.wrap("Kernel: " + kernel_sentence(), COLUMNS)) + "\n")
    print(PICTURE, flush=True)
    with Lab() as lab:
        demo = Demo(lab)
        held = run(demo)
        summary(demo)
        if not held:
            print("\nWhat happened, in full:\n\n" + lab.transcript() + "\n")
    print(f"{'Every step held' if held else 'Koi fell short'}, in {time.monotonic() - began:.0f} s.", flush=True)
    return 0 if held else 1


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8", errors="replace")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
