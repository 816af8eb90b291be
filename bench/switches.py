#!/usr/bin/python3
"""Koi beside keepalived and ucarp: what a client notices when the address changes hands, by plan or not.

    bench/switches.py [--runs N] [--beside N] [--jobs N] [--seed N] [--only NAME,NAME] [--case NAME]...

A client asks the address by ping every 2 ms, and each machine is asked by itself (tests/netns/owners.py). Cases:
    stop     the preferred master is told to end; it starts again, and takes over
    switch   the operator moves the role away and back: koi step-down and step-up; another priority and a reload of
             keepalived; SIGUSR2 to ucarp, which knows no way back. And from Koi to a ucarp that stands by
    cut      the master is cut off silently, its link stays up; that heals; its link is lost; and is there again
    split    the two do not hear each other for 10 s, everybody hears both; that heals
    pause    every program of the master is stopped for 10 s (SIGSTOP), and goes on
    parts    kill -9 of Koi's worker alone; of its speaker alone, started again a tenth of a second later, as by systemd
    load     KOI_MINUTES (1) with adverts each 50 ms while two busy loops per core run: nobody may take over
Koi's nodes sign (auth: require). Dark: the longest stretch without an answer. --runs of Koi (50), --beside of the others
(20), --jobs labs at once. Root; needs the programs koid and koi (KOI_BUILD or build/), keepalived and ucarp; what is missing
is left out.
"""

import argparse
import contextlib
import os
import random
import signal
import sys
import time

import common  # finds the lab, too
from adverts import Ear
from common import KEEPALIVED, Keepalived, SignedKoi, Ucarp, in_labs, present, print_table, quantile, spread, verdict
from nodes import VIP, end_outright, mac_in_cache, metric, process_of, role, start_again, status
from processes import BUILD, Busy, Failed

SPLIT = PAUSE = 10.0
PATIENCE = 60.0  # how long a client may believe in the wrong machine; caches of neighbours are asked anew before
IN_A_ROW = 10    # runs in one lab


# ---- The contenders: what an operator does ----------------------------------------------------------------------------------

class Koi(SignedKoi):
    @staticmethod
    def settle(pair):
        def stands_by():
            return any(peer["standby"] for peer in status(pair.left, "peers").get("peers", []))
        pair.lab.wait_until(stands_by, 15, "left hears that somebody stands by")

    @staticmethod
    def step_down(pair):
        pair.left.koid.koi("step-down", "51")

    @staticmethod
    def step_up(pair):
        pair.left.koid.koi("step-up", "51")


class KoiThenUcarp(Koi):
    """A Koi that signs and hears everybody; ucarp stands by."""

    @staticmethod
    def version():
        return Koi.version() and Ucarp.version() and "koid, then ucarp"

    @staticmethod
    def start(lab, host, preferred, interval):
        return SignedKoi.start(lab, host, True, interval, "prefer") if preferred else lab.ucarp(host, VIP, advskew=50)

    @staticmethod
    def settle(pair):
        pair.lab.run_for(3.5)


class Others:
    @staticmethod
    def settle(pair):
        pair.lab.run_for(max(0.5, 3 * pair.interval))


class KeepalivedReloaded(Others, Keepalived):
    @staticmethod
    def prioritize(pair, priority):
        settings = next(word for word in pair.programs["left"].popen.args if word.endswith(".conf"))
        with open(settings, "w", encoding="utf-8") as file:
            file.write(KEEPALIVED.format(name="left", state="MASTER", priority=priority, interval=pair.interval, vip=VIP,
                                         services=""))
        pair.programs["left"].signal(signal.SIGHUP)

    @classmethod
    def step_down(cls, pair):
        cls.prioritize(pair, 50)

    @classmethod
    def step_up(cls, pair):
        cls.prioritize(pair, 150)


class UcarpDemoted(Others, Ucarp):
    @staticmethod
    def step_down(pair):
        pair.programs["left"].signal(signal.SIGUSR2)

    step_up = None


CONTENDERS = {"koi": Koi, "keepalived": KeepalivedReloaded, "ucarp": UcarpDemoted, "koi > ucarp": KoiThenUcarp}
USUAL = {"koi": (1.0, 0.1), "keepalived": (1.0, 0.1), "ucarp": (1.0,)}
CASES = {"stop": USUAL, "switch": {**USUAL, "koi > ucarp": (1.0,)},
         "cut": {"koi": (0.05,), "keepalived": (0.05,), "ucarp": (1.0,)},
         "split": USUAL, "pause": USUAL, "parts": {"koi": (1.0, 0.1)}, "load": {"koi": (0.05,), "keepalived": (0.05,)}}


