"""Power cuts, frozen machines, pulled cables, reboots: what the client sees, and who leads afterwards."""

import random
import time

from koi import both, causes_are_told, dark_limit, never_two, nothing_lost, patience, wait_for_standby
from machines import VIP, VIP_6, story
from nodes import figures, rounds


def cut_power_again_and_again(lab, times, **carp):
    """Cuts the master's power at random phases of its beat and boots it again; checks each darkness. Returns them."""
    lb1, lb2 = lab.pair(carp=carp)
    interval = float(carp["interval"].removesuffix("ms")) / 1000 if "interval" in carp else None
    for machine in (lb1, lb2):
        machine.systemctl("enable", "koi")
    lab.start(lb1, lb2)
    dark = []
    dice = random.Random(time.time_ns())
    while len(dark) < 2 * times:
        wait_for_standby(lab, lb1, 30)
        lab.run_for(0.3 + dice.random() * (interval or 1))
        asked = both(lab, [lb1, lb2])
        watches = [lab.watch(vip, every_ms=5) for vip in (VIP, VIP_6)]
        lab.run_for(0.2)
        if (lb1.role(), lb2.role()) != ("master", "backup"):
            lab.say("lb1 was too busy to lead (a master that slips is relieved); once more when it leads again")
            lab.wait_until(lambda: (lb1.role(), lb2.role()) == ("master", "backup"), 120, "lb1 leads again")
            continue
        cut = lb1.power_cut()
        lab.wait_until(lambda: lab.master(VIP) == "lb2" and lb2.holds(VIP_6), 30, "lb2 leads")
        lab.run_for(0.3)
        until = time.monotonic()
        for watch in watches:
            watch.end()
        never_two(lab, asked)
        for watch in watches:
            dark.append(watch.longest_dark)
            limit = dark_limit(lab, patience(interval=interval), cut)
            lab.within(watch.longest_dark, limit, cut, f"cut {(len(dark) + 1) // 2}: the client was dark", until)
            lab.check(watch.failures > 0, "and it was dark indeed")
        lb1.boot()
        lab.wait_until(lambda: lab.master(VIP) == "lb1" and lb2.role() == "backup", 120, "booted, lb1 leads again")
    lab.say(f"dark for {figures(dark)}")
    causes_are_told(lab, lb1)
    causes_are_told(lab, lb2)
    return dark


@story(timeout=150)
def story_power_cut(lab):
    """The master's power is cut, twice, at random phases of its beat: the client is dark for the standby's patience and 0.1 s
    at most; the master boots again, and takes the lead back."""
    cut_power_again_and_again(lab, 2)


@story(timeout=150)
def story_power_cut_with_fast_adverts(lab):
    """The same with `interval: 100ms`: dark for 0.34 s and 0.1 s at most."""
    cut_power_again_and_again(lab, 2, interval="100ms")


@story(timeout=120 + 30 * rounds(10), slow=True)
def story_power_cuts_at_any_phase(lab):
    """Ten of them (KOI_RUNS)."""
    cut_power_again_and_again(lab, rounds(10))


@story(timeout=120 + 30 * rounds(10), slow=True)
def story_power_cuts_with_fast_adverts_at_any_phase(lab):
    """Ten of them (KOI_RUNS) with `interval: 100ms`."""
    cut_power_again_and_again(lab, rounds(10), interval="100ms")


@story(timeout=150)
def story_frozen_machine(lab):
    """The master's programs stand still for longer than the standby's patience: its kernel falls silent before lb2 answers, and
    thawed it listens before it takes the lead back. Never two owners."""
    lb1, lb2 = lab.pair()
    lab.start(lb1, lb2)
    wait_for_standby(lab, lb1)
    asked = both(lab, [lb1, lb2])
    watch = lab.watch(VIP)
    lab.run_for(0.3)
    frozen = time.monotonic()
    lb1.freeze()
    lab.wait_until(lambda: lb2.role() == "master", 30, "lb2 leads")
    led = time.monotonic()
    lab.run_for(1)
    lb1.thaw()
    lab.wait_until(lambda: (lb1.role(), lb2.role()) == ("master", "backup"), 40, "lb1 leads again, lb2 listens")
    lab.run_for(0.5)
    watch.end()
    never_two(lab, asked, planned=True)
    failed, dark = watch.between(frozen, led + 0.5)
    lab.within(dark, dark_limit(lab, patience(), frozen), frozen, "the client was dark", led)
    for machine in (lb1, lb2):
        causes_are_told(lab, machine)
        lab.say(f"{machine.name}: NRestarts {machine.unit('NRestarts')}")


