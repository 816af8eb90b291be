#!/usr/bin/python3
"""Koi beside keepalived and ucarp: how long a client is left alone, and what idling costs.

    bench/election.py [--runs N] [--seed N] [--only NAME,NAME] [--part events|idle|start]...

Each event is struck N times (10) at a random moment. Dark is the longest stretch in which a client that pings every
5 ms got no answer. All contenders have the same VIP on the same kind of wire; they are measured at the same time,
each in a lab of its own. Root; needs the programs koid (KOI_BUILD or build/), keepalived and ucarp; what is missing
is left out.
"""

import argparse
import contextlib
import multiprocessing
import os
import random
import statistics
import sys
import time
from pathlib import Path

import common  # finds the lab, too
from adverts import Ear
from common import CONTENDERS, Koi, present, print_table, verdict
from lab import Lab
from namespaces import processes_in
from nodes import VIP, Dark, wait_for_master
from processes import BUILD, Failed

PATIENCE = 3.0  # how long an address that nobody puts back is waited for

# ---- Events ----------------------------------------------------------------------------------------------------------------

class Pair(common.Pair):
    def __init__(self, lab, contender, interval):
        super().__init__(lab, contender, interval)
        self.ear = Ear(self.client)

    def moment(self):
        """Any phase of the advert timer is as likely as any other."""
        return random.uniform(0.05, 0.05 + max(self.interval, 0.1))

    def back(self):
        """The preferred node starts, and takes over."""
        with Dark(self.client, after=0.5) as dark:
            self.start(self.left)
            wait_for_master(self.lab, "left", timeout=15)
        self.lab.run_for(max(0.3, 1.5 * self.interval))
        return dark.seconds

    def power_cut(self):
        with Dark(self.client, before=self.moment()) as dark:
            self.left.kill_power()
            wait_for_master(self.lab, "right", timeout=15)
        self.left.power_on()
        return dark.seconds

    def planned_stop(self):
        with Dark(self.client, before=self.moment()) as dark:
            self.programs["left"].signal(15)
            wait_for_master(self.lab, "right", timeout=15)
        self.programs["left"].wait()
        return dark.seconds

    def vip_removed(self):
        """Seconds without an answer; None if nobody put it back."""
        with Dark(self.client, before=self.moment()) as dark:
            self.left.run(f"ip addr del {VIP}/24 dev eth0")
            with contextlib.suppress(Failed):
                self.lab.wait_until(lambda: self.lab.master(VIP) != "nobody", PATIENCE, "somebody puts it back")
        if self.lab.master(VIP) == "nobody":
            self.left.run(f"ip addr add {VIP}/24 dev eth0")
            return None
        with contextlib.suppress(Failed):
            wait_for_master(self.lab, "left", timeout=10)
        return dark.seconds


def strike(name, interval, runs, seed, answers):
    """All events of one contender at one interval, in a process and a lab of its own."""
    random.seed(f"{seed} {name} {interval}")
    seen = {"power cut": [], "preempt return": [], "planned stop": [], "vip removed": []}
    trouble = None
    try:
        with Lab(out=sys.stderr) as lab:
            pair = Pair(lab, CONTENDERS[name], interval)
            for _ in range(runs):
                seen["power cut"].append(pair.power_cut())
                seen["preempt return"].append(pair.back())
            for _ in range(runs):
                seen["planned stop"].append(pair.planned_stop())
                seen["preempt return"].append(pair.back())
            for _ in range(runs if name != "ucarp" else 1):  # it never notices
                seen["vip removed"].append(pair.vip_removed())
    except BaseException as problem:  # told by the parent; the other contenders go on
        trouble = f"{name} at {interval} s: {problem}\n{lab.transcript()[-3000:]}"
    answers.put((name, interval, seen, trouble))


def events(names, runs, seed):
    jobs = [(name, interval) for name in names for interval in CONTENDERS[name].intervals]
    answers = multiprocessing.Queue()
    children = [multiprocessing.Process(target=strike, args=(*job, runs, seed, answers)) for job in jobs]
    print(f"{runs} runs of each event, {len(jobs)} pairs at once, seed {seed}; about {30 + 22 * runs} s …", flush=True)
    for child in children:
        child.start()
    found, failed = {}, False
    for _ in children:
        name, interval, seen, trouble = answers.get()
        found[name, interval] = seen
        if trouble:
            print(trouble, file=sys.stderr)
            failed = True
    for child in children:
        child.join()

    limits = {("power cut", 1.0): 3200, ("power cut", 0.04): 250, ("planned stop", 1.0): 100, ("planned stop", 0.04): 100,
              ("vip removed", 1.0): 50, ("vip removed", 0.04): 50}
    rows = []
    for interval in (1.0, 0.04):
        for event in ("power cut", "planned stop", "vip removed", "preempt return"):
            row = [f"{event}, {interval:g} s adverts"]
            medians = {}
            for name in names:
                values = found.get((name, interval), {}).get(event, [])
                row.append(spread(values))
                if values and None not in values:
                    medians[name] = statistics.median(values)
            row.append(ratio(medians))
            worst = [value for value in found.get(("koi", interval), {}).get(event, []) if value is not None]
            limit = limits.get((event, interval))
            row.append(verdict(1000 * max(worst) <= limit, f"<= {limit} ms") if limit and worst else "")
            rows.append(row)
    print_table(["dark for, ms: min / median / max", *names, "koi : keepalived", "koi's limit"], rows)
    return not failed


def spread(values):
    if not values:
        return "-"
    if None in values:
        return f"never (> {1000 * PATIENCE:.0f})"
    return " / ".join(f"{1000 * one:.0f}" for one in (min(values), statistics.median(values), max(values)))