# ---- What happens, and what is seen -----------------------------------------------------------------------------------------

class Pair(common.Pair):
    """Every case leaves it as it was: the left one leads, the right one stands by."""

    def __init__(self, lab, contender, interval):
        super().__init__(lab, contender, interval)
        contender.settle(self)
        self.times = {}

    @contextlib.contextmanager
    def watched(self, found):
        """What is struck meanwhile is watched; afterwards `found` has (failed, dark, twice) of each event."""
        watch = self.client.watch(VIP, proto="ping", every_ms=2, timeout_ms=200)
        owners = self.client.owners(VIP, [self.left, self.right])
        self.times = {}
        self.lab.run_for(0.2)
        yield
        watch.end()
        self.answered = owners.end().intervals
        for event, (since, until) in self.times.items():
            found.setdefault(event, []).append((*watch.between(since, until), owners.doubly_between(since, until)))
        found.setdefault("blind", []).append(owners.longest_pause)

    def strike(self, event, deed, done, timeout=20, for_another=0.3):
        """Any phase of the advert timer is as likely as any other."""
        self.lab.run_for(random.uniform(0.05, 0.05 + max(self.interval, 0.1)))
        self.lab.say(f"--- {event}")
        since = time.monotonic()
        deed()
        self.lab.wait_until(done, timeout, f"{event} is over")
        self.lab.run_for(for_another)
        self.times[event] = since, time.monotonic()

    def leads(self, name):
        return lambda: self.lab.master(VIP) == name

    def found_by_client(self):
        """One leads, and the client believes in it."""
        leader = self.lab.hosts.get(self.lab.master(VIP))
        if leader is None or mac_in_cache(self.client) == leader.mac():
            return leader is not None
        self.lab.run_for(0.1)
        return False

    def case_stop(self, found):
        with self.watched(found):
            self.strike("stop", lambda: self.programs["left"].signal(signal.SIGTERM), self.leads("right"))
            self.programs["left"].wait()
            self.strike("return", lambda: self.start(self.left), self.leads("left"))

    def case_switch(self, found):
        with self.watched(found):
            if self.contender.step_up:
                self.strike("switch", lambda: self.contender.step_down(self), self.leads("right"))
                self.strike("switch back", lambda: self.contender.step_up(self), self.leads("left"))
                return
            self.strike("switch", lambda: self.contender.step_down(self), lambda: self.lab.master(VIP) == "nobody")
            self.lab.wait_until(lambda: self.lab.master(VIP) in ("left", "right"), 20, "somebody leads")
            self.lab.run_for(0.3)
            self.times["switch"] = self.times["switch"][0], time.monotonic()
            found.setdefault("came back", []).append(self.lab.master(VIP) == "left")
        if self.lab.master(VIP) == "right":
            self.renew()

    def case_cut(self, found):
        with self.watched(found):
            self.strike("cut off", self.left.cut_off, lambda: self.right.holds(VIP))
            self.lab.run_for(1)
            self.strike("cut heals", self.left.heal, self.found_by_client, PATIENCE, 1)
        if not self.leads("left")():
            self.renew()
        self.contender.settle(self)
        with self.watched(found):
            self.strike("link lost", self.left.unplug, lambda: self.right.holds(VIP))
            self.lab.run_for(1)
            self.strike("link back", self.left.plug_back, lambda: self.leads("left")() and self.found_by_client(), PATIENCE, 1)

    def case_split(self, found):
        with self.watched(found):
            self.strike("split", lambda: [host.isolate() for host in (self.left, self.right)], lambda: self.right.holds(VIP))
            self.lab.run_for(SPLIT - (time.monotonic() - self.times["split"][0]))
            self.times["split"] = self.times["split"][0], time.monotonic()
            if mac_in_cache(self.client) != self.right.mac():  # it heard the other one last
                found.setdefault("right at once", []).append(True)
                self.client.run(["ip", "neigh", "replace", VIP, "lladdr", self.right.mac(), "nud", "reachable", "dev", "eth0"])
            self.strike("split heals", lambda: [host.heal() for host in (self.left, self.right)], self.found_by_client,
                        PATIENCE, 1)
        if not self.leads("left")():
            self.renew()

    def case_pause(self, found):
        with self.watched(found):
            self.strike("pause", self.left.freeze, lambda: self.right.holds(VIP))
            self.lab.run_for(PAUSE - (time.monotonic() - self.times["pause"][0]))
            self.times["pause"] = self.times["pause"][0], time.monotonic()
            since = time.monotonic()
            self.left.thaw()
            self.lab.run_for(1 + 4 * self.interval)
            self.lab.wait_until(self.found_by_client, PATIENCE, "the client finds it")
            self.lab.run_for(0.5)
            self.times["wake"] = since, time.monotonic()
        if not self.leads("left")():
            self.renew()


    def case_parts(self, found):
        def restart():
            koid = self.left.koid
            end_outright(koid.pid)
            koid.wait()
            self.left.run([BUILD / "koid", "--withdraw"],
                          environment={"RUNTIME_DIRECTORY": str(koid.folder / "run"), "SERVICE_RESULT": "signal"})
            self.lab.run_for(0.1)
            start_again(self.left)

        def is_whole():
            return process_of(self.left, "worker") and role(self.left) == "master"
        with self.watched(found):
            self.strike("worker dies", lambda: end_outright(process_of(self.left, "worker")), is_whole, for_another=1.5)
            self.strike("speaker dies", restart, self.leads("left"), for_another=1.5)
        self.programs["left"] = self.left.koid
        found.setdefault("taken over", []).append(bool(self.answered["right"]))


