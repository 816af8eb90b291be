"""The long form: minutes of life with everything that happens to a pair, again and again."""

import itertools
import os
import re
import time

from deeds import is_whole, went_on
from koi import both, causes_are_told, events_are_explained, never_two, nothing_lost, wait_for_standby
from machines import VIP, VIP_6, story

MINUTES = float(os.environ.get("KOI_MINUTES", "10"))


@story(timeout=240 + round(MINUTES * 100), slow=True)
def story_minutes_of_life(lab):
    """Ten minutes (KOI_MINUTES), in each of which there are a hand-over and a return, a reload, and the death of koid, worker and
    scout, of the master's and of the standby's in turn: never two owners, NRestarts equals the deaths of koid, and every role
    change has its cause in the journal."""
    lb1, lb2 = lab.pair()
    lab.start(lb1, lb2)
    deaths, lost, asked_for = {lb1.name: 0, lb2.name: 0}, 0, 0
    began = time.monotonic()
    for minute in itertools.count():
        if time.monotonic() - began >= MINUTES * 60:
            break
        this = time.monotonic()
        victim = (lb1, lb2)[minute % 2]
        lab.say(f"minute {minute + 1}: {victim.name} is struck")
        wait_for_standby(lab, lb1, 30)
        asked, watch = both(lab, [lb1, lb2]), lab.watch(VIP, every_ms=5, timeout_ms=1000)
        text = lb1.read("/etc/koi/koi.yaml")
        lb1.write("/etc/koi/koi.yaml", re.sub(r'"advskew": \d+', f'"advskew": {10 + minute % 2}', text))
        lb1.systemctl("reload", "koi")
        at(lab, this, 8)
        lb1.run(["koi", "step-down", "51"])
        lab.wait_until(lambda: lab.master(VIP) == lab.master(VIP_6) == "lb2" and lb1.role() == "backup", 15, "lb2 leads")
        at(lab, this, 16)
        lb1.run(["koi", "step-up", "51"])
        lab.wait_until(lambda: lab.master(VIP) == lab.master(VIP_6) == "lb1" and lb2.role() == "backup", 15, "lb1 leads again")
        for second, program in ((24, "koid"), (34, "koid-worker"), (44, "koid-scout")):
            at(lab, this, second)
            went_on(lab, victim, program, victim.kill(program), 30)
            deaths[victim.name] += program == "koid"
            is_whole(lab, victim)
            lab.wait_until(lambda: (lb1.role(), lb2.role()) == ("master", "backup"), 30, "lb1 leads, lb2 listens")
        at(lab, this, 56)
        watch.end()
        never_two(lab, asked, planned=True)
        lost, asked_for = lost + watch.failures, asked_for + watch.probes
        nothing_lost(lab, watch, this, f"minute {minute + 1}")
    for machine in (lb1, lb2):
        restarts = int(machine.unit("NRestarts"))
        lab.check(restarts == deaths[machine.name], f"{machine.name}: NRestarts is {restarts}, and so often koid was killed")
        causes_are_told(lab, machine)
        events_are_explained(lab, machine)
    lab.say(f"{lost} of {asked_for} requests lost in {(time.monotonic() - began) / 60:.1f} minutes")


def at(lab, since, second):
    """Waits for a second of the minute that began then; a busy machine may be late for it."""
    lab.run_for(max(0.0, since + second - time.monotonic()))
