"""Words about pairs of machines that run Koi: patience, causes in the journal, explanations, hand-overs."""

import re

from nodes import VIP, VIP_6, status

__all__ = ["VIP", "VIP_6"]


def patience(advbase=1, advskew=100, interval=None):
    """How long a standby waits for a silent master, in seconds (carp/settings.h)."""
    return interval * (3 + advskew / 256) if interval else 3 * advbase + advskew / 256


def dark_limit(lab, seconds, since):
    """A client's darkness when a master falls silent: the standby's patience and 0.1 s. A patience that ended more than a quarter
    of a second late proves nothing and begins again (rule 8 of carp/machine.h): so on a machine that is that late."""
    return 0.1 + seconds + (seconds if lab.metronome.worst(since) > 0.2 else 0)


def wait_for_standby(lab, leader, timeout=15):
    lab.wait_until(lambda: any(one["standby"] for one in status(leader, "peers").get("peers", [])), timeout,
                   f"{leader.name} hears that somebody stands by")


def both(lab, machines):
    """Asks each machine for both addresses from now on."""
    return [lab.owners(vip, machines) for vip in (VIP, VIP_6)]


def never_two(lab, asked, planned=False):
    """Ends the asking and checks that there was no moment with two owners. In a planned hand-over the one who leaves answers
    until it has heard the other, for 15 ms at most (rule 14 of carp/machine.h)."""
    for owners in asked:
        owners.end()
        if planned:
            longest = max((until - since for since, until in owners.overlaps), default=0.0)
            slip = sum(lab.slip(since, until) for since, until in owners.overlaps)
            lab.check(longest <= 0.02 + slip, f"{owners.address}: both answered for {1000 * longest:.1f} ms at most in a hand-over")
        else:
            lab.check(owners.doubly == 0, f"{owners.address}: never two owners ({1000 * owners.doubly:.1f} ms)")


def nothing_lost(lab, watch, since, what):
    """Checks that every request was answered; one that was not is forgiven where the machines were kept waiting for longer than
    the client was in the dark."""
    slip, told = lab.slip(since), f"{what}: {watch.failures} of {watch.probes} requests lost"
    if watch.failures:
        told += f", dark for {watch.longest_dark:.3f} s; this machine kept the machines waiting for {slip:.3f} s meanwhile"
    lab.check(watch.failures == 0 or watch.longest_dark <= slip, told)


def causes_are_told(lab, machine):
    """Every role change is in the journal, one after the other, with its cause."""
    roles = {}
    for entry in machine.journal("role"):
        vhid, life = entry["KOI_VHID"], (entry["_BOOT_ID"], entry["_PID"])
        old, new, reason = entry["KOI_OLD"], entry["KOI_NEW"], entry.get("KOI_REASON", "")
        before = roles.get((life, vhid))
        lab.check(before in (None, old), f"{machine.name}: from {old} to {new} because: {reason}")
        if not reason:
            lab.check(False, f"{machine.name} tells why vhid {vhid} went from {old} to {new}")
        roles[life, vhid] = new
    now = machine.role()
    if roles and now != "unknown":
        lab.check(list(roles.values())[-1] == now, f"{machine.name}: the last of them led to {now}, which it is")


def events_are_explained(lab, machine):
    """`journalctl -x` says of each event of Koi's what happened and what to do next."""
    events = {entry["KOI_EVENT"] for entry in machine.journal() if "KOI_EVENT" in entry}
    lab.check(len(events) > 0, f"{machine.name} logged the events {', '.join(sorted(events))}")
    for event in sorted(events):
        said = machine.run(["journalctl", "-x", "-q", "--no-pager", "-n", "1", "-u", "koi", f"KOI_EVENT={event}"]).stdout
        lines = [line.removeprefix("░░").strip() for line in said.splitlines() if line.startswith("░░")]
        text = [line for line in lines if line and not line.startswith(("Subject:", "Defined-By:", "Support:", "Documentation:"))]
        what_next = re.search(r"`|\b(koid? -?\w|journalctl|ip |nft |systemctl|coredumpctl)", " ".join(text))
        if not (any(line.startswith("Subject: ") for line in lines) and what_next and "@KOI" not in "".join(lines)):
            lab.check(False, f"journalctl -x explains {event}:\n{said}")
    lab.check(True, f"{machine.name}: journalctl -x explains each of them")