def live(lab, found, case, name, interval, runs, seed):
    random.seed(seed)
    pair = Pair(lab, CONTENDERS[name], interval)
    for run in range(runs):
        begins, logs = len(lab.lines), {host: len(host.koid.text()) for host in (pair.left, pair.right) if hasattr(host, "koid")}
        getattr(pair, f"case_{case}")(found)
        missed = [event for event in EVENTS[case] if "NOT" in judged(event, name, found.get(event, [])[-1:])]
        if missed:  # whoever looks for the cause wants to know what happened
            print(f"\n--- {name}, {interval:g} s, run {run}, {', '.join(missed)}: {[found[event][-1] for event in missed]}",
                  *lab.lines[begins:], *(f"--- {host.name}\n{host.koid.text()[seen:]}" for host, seen in logs.items()),
                  sep="\n", file=sys.stderr, flush=True)
        pair.contender.settle(pair)


EVENTS = {"stop": ("stop", "return"), "switch": ("switch", "switch back"),
          "cut": ("cut off", "cut heals", "link lost", "link back"), "split": ("split", "split heals"),
          "pause": ("pause", "wake"), "parts": ("worker dies", "speaker dies")}


def judged(event, name, several):
    """Koi's limits, or "" where there is none. Who hands over by agreement answers for 20 ms at most beside the successor."""
    failed, dark, twice = ([one[n] for one in several] for n in range(3))
    if name == "koi > ucarp" and several:
        return verdict(max(dark) <= 1.1, "<= 1100 ms")
    if name != "koi" or not several:
        return ""
    if event == "speaker dies":  # with fast adverts the peer may be faster than the restart, and hands back then
        return verdict(quantile(dark, 0.5) <= 0.05 and max(dark) <= 0.1 and max(twice) <= 0.02,
                       "p50 <= 50 ms, a takeover <= 100 ms, twice <= 20 ms (handing back)")
    if event in ("stop", "return", "switch", "switch back", "worker dies"):
        return verdict(max(failed) == 0 and max(twice) <= 0.02, "0 failed, twice <= 20 ms")
    if event in ("cut off", "link lost"):
        return verdict(quantile(dark, 0.99) <= 0.2, "p99 <= 200 ms")
    if event == "pause":
        return verdict(max(twice) == 0, "never twice")
    if event == "wake":
        return verdict(max(dark) <= 0.1 and max(twice) <= 0.02, "<= 100 ms, twice <= 20 ms (handing back)")
    return verdict(max(dark) <= 0.1, "<= 100 ms") if event.endswith("heals") else ""