def ratio(medians):
    if "koi" not in medians or "keepalived" not in medians:
        return "-"
    if medians["keepalived"] == 0:
        return "both 0" if medians["koi"] == 0 else "-"
    return f"{medians['koi'] / medians['keepalived']:.2f}"


# ---- Idling ----------------------------------------------------------------------------------------------------------------

def cost_of(host):
    """(PSS in KiB, RSS in KiB, nanoseconds on a processor, number of processes) of all programs on a host."""
    pss = rss = cpu = count = 0
    for pid in processes_in(host.inode):
        try:
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    pss += int(line.split()[1])
                elif line.startswith("Rss:"):
                    rss += int(line.split()[1])
            for task in os.listdir(f"/proc/{pid}/task"):
                cpu += int(Path(f"/proc/{pid}/task/{task}/schedstat").read_text().split()[0])
            count += 1
        except OSError:
            continue
    return pss, rss, cpu, count


def rest(name, interval, seconds, services, start_together, answers):
    """One contender alone on its wire, in a process and a lab of its own."""
    trouble = None
    try:
        with Lab(out=sys.stderr) as lab:
            host = lab.host("left")
            CONTENDERS[name].start(lab, host, True, interval, services and name != "ucarp")
            wait_for_master(lab, "left", timeout=15)
            lab.run_for(3)
            start_together.wait(60)  # so that each shares its libraries with the same others
            before = cost_of(host)
            lab.run_for(seconds)
            after = cost_of(host)
            start_together.wait(60)
        answers.put((name, (after[0], after[1], (after[2] - before[2]) / seconds / 1e7, after[3]), None))
    except BaseException as problem:
        start_together.abort()
        answers.put((name, None, f"{name} at {interval} s: {problem}"))


def idle(names, seconds=20):
    """One node alone, because two on one kernel would share what two machines cannot."""
    services = Path("/proc/net/ip_vs").exists()
    print(f"\nidle for {seconds} s, one master alone, {'with' if services else 'without'} virtual servers; "
          "PSS and processor time of all its processes", flush=True)
    rows, failed = [], False
    for interval in (1.0, 0.1):
        these = [name for name in names if interval == 1.0 or name != "ucarp"]
        together, answers = multiprocessing.Barrier(len(these)), multiprocessing.Queue()
        children = [multiprocessing.Process(target=rest, args=(name, interval, seconds, services, together, answers))
                    for name in these]
        for child in children:
            child.start()
        found = {}
        for _ in children:
            name, cost, trouble = answers.get()
            if trouble:
                print(trouble, file=sys.stderr)
                failed = True
            else:
                found[name] = cost
        for child in children:
            child.join()
        for name in [one for one in names if one in found]:
            pss, rss, share, count = found[name]
            said = ""
            if name == "koi" and "keepalived" in found:
                said = f"PSS {pss / found['keepalived'][0]:.2f} x keepalived, " + verdict(pss <= 1.5 * found["keepalived"][0], "<= 1.5")
                if interval == 0.1:
                    said += "; " + verdict(share <= 0.2, "CPU <= 0.2 %")
            rows.append([f"{interval:g} s adverts", name, str(count), f"{pss / 1024:.1f}", f"{rss / 1024:.1f}", f"{share:.3f}", said])
    print_table(["", "", "processes", "PSS MiB", "RSS MiB", "CPU %", ""], rows)
    return not failed


# ---- Starting --------------------------------------------------------------------------------------------------------------

def large_configuration(folder):
    key, file = folder / "carp.key", folder / "large.yaml"
    key.touch(mode=0o600)
    key.write_text("koi-lab")
    lines = [f"carp: {{ interface: eth0, key_file: {key} }}", f"vips: [ {{ vhid: 51, addresses: [ {VIP}/24 ] }} ]", "pools:"]
    for pool in range(100):
        lines += [f"  pool{pool}:", "    source:", "      static:"]
        lines += [f"        - 10.{pool}.0.{n}:8080 {1 + n % 9}" for n in range(100)]
    lines += ["services:"]
    lines += [f"  - {{ name: s{pool}, at: {VIP}:{1000 + pool}/tcp, pool: pool{pool}, scheduler: wrr }}" for pool in range(100)]
    file.write_text("\n".join(lines) + "\n")
    return file


def start(runs):
    print(f"\nstarting, {runs} times", flush=True)
    ready, tested = [], []
    with Lab(out=sys.stderr) as lab:
        host = lab.host("left")
        file = large_configuration(host.folder)
        for _ in range(runs):
            koid = Koi.start(lab, host, True, 1.0)
            ready.append(koid.wait_ready())
            koid.stop()
            began = time.monotonic()
            host.run([BUILD / "koid", "-t", "-c", file])
            tested.append(time.monotonic() - began)
    print_table(["ms: min / median / max", "", ""], [
        ["koid is READY after its start", spread(ready), verdict(statistics.median(ready) <= 0.2, "<= 200 ms")],
        ["koid -t with 10,000 backends", spread(tested), verdict(statistics.median(tested) <= 0.3, "<= 300 ms")]])
    return True


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--runs", type=int, default=int(os.environ.get("KOI_RUNS", 10)))
    parser.add_argument("--seed", type=int, default=int(os.environ.get("KOI_SEED", random.randrange(1 << 16))))
    parser.add_argument("--only", default=",".join(CONTENDERS))
    parser.add_argument("--part", action="append", choices=("events", "idle", "start"))
    told = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("bench/election.py makes network namespaces and needs root")
    names = present(told.only)
    parts = told.part or ["events", "idle", "start"]
    good = True
    if "events" in parts:
        good &= events(names, told.runs, told.seed)
    if "idle" in parts:
        good &= idle(names)
    if "start" in parts and "koi" in names:
        good &= start(told.runs)
    return 0 if good else 1


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8", errors="replace")
    sys.exit(main())
