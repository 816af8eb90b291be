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
import os
import random
import sys
import time

import common  # finds the lab, too
from common import CONTENDERS, in_labs, present, print_table, spread, verdict
from nodes import VIP

INTERVALS = {"koi": (1.0, 0.1), "keepalived": (1.0, 0.1), "ucarp": (1.0,)}
HOLD = 2.0  # how long two owners are looked at
EVENTS = ("kill -9", "hang", "goes on")


class Pair(common.Pair):
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


def seen(owners, since=float("-inf"), until=float("inf")):
    """(seconds with two, whether they still were two at the end, longest without one)"""
    ends = min(until, max(stop for several in owners.intervals.values() for _, stop in several))
    to_the_end = any(start < ends and stop >= ends - 0.02 for start, stop in owners.overlaps)
    return owners.doubly_between(since, until), to_the_end, owners.dark_between(since, until)


def live(lab, found, name, interval, runs, seed):
    """Some runs of one contender."""
    random.seed(seed)
    found.update({event: [] for event in EVENTS}, pause=0.0)
    pair = Pair(lab, CONTENDERS[name], interval)
    for _ in range(runs):
        for event in (pair.kill, pair.hang):
            told, blind = event()
            found["pause"] = max(found["pause"], blind)
            for what, figures in told.items():
                found[what].append(figures)


def measure(names, runs, jobs, seed):
    rows = [(name, interval) for name in names for interval in INTERVALS[name]]
    labs = min(runs, max(1, round(jobs / len(rows))))
    waiting = [(*row, runs // labs + (n < runs % labs), f"{seed} {row} {n}") for n in range(labs) for row in rows]
    turns = math.ceil(len(waiting) / jobs)
    print(f"{runs} runs of each event, {labs} labs for each of {len(rows)} pairs, {jobs} at once, seed {seed}; about "
          f"{turns * (15 + 27 * math.ceil(runs / labs)) // 60 + 1} minutes …", flush=True)
    found, failed, longest_pause = {(*row, event): [] for row in rows for event in EVENTS}, False, 0.0
    for (name, interval, *_), figures, well in in_labs(live, waiting, jobs):
        failed |= not well
        longest_pause = max(longest_pause, figures.get("pause", 0.0))
        for event in EVENTS:
            found[name, interval, event] += figures.get(event, [])

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


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--runs", type=int, default=int(os.environ.get("KOI_RUNS", 50)))
    parser.add_argument("--jobs", type=int, default=4 * (os.cpu_count() or 1))
    parser.add_argument("--seed", type=int, default=int(os.environ.get("KOI_SEED", random.randrange(1 << 16))))
    parser.add_argument("--only", default=",".join(CONTENDERS))
    told = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("bench/two_owners.py makes network namespaces and needs root")
    names = present(told.only)
    return 0 if names and measure(names, told.runs, told.jobs, told.seed) else 1


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8", errors="replace")
    sys.exit(main())