@story(timeout=120)
def story_pulled_cable(lab):
    """The master's cable is pulled and plugged back: lb2 leads meanwhile, lb1 knows why it does not, and leads again afterwards,
    under a systemd-networkd that manages the interface."""
    lb1, lb2 = lab.pair()
    lab.start(lb1, lb2)
    wait_for_standby(lab, lb1)
    asked = both(lab, [lb1, lb2])
    watch = lab.watch(VIP)
    pulled = time.monotonic()
    lb1.unplug()
    lab.wait_until(lambda: lb2.role() == "master" and lb2.holds(VIP), 30, "lb2 leads")
    lab.wait_until(lambda: lb1.role() == "init", 5, "lb1 takes no part")
    led = time.monotonic()
    lab.run_for(0.5)
    lb1.plug_back()
    lab.wait_until(lambda: (lb1.role(), lb2.role()) == ("master", "backup") and lab.master(VIP) == "lb1", 40,
                   "lb1 leads again, lb2 listens")
    lab.run_for(0.5)
    watch.end()
    never_two(lab, asked, planned=True)
    _, dark = watch.between(pulled, led + 0.3)
    lab.within(dark, dark_limit(lab, patience(), pulled), pulled, "the client was dark", led)
    back, _ = watch.between(led + 0.3, time.monotonic())
    lab.check(back == 0, f"and of the return it saw nothing ({back} lost)")
    for machine in (lb1, lb2):
        causes_are_told(lab, machine)
    lab.check(lb1.unit("NRestarts") == "0", "koid lived through it")


@story(timeout=150)
def story_reboot(lab):
    """The master is rebooted as an operator does it: it hands over before it goes, and back after it came; no request is lost."""
    lb1, lb2 = lab.pair()
    for machine in (lb1, lb2):
        machine.systemctl("enable", "koi")
    lab.start(lb1, lb2)
    wait_for_standby(lab, lb1)
    watch, began = lab.watch(VIP, timeout_ms=1000), time.monotonic()
    asked = both(lab, [lb1, lb2])
    lb1.reboot()
    lab.wait_until(lambda: (lb1.role(), lb2.role()) == ("master", "backup") and lab.master(VIP) == "lb1", 40,
                   "lb1 leads again, lb2 listens")
    lab.run_for(0.5)
    watch.end()
    never_two(lab, asked, planned=True)
    nothing_lost(lab, watch, began, "reboot")
    causes_are_told(lab, lb1)
    causes_are_told(lab, lb2)


@story(timeout=120)
def story_ipv6_pair(lab):
    """A pair that has nothing but IPv6: lb1 leads, its power is cut, lb2 leads within its patience."""
    lb1, lb2 = lab.pair(vips=[VIP_6], families=(6,))
    lab.check(not [one for one in lb1.addresses() if "." in one and not one.startswith("127.")], "there is no IPv4 on lb1")
    lab.start(lb1, lb2, leads=VIP_6)
    wait_for_standby(lab, lb1)
    owners = lab.owners(VIP_6, [lb1, lb2])
    watch = lab.watch(VIP_6, every_ms=5)
    lab.run_for(0.3)
    cut = lb1.power_cut()
    lab.wait_until(lambda: lab.master(VIP_6) == "lb2", 30, "lb2 leads")
    lab.run_for(0.3)
    watch.end()
    never_two(lab, [owners])
    lab.within(watch.longest_dark, dark_limit(lab, patience(), cut), cut, "the client was dark")
    causes_are_told(lab, lb2)