def measure(names, cases, runs, beside, jobs, seed):
    rows, waiting = [], []
    for case in cases:
        rows += [(case, name, interval) for name in names for interval in CASES[case].get(name, ())]
    for row in rows:
        wanted = runs if row[1].startswith("koi") else beside
        waiting += [(*row, min(IN_A_ROW, wanted - n), f"{seed} {row} {n}") for n in range(0, wanted, IN_A_ROW)]
    length = {"parts": 6, "pause": 25, "split": 17, "cut": 14, "stop": 9, "switch": 7}
    seconds = sum(15 + length[case] * several for case, _, _, several, _ in waiting)
    print(f"{runs} runs of koi, {beside} of others, {len(waiting)} labs, {jobs} at once, seed {seed}; about "
          f"{seconds / jobs / 60:.0f} minutes …", flush=True)
    waiting.sort(key=lambda one: -length[one[0]] * one[3])  # the long ones first; of each kind side by side
    found, good = {row: {} for row in rows}, True
    for (*row, _, _), figures, well in in_labs(live, waiting, jobs):
        good &= well
        for event, several in figures.items():
            found[tuple(row)].setdefault(event, []).extend(several)

    table = []
    for case in cases:
        for event in EVENTS[case]:
            for row in [row for row in rows if row[0] == case]:
                several = found[row].get(event, [])
                if several:
                    table.append([event, f"{row[1]}, {row[2]:g} s", str(len(several)), spread([one[0] for one in several], 1),
                                  spread([one[1] for one in several]), spread([one[2] for one in several]),
                                  judged(event, row[1], several)])
    print_table(["p50 / p99 / max", "adverts", "runs", "requests failed", "dark, ms", "two owners, ms", "koi's limit"], table)
    blind = max((one for several in found.values() for one in several.get("blind", [])), default=0)
    print(f"the longest time without a question to the owners was {1000 * blind:.0f} ms")
    for row, figures in found.items():
        if figures.get("came back"):
            back = figures["came back"]
            print(f"{row[1]}: after the switch the same machine led again in {sum(back)} of {len(back)} runs")
        if figures.get("taken over"):
            print(f"{row[1]}, {row[2]:g} s: the peer was faster than the restart in {sum(figures['taken over'])} of "
                  f"{len(figures['taken over'])} deaths of the speaker")
        if figures.get("right at once"):
            print(f"{row[1]}, {row[2]:g} s: in {len(figures['right at once'])} runs of {row[0]} the client had to be led astray")
    return good


# ---- Load -------------------------------------------------------------------------------------------------------------------

def bear(lab, found, name, interval, minutes):
    pair = Pair(lab, CONTENDERS[name], interval)
    ear = Ear(lab.host("listener"))
    kind, address = "advert" if name == "koi" else "vrrp", pair.left.address()
    lab.run_for(1)

    def slip():
        return max(metric(host, "koi_advert_worst_slip_seconds") or 0 for host in (pair.left, pair.right)) if name == "koi" else 0

    began, slips = time.monotonic(), []
    while time.monotonic() < began + 60 * minutes:
        lab.run_for(min(20, began + 60 * minutes - time.monotonic()))
        with contextlib.suppress(OSError, Failed):  # a question may come late on such a machine
            slips.append(slip())
    ended = time.monotonic()
    heard = [one[0] for one in ear.since(began, kind, address) if one[0] < ended]
    changes = [one for one in lab.address_changes if one[3] == VIP and began <= one[0]]
    strangers = [one for one in ear.since(began, kind) if one[2] != address]
    gaps = [b - a for a, b in zip([began, *heard], [*heard, ended])]
    found.update(adverts=len(heard), gaps=gaps, slip=max(slips, default=0), strangers=len(strangers), changes=len(changes))


def load(names, minutes):
    loops = 2 * (os.cpu_count() or 1)
    rows = [(name, interval, minutes) for name in names for interval in CASES["load"].get(name, ())]
    print(f"\n{minutes:g} minutes beside {loops} busy loops on {os.cpu_count()} cores; load before: {os.getloadavg()[0]:.1f}",
          flush=True)
    table, good = [], True
    with Busy(loops):
        for (name, interval, _), found, well in in_labs(bear, rows, len(rows)):
            good &= well
            if found:
                quiet = found["changes"] == 0 and found["strangers"] == 0
                table.append([f"{name}, {interval:g} s", str(found["adverts"]), str(found["changes"]), str(found["strangers"]),
                              " / ".join(f"{1000 * quantile(found['gaps'], share):.1f}" for share in (0.5, 0.99, 1)),
                              f"{1000 * found['slip']:.1f}" if name == "koi" else "-",
                              verdict(quiet, "no takeover") if name == "koi" else ""])
    print_table(["", "adverts", "addresses come and gone", "adverts of the backup", "between adverts, ms: p50 / p99 / max",
                 "worst slip, ms", "koi's limit"], sorted(table, reverse=True))
    return good


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--runs", type=int, default=int(os.environ.get("KOI_RUNS", 50)))
    parser.add_argument("--beside", type=int)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=int(os.environ.get("KOI_SEED", random.randrange(1 << 16))))
    parser.add_argument("--only", default=",".join(CONTENDERS))
    parser.add_argument("--case", action="append", choices=CASES)
    told = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("bench/switches.py makes network namespaces and needs root")
    names, cases, good = present(told.only, CONTENDERS), told.case or list(CASES), bool(told.only)
    struck = [case for case in cases if case != "load"]
    if names and struck:
        beside = min(20, told.runs) if told.beside is None else told.beside
        good &= measure(names, struck, told.runs, beside, told.jobs, told.seed)
    if names and "load" in cases:
        good &= load(names, float(os.environ.get("KOI_MINUTES", 1)))
    return 0 if names and good else 1


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8", errors="replace")
    sys.exit(main())
