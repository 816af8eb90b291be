#!/usr/bin/python3
"""A bare loop beside a story: how long this machine keeps waiting who wants to run.

    beat = Metronome(host, group)  it beats from now on; `group`: a cgroup whose waiting is noted as well
    …
    beat.lateness(since, until)    for how many seconds the loop, or the group, was kept waiting between two moments
    beat.worst(since, until)       the longest the loop was kept waiting at once

A story's limit is what Koi promises and, on top, this: what is lost there is lost by the machine. The loop sleeps and asks to be
woken; that says how late a timer is. A program that has work to do waits longer on a busy machine, and of that the kernel
keeps count by cgroup (cpu.pressure: the time in which some program of it could have run and did not).
Moments are seconds of the monotonic clock.

    metronome.py EVERY_MS MORE_THAN_MS [FILE]   the program behind it: a line "WHEN LATE WAITED" for a beat that tells of more than that
"""

import sys
import time
from pathlib import Path

EVERY_MS, MORE_THAN_MS = 5, 5


class Metronome:
    def __init__(self, host, group=None):
        from processes import Process  # the program behind it needs none of this
        pressure = [group / "cpu.pressure"] if group and (group / "cpu.pressure").exists() else []
        self.process = Process(host, ["/usr/bin/python3", "-S", "-B", Path(__file__), EVERY_MS, MORE_THAN_MS, *pressure],
                               "metronome")
        self.process.wait_for_text("beats")

    def told(self, since, until):
        """[(when, how late, waited since the line before)] between two moments."""
        found = []
        for line in self.process.text().splitlines()[1:]:
            words = line.split()
            if len(words) == 3 and since <= float(words[0]) and float(words[0]) - float(words[1]) <= until:
                found.append(tuple(map(float, words)))
        return found

    def lateness(self, since=float("-inf"), until=float("inf")):
        lines = self.told(since, until)
        return max(sum(late for _, late, _ in lines), sum(waited for _, _, waited in lines))

    def worst(self, since=float("-inf"), until=float("inf")):
        return max((late for _, late, _ in self.told(since, until)), default=0.0)


def waited(file):
    """Seconds in which some program of the group waited for a processor, ever; the first line of cpu.pressure ends with it."""
    file.seek(0)
    return int(file.readline().rpartition("=")[2]) / 1e6


def main():
    every, more = (float(word) / 1000 for word in sys.argv[1:3])
    file = open(sys.argv[3]) if len(sys.argv) > 3 else None
    known = waited(file) if file else 0.0
    print("beats", flush=True)
    while True:
        due = time.monotonic() + every
        time.sleep(every)
        now = time.monotonic()
        total = waited(file) if file else 0.0
        if now - due > more or total - known > more:
            print(f"{now:.6f} {now - due if now - due > more else 0:.6f} {total - known:.6f}", flush=True)
            known = total


if __name__ == "__main__":
    main()
