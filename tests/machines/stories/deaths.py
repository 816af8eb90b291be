"""Processes that die or hang under the unit: noticed, started again, never two owners, and what the journal tells of it.

That a node which dies again and again is never given up is told in unit.py."""

import os
import time

from deeds import is_whole, went_on
from koi import both, causes_are_told, events_are_explained, never_two, nothing_lost, patience, wait_for_standby
from machines import VIP, story


@story(timeout=150)
def story_each_process_dies(lab):
    """koid, worker and scout of the master are killed, one after the other: each is back, the client loses nothing, no role
    changes, NRestarts counts the deaths of koid and nothing else."""
    lb1, lb2 = lab.pair()
    lab.start(lb1, lb2)
    wait_for_standby(lab, lb1)
    is_whole(lab, lb1)
    asked, struck = both(lab, [lb1, lb2]), time.monotonic()
    for program in ("koid", "koid-worker", "koid-scout"):
        watch, began = lab.watch(VIP, timeout_ms=1000), time.monotonic()
        lab.run_for(0.3)
        old = lb1.kill(program)
        lab.say(f"another {program} runs after {went_on(lab, lb1, program, old):.2f} s")
        is_whole(lab, lb1)
        lab.wait_until(lambda: lb1.role() == "master", 10, "lb1 is master")
        lab.run_for(patience() + 0.5 if program == "koid" else 0.5)
        watch.end()
        nothing_lost(lab, watch, began, f"{program} killed")
    never_two(lab, asked)
    lab.check(lb1.unit("NRestarts") == "1", "koid died once")
    lab.check(lb2.unit("NRestarts") == "0" and lb2.role() == "backup", "lb2 listens")
    late = lab.slip(struck)  # a koid that is back too late to go on as master is followed by another one, as it should be
    lab.check(len(lb2.journal("role")) == 1 or late > 1, f"and saw nothing, or the machines were kept waiting ({late:.2f} s)")
    for machine in (lb1, lb2):
        causes_are_told(lab, machine)
        events_are_explained(lab, machine)


@story(timeout=180)
def story_each_process_hangs(lab):
    """koid, worker and scout of the master are stopped where they are (SIGSTOP): each is noticed, ended and started again by
    itself, and there is no moment with two owners."""
    lb1, lb2 = lab.pair()
    lab.start(lb1, lb2)
    wait_for_standby(lab, lb1)
    is_whole(lab, lb1)
    lab.check(lb1.unit("WatchdogUSec") .startswith("1.5"), f"the watchdog waits for half of the peers' patience: {lb1.unit('WatchdogUSec')}")
    asked = both(lab, [lb1, lb2])
    for program in ("koid-scout", "koid-worker", "koid"):
        watch = lab.watch(VIP)
        old, struck = lb1.kill(program, "STOP"), time.monotonic()
        lab.say(f"another {program} runs after {went_on(lab, lb1, program, old, 40):.2f} s")
        lab.check(not os.path.exists(f"/proc/{old}"), "the one that hung has ended")
        is_whole(lab, lb1)
        lab.wait_until(lambda: (lb1.role(), lb2.role()) == ("master", "backup"), 30, "lb1 leads, lb2 listens")
        lab.run_for(1)
        watch.end()
        lab.say(f"{program} hung: dark for {watch.longest_dark:.2f} s")
        limit = patience() + 1 if program == "koid" else 0
        lab.within(watch.longest_dark, limit, struck, "the client was dark")
    never_two(lab, asked)
    lab.check(lb1.unit("NRestarts") == "1", "koid was ended by its watchdog, once")
    for machine in (lb1, lb2):
        causes_are_told(lab, machine)
        events_are_explained(lab, machine)
