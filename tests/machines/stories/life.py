"""A pair's life under its unit: start, lead, reload, hand over, restart, stop; and what the journal tells of it."""

import time

from koi import both, causes_are_told, events_are_explained, never_two, nothing_lost, wait_for_standby
from machines import VIP, VIP_6, story


def appeared(lab, machine, address, after):
    """When a machine got an address, as its kernel told it."""
    return next((when for when, name, word, what in list(lab.address_changes)
                 if (name, word, what) == (machine.name, "+", address) and when >= after), None)


@story(timeout=120, release="trixie")
def story_pair_of_debian_13(lab):
    """Two machines of Debian 13 install the package built there: lb1 leads within 4 s, and lb2 when it is alone."""
    installs_and_leads(lab)


@story(timeout=120)
def story_pair_leads_within_four_seconds(lab):
    """Two machines install the package with apt and start the unit: lb1 leads within 4 s, over IPv4 and IPv6; and lb2 within
    4 s and its skew when it is alone."""
    installs_and_leads(lab)


def installs_and_leads(lab):
    lb1, lb2 = lab.pair(fresh=True)
    lab.check(lb1.unit("ActiveState") == "inactive", "installed, it does not run")
    for machine, skew in ((lb1, 0), (lb2, 100)):
        began = time.monotonic()
        machine.systemctl("start", "koi")
        for vip in (VIP, VIP_6):
            lab.wait_until(lambda: lab.master(vip) == machine.name, 30, f"{machine.name} leads")
            lab.wait_until(lambda: appeared(lab, machine, vip, began), 5, "and its kernel told it")
            held = appeared(lab, machine, vip, began)
            lab.within(held - began, 4 + skew / 256, began, f"{machine.name} holds {vip} after its start", held)
        if machine is lb1:
            watch = lab.watch(VIP)
            lab.run_for(1)
            watch.end()
            lab.check(watch.failures == 0 and watch.probes > 20, f"{watch.probes} questions, all answered")
            machine.systemctl("stop", "koi")
            lab.check(lab.master(VIP) == "nobody", "stopped, it holds nothing")
            lab.check(machine.unit("Result") == "success", "and ended well")


@story(timeout=180)
def story_life_under_the_unit(lab):
    """A whole life under the shipped unit: reload, hand-overs both ways, restart, stop and start. No request is lost in a
    hand-over, koid never dies, never two own an address, and the journal tells the cause of every change."""
    lb1, lb2 = lab.pair()
    lab.start(lb1, lb2)
    wait_for_standby(lab, lb1)
    asked = both(lab, [lb1, lb2])

    def planned(what, leader, deed):
        watch, began = lab.watch(VIP, timeout_ms=1000), time.monotonic()
        lab.run_for(0.3)
        deed()
        lab.wait_until(lambda: leader.role() == "master" and lab.master(VIP) == leader.name, 15, f"{leader.name} leads")
        lab.run_for(0.5)
        watch.end()
        nothing_lost(lab, watch, began, what)

    def reload():
        before = status_of(lb1)
        lb1.write("/etc/koi/koi.yaml", lb1.read("/etc/koi/koi.yaml").replace('"advskew": 0', '"advskew": 10'))
        lb1.systemctl("reload", "koi")
        lab.check(status_of(lb1) != before, "the new configuration is in use")

    planned("reload", lb1, reload)
    planned("step-down", lb2, lambda: lb1.run(["koi", "step-down", "51"]))
    planned("step-up", lb1, lambda: lb1.run(["koi", "step-up", "51"]))
    wait_for_standby(lab, lb1)
    bad = lb1.read("/etc/koi/koi.yaml").replace('"vips"', '"vipps"')
    good = lb1.read("/etc/koi/koi.yaml")
    lb1.write("/etc/koi/koi.yaml", bad)
    done = lb1.systemctl("reload", "koi", check=False)
    lab.check(done.returncode != 0 and lb1.unit("ActiveState") == "active", "a reload of a bad file is refused, the daemon goes on")
    lb1.write("/etc/koi/koi.yaml", good)
    planned("stop", lb2, lambda: lb1.systemctl("stop", "koi"))
    planned("start", lb1, lambda: lb1.systemctl("start", "koi"))
    wait_for_standby(lab, lb1)
    planned("restart", lb1, lambda: lb1.systemctl("restart", "koi"))
    never_two(lab, asked, planned=True)
    for machine in (lb1, lb2):
        lab.check(machine.unit("NRestarts") == "0", f"{machine.name}: koid never died")
        causes_are_told(lab, machine)
        events_are_explained(lab, machine)
    lb2.systemctl("stop", "koi")
    lb1.systemctl("stop", "koi")
    for machine in (lb1, lb2):
        left = machine.run(["nft", "list", "ruleset"]).stdout.strip()
        lab.check(not left and machine.pid("koid-worker") is None, f"{machine.name}, stopped, leaves no table and no process {left}")


def status_of(machine):
    return machine.status().get("configured"), machine.status().get("configuration")


@story(timeout=90)
def story_unit_that_systemd_approves(lab):
    """On an installed machine `systemd-analyze verify` has nothing to say about the unit, and its exposure is 2.5 at most."""
    lb1 = lab.machine("lb1", koi=True)
    said = lb1.run(["systemd-analyze", "verify", "koi.service"], check=False)
    lab.check(said.returncode == 0 and not said.stderr.strip(), f"verify: {said.returncode} {said.stderr.strip()}")
    exposure = lb1.run(["systemd-analyze", "security", "--no-pager", "--threshold=25", "koi.service"], check=False)
    lab.check(exposure.returncode == 0, exposure.stdout.strip().splitlines()[-1])
