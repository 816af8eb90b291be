#!/usr/bin/python3
"""Koi beside keepalived and ucarp: for how long two machines answer for one address when the master's programs die or hang.

    bench/two_owners.py [--runs N] [--jobs N] [--seed N] [--only NAME,NAME]

Each event is struck N times (50) at a random moment. The host and its kernel live on, so the address may as well:
    kill -9   every program of the contender on the master is killed; watched until 2 s after the backup took over
    hang      every one is stopped where it is (SIGSTOP); watched as long
    goes on   … and continued: until the end of the next 2 s, and three adverts, in which one of the two has to let go
Twice: for how long both answered. Nobody: the longest time in which neither answered a ping. Each machine is asked by itself
every 2 ms (tests/netns/owners.py). --jobs labs live side by side, because they wait most of the time.
Root; needs the programs koid (KOI_BUILD or build/), keepalived and ucarp; what is missing is left out.
"""

import argparse
import math
import multiprocessing
import os
import queue
import random
import sys
import time

from election import CONTENDERS, print_table, verdict  # finds the lab, too
from lab import Lab
from nodes import VIP, wait_for_master

INTERVALS = {"koi": (1.0, 0.1), "keepalived": (1.0, 0.1), "ucarp": (1.0,)}
HOLD = 2.0  # how long two owners are looked at
EVENTS = ("kill -9", "hang", "goes on")


class Pair:
    def __init__(self, lab, contender, interval):
        self.lab, self.contender, self.interval = lab, contender, interval
        self.left, self.right, self.client = lab.host("left"), lab.host("right"), lab.host("client")
        self.start(self.left)
        wait_for_master(lab, "left", timeout=15)
        self.start(self.right)
        lab.run_for(max(1.5, 3 * interval))

    def start(self, host):
        self.contender.start(self.lab, host, host is self.left, self.interval)

    def strike(self, how):
        """Up to HOLD seconds after the backup took over; owners go on asking."""
        owners = self.client.owners(VIP, [self.left, self.right])
        self.lab.run_for(random.uniform(0.05, 0.05 + max(self.interval, 0.1)))
        how()
        self.lab.wait_until(lambda: self.right.holds(VIP), 15, "right takes over")
        self.lab.run_for(HOLD)
        return owners

    def kill(self):
        owners = self.strike(self.left.kill_programs).end()
        self.renew()
        return {"kill -9": seen(owners)}, owners.longest_pause

    def hang(self):
        owners = self.strike(self.left.freeze)
        gone_on = time.monotonic()
        self.left.thaw()
        self.lab.run_for(HOLD + 3 * self.interval)
        owners.end()
        self.renew()
        return {"hang": seen(owners, until=gone_on), "goes on": seen(owners, since=gone_on)}, owners.longest_pause

    def renew(self):
        """A fresh machine on the left, which takes the lead."""
        self.left.kill_power()
        self.left.power_on()
        self.start(self.left)
        wait_for_master(self.lab, "left", timeout=20)
        self.lab.run_for(max(0.3, 1.5 * self.interval))


def seen(owners, since=float("-inf"), until=float("inf")):
    """(seconds with two, whether they still were two at the end, longest without one)"""
    ends = min(until, max(stop for several in owners.intervals.values() for _, stop in several))
    to_the_end = any(start < ends and stop >= ends - 0.02 for start, stop in owners.overlaps)
    return owners.doubly_between(since, until), to_the_end, owners.dark_between(since, until)


def live(name, interval, runs, seed, answers):
    """Some runs of one contender, in a process and a lab of its own."""
    random.seed(seed)
    found, pause, trouble = {event: [] for event in EVENTS}, 0.0, None
    try:
        with Lab(out=sys.stderr) as lab:
            pair = Pair(lab, CONTENDERS[name], interval)
            for _ in range(runs):
                for event in (pair.kill, pair.hang):
                    told, blind = event()
                    pause = max(pause, blind)
                    for what, figures in told.items():
                        found[what].append(figures)
    except BaseException as problem:  # told by the parent; the others go on
        trouble = f"{name} at {interval} s: {problem!r}\n{lab.transcript()[-3000:]}"
    answers.put((os.getpid(), name, interval, found, pause, trouble))


def measure(names, runs, jobs, seed):
    rows = [(name, interval) for name in names for interval in INTERVALS[name]]
    labs = min(runs, max(1, round(jobs / len(rows))))
    waiting = [(*row, runs // labs + (n < runs % labs), f"{seed} {row} {n}") for n in range(labs) for row in rows]
    turns = math.ceil(len(waiting) / jobs)
    print(f"{runs} runs of each event, {labs} labs for each of {len(rows)} pairs, {jobs} at once, seed {seed}; about "
          f"{turns * (15 + 27 * math.ceil(runs / labs)) // 60 + 1} minutes …", flush=True)
    answers, living = multiprocessing.Queue(), {}
    found, failed, longest_pause = {(*row, event): [] for row in rows for event in EVENTS}, False, 0.0
    while waiting or living:
        while waiting and len(living) < jobs:
            child = multiprocessing.Process(target=live, args=(*waiting.pop(0), answers))
            child.start()
            living[child.pid] = child
        try:
            pid, name, interval, figures, pause, trouble = answers.get(timeout=1)
        except queue.Empty:
            for pid in [pid for pid, child in living.items() if not child.is_alive() and child.exitcode]:
                print(f"a lab ended with {living.pop(pid).exitcode}", file=sys.stderr)
                failed = True
            continue
        living.pop(pid).join()
        longest_pause = max(longest_pause, pause)
        for event in EVENTS:
            found[name, interval, event] += figures[event]
        if trouble:
            print(trouble, file=sys.stderr)
            failed = True

    table = []
    for event in EVENTS:
        for name, interval in rows:
            several = found[name, interval, event]
            doubly = [math.inf if to_the_end else seconds for seconds, to_the_end, _ in several]
            said = ""
            if name == "koi" and several and event != "goes on":
                said = verdict(max(doubly) == 0, "never twice")
            table.append([event, f"{name}, {interval:g} s adverts", str(len(several)), spread(doubly),
                          spread([dark for _, _, dark in several]), said])
    print_table(["", "", "runs", "twice, ms: p50 / p99 / max", "nobody, ms: p50 / p99 / max", "koi's limit"], table)
    print(f"all: as long as was looked, {1000 * HOLD:.0f} ms or more; "
          f"the longest time without a question was {1000 * longest_pause:.0f} ms")
    return not failed


def spread(values):
    if not values:
        return "-"
    values = sorted(values)
    ranks = (math.ceil(len(values) * share) - 1 for share in (0.5, 0.99, 1))
    return " / ".join("all" if values[rank] == math.inf else f"{1000 * values[rank]:.0f}" for rank in ranks)


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--runs", type=int, default=int(os.environ.get("KOI_RUNS", 50)))
    parser.add_argument("--jobs", type=int, default=4 * (os.cpu_count() or 1))
    parser.add_argument("--seed", type=int, default=int(os.environ.get("KOI_SEED", random.randrange(1 << 16))))
    parser.add_argument("--only", default=",".join(CONTENDERS))
    told = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("bench/two_owners.py makes network namespaces and needs root")
    names = []
    for name in told.only.split(","):
        version = CONTENDERS[name].version() if name in CONTENDERS else None
        print(version or f"{name} is not here and is left out", flush=True)
        names += [name] if version else []
    return 0 if names and measure(names, told.runs, told.jobs, told.seed) else 1


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8", errors="replace")
    sys.exit(main())
