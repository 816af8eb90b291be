"""The authenticated trailer: what a stranger who hears everything does to plain CARP he cannot do to Koi with `auth: require`."""

import json
import os
import random
import re
import shutil
import time
from collections import Counter
from pathlib import Path

from adverts import Ear, Mouth, advert, edited, is_genuine, trailer_in, with_trailer
from lab import story
from nodes import (FAST, FAST_BACKUP, VIP, VIP_6, Dark, became_master, boot, cpu_seconds, figures, group, role, rounds, start_again,
                   status, wait_for_master)

VIPS = (f"{VIP}/24", f"{VIP_6}/64")
KEY, SECOND_KEY, GUESSED = "the first of the keys of this lab", "the second key of this lab, 32 or more", "not one of the keys of this lab"
LATE = 1.2  # a node counts at once and says so within a second
FORGED = int(os.environ.get("KOI_FORGED", 20_000))


def pair(lab, auth="require", left=FAST, right=FAST_BACKUP, key=KEY):
    """Two nodes that share a key; left leads."""
    keys = {1: key}
    nodes = (lab.node("left", number=1, vips=VIPS, config={"carp": left}, auth=auth, auth_keys=keys),
             lab.node("right", number=2, vips=VIPS, config={"carp": right}, auth=auth, auth_keys=keys))
    wait_for_master(lab, "left")
    lab.wait_until(lambda: role(nodes[1]) == "backup", 5, "right listens")
    return nodes


def refusals(node, vhid=51):
    counted = group(node, vhid).get("adverts", {"refused": {}})["refused"]
    return Counter({reason: count for reason, count in counted.items() if count})


def accepted(node):
    return group(node)["adverts"]["accepted"]


def log_about(node, reason):
    return [line for line in node.koid.text().splitlines() if "advert_refused" in line and f"reason={reason}" in line]


def sources_of(node):
    """The addresses a node speaks from: the IPv4 one and the link-local one."""
    return {node.address()} | {one for one in node.addresses("eth0") if one.startswith("fe80:")}


# ---- The stranger ------------------------------------------------------------------------------------------------------------

class Attacker:
    """Hears what a master says and says it again: as it was, or edited where the digest of CARP covers nothing. Has no key.

    Who is attacked, and whether with trailers, he does not ask: the same is said to everybody.
    """

    def __init__(self, lab):
        self.lab, self.host = lab, lab.host("attacker", number=66)
        self.ear, self.mouth = Ear(self.host), Mouth(self.host)
        self.said = 0

    def record(self, master):
        """The newest genuine advert of each family: [(source, payload)]."""
        sources, began = sources_of(master), time.monotonic()
        families = {4, 6} if master.holds(VIP_6) else {4}

        def newest():
            return {one[2]: one[3]["payload"] for one in self.ear.since(began) if one[2] in sources and one[3]["advbase"] != 255}
        self.lab.wait_until(lambda: {6 if ":" in one else 4 for one in newest()} == families, 5, f"{master.name} is heard")
        return list(newest().items())

    def own(self, version):
        return next(iter(one for one in sources_of(self.host) if (":" in one) == (version == 6)))

    def say(self, recorded, **edit):
        """Every recorded advert: from its own source and from ours; whole, cut to the 36 bytes, and with a newer number."""
        for source, payload in recorded:
            bold = edited(payload, **edit)
            newer = edited(payload, counter=int.from_bytes(payload[8:16]) + 60_000_000 & (1 << 64) - 1, **edit)
            for one in {bold, bold[:36], newer}:
                for who in (source, self.own(6 if ":" in source else 4)):
                    self.mouth.say_as(one, who)
                    self.said += 1

    def go_on(self, seconds, every, recorded, until=lambda: False, **edit):
        """Says it at a beat, and returns how often each state was seen meanwhile: {"left": 120, "left and right": 3}."""
        seen, began, due = Counter(), time.monotonic(), 0.0
        while time.monotonic() - began < seconds and not until():
            if time.monotonic() - began >= due:
                self.say(recorded, **edit)
                due += every
            seen[self.lab.master(VIP)] += 1
            time.sleep(0.005)
        return dict(seen)


def attack(lab, attacker, master, backup, patience, beat, between=lambda: None):
    """The three attacks of whoever hears one advert. What became of the address under each: {attack: {state: how often}}.

    patience    how long the backup waits for a dead master, generously
    """
    outcome = {}
    lab.say("an advert is said again with advskew 0: the master shall yield")
    outcome["deposed"] = attacker.go_on(max(3, patience), beat, attacker.record(master), advskew=0)
    between()
    lab.say("an advert is said again with advbase and advskew 255: the backup shall lead, too")
    outcome["doubled"] = attacker.go_on(max(3, patience), beat, attacker.record(master), advbase=255, advskew=255, demotion=255)
    between()
    lab.say("the adverts of a master that dies are said again: the backup shall sleep")
    recorded = attacker.record(master)
    master.kill_power()
    outcome["asleep"] = attacker.go_on(2 * patience, beat, recorded, until=lambda: backup.holds(VIP))
    for what, seen in outcome.items():
        lab.say(f"{what}? seen to hold the address: {seen}")
    return outcome


@story(needs={"ucarp"}, timeout=120)
def story_attacks_on_ucarp(lab):
    """Whoever hears one advert of a ucarp pair, and knows no password, can depose the master, make two, and keep the backup
    asleep when the master is dead."""
    left, right = lab.host("left", number=1), lab.host("right", number=2)
    lab.ucarp(left, VIP, advskew=20, preempt=True)
    wait_for_master(lab, "left")
    lab.ucarp(right, VIP, advskew=50)
    attacker = Attacker(lab)
    lab.run_for(4)
    lab.check(lab.master(VIP) == "left", "left leads, right listens")
    outcome = attack(lab, attacker, left, right, patience=4.5, beat=0.25, between=lambda: wait_for_master(lab, "left", timeout=20))
    lab.check("nobody" in outcome["deposed"], "an edited advert deposed the master, and nobody led")
    lab.check("left and right" in outcome["doubled"], "an edited advert made two masters")
    lab.check("right" not in outcome["asleep"], "the adverts of a dead master kept the backup asleep for 9 s")
    took = wait_for_master(lab, "right")
    lab.say(f"right leads {took:.2f} s after the attacker fell silent")


@story(needs={"koid"}, timeout=60)
def story_attacks_on_koi_without_trailer(lab):
    """The same against a pair of Koi that speaks plain CARP, where it works as well, because that is how CARP is."""
    left, right = pair(lab, auth="off")
    outcome = attack(lab, Attacker(lab), left, right, patience=1, beat=0.05, between=lambda: wait_for_master(lab, "left"))
    lab.check("nobody" in outcome["deposed"], "an edited advert deposed the master, and nobody led")
    lab.check("right" not in outcome["asleep"], "the adverts of a dead master kept the backup asleep")
    wait_for_master(lab, "right")


@story(needs={"koid"}, timeout=60)
def story_attacks_on_koi(lab):
    """The same against a pair of Koi with `auth: require`: no role changes, nobody sleeps, and the log says who tries."""
    left, right = pair(lab)
    attacker, client = Attacker(lab), lab.host("client")
    for source, payload in attacker.record(left):
        lab.check(is_genuine(payload, KEY, source) and not is_genuine(payload, GUESSED, source),
                  f"what left says from {source} has the trailer that the key gives: {trailer_in(payload)}")
    asked = [client.owners(vip, [left, right]) for vip in (VIP, VIP_6)]
    lab.run_for(0.5)
    before, began = accepted(right), time.monotonic()

    def between():
        lab.check([(role(node), became_master(node)) for node in (left, right)] == [("master", 1), ("backup", 0)],
                  "left leads, right listens, and it was never otherwise")
    outcome = attack(lab, attacker, left, right, patience=1, beat=0.05, between=between)
    took = time.monotonic()
    lab.check(set(outcome["deposed"]) == {"left"}, "an edited advert deposed nobody")
    lab.check(set(outcome["doubled"]) == {"left"}, "an edited advert made no second master")
    lab.check(wait_for_master(lab, "right") < 0.1, "the adverts of a dead master kept nobody asleep")
    for owners in asked:
        owners.end()
        died, served = owners.last_answer(left), owners.first_answer(right)
        lab.check(owners.doubly == 0, f"{owners.address} never had two owners, at {attacker.said} lies within {took - began:.1f} s")
        lab.check(died is not None and served is not None and served - died < 1.3,
                  f"{owners.address} was dark for {1000 * (served - died):.0f} ms when left died (limit of the formula: 938 ms)")
    lab.run_for(LATE)
    counted = refusals(right)
    lab.say(f"right refused: {dict(counted)}")
    for reason in ("wrong_tag", "replayed", "no_trailer"):
        told = log_about(right, reason)
        lab.check(counted[reason] > 20, f"right counted {counted[reason]} as {reason}")
        lab.check(1 <= len(told) <= 3, f"and its log has {len(told)} lines about that, no more")
        senders = {peer for line in told for peer in re.findall(r"peer=(\S+)", line)}
        lab.check(senders and senders <= sources_of(attacker.host) | sources_of(left),
                  f"which name the source: {told[0]}")
    genuine = [one for one in attacker.ear.since(began - LATE) if one[2] in sources_of(left)]
    believed = accepted(right) - before
    lab.check(0 < believed <= len(genuine), f"left said {len(genuine)} adverts meanwhile, right accepted {believed}, and nothing else")


# ---- A flood -----------------------------------------------------------------------------------------------------------------

def lies(recorded, left, number=2000):
    """Frames without a valid trailer: forged, edited, repeated, truncated, in turns. {reason: how many}, [frame]."""
    from adverts import frame
    chance, made = random.Random(51), []
    sender = trailer_in(recorded[0][1])["sender"]
    for n in range(number):
        source, payload = recorded[n % len(recorded)]
        version = 6 if ":" in source else 4
        stranger = f"fe80::{chance.randrange(1, 1 << 16):x}" if version == 6 else f"10.77.0.{chance.randrange(3, 200)}"
        far = int(time.time() * 1e6) + chance.randrange(1, 1 << 40)
        best = advert(advbase=0, advskew=0, addresses=(VIP, VIP_6), counter=far.to_bytes(8))
        kinds = [
            lambda: (with_trailer(best, GUESSED, source, sender=sender, flags=("clock",)), source),
            lambda: (with_trailer(best, GUESSED, stranger, sender=chance.getrandbits(64)), stranger),
            lambda: (with_trailer(best, GUESSED, stranger, key_id=chance.randrange(2, 256)), stranger),
            lambda: (edited(payload, counter=far, advskew=0), source),
            lambda: (edited(payload, advbase=255, advskew=255), source),
            lambda: (payload, source),
            lambda: (payload, stranger),
            lambda: (payload[:36], chance.choice((source, stranger))),
            lambda: (payload[:chance.randrange(36)], stranger),
            lambda: (payload[:chance.randrange(41, len(payload))], stranger),
            lambda: (advert(advbase=0, advskew=0, password="guessed", addresses=(VIP, VIP_6)), stranger),
        ]
        made.append(frame(*kinds[n // 2 % len(kinds)]()))
    return made


def judged(node):
    return sum(refusals(node).values()) + accepted(node)


@story(needs={"koid"}, timeout=60 + FORGED // 10_000, quiet=True)
def story_flood_of_lies(lab):
    """Forged, edited, repeated and truncated adverts as fast as they can be said (KOI_FORGED of them): none is believed, the
    master speaks in time, and each costs little."""
    left, right = pair(lab)
    attacker = Attacker(lab)
    recorded = attacker.record(left)
    file = attacker.host.new_file("lies", ".hex")
    file.write_text("\n".join(one.hex() for one in lies(recorded, left)))
    lab.run_for(2)
    nodes = (left, right)
    before = {node: (accepted(node), judged(node), cpu_seconds(node)) for node in nodes}
    counted = {node: refusals(node) for node in nodes}
    began = time.monotonic()
    flood = attacker.host.start(["/usr/bin/python3", Path(__file__).parents[1] / "flood.py", "eth0", file, FORGED])
    lab.check(flood.wait(timeout=20 + FORGED / 5000) == 0, "all were said")
    ended = time.monotonic()
    told = json.loads(flood.text())
    lab.say(f"{told['said']:,} lies within {told['seconds']:.2f} s: {told['said'] / told['seconds']:,.0f} a second")
    lab.run_for(2.5)
    heard = attacker.ear.since(began - 2.5)
    for version in (4, 6):
        said = [one[0] for one in heard if one[2] in sources_of(left) and (":" in one[2]) == (version == 6)]
        gaps = [later - one for one, later in zip(said, said[1:])]
        lab.check(gaps and max(gaps) < 0.45, f"left's adverts over IPv{version} went on: {figures(gaps)} (its beat is 234 ms)")
    genuine = len([one for one in heard if one[2] in sources_of(left)])
    for node in nodes:
        believed, all_judged, used = (now - then for now, then in zip((accepted(node), judged(node), cpu_seconds(node)), before[node]))
        why = refusals(node) - counted[node]
        lab.say(f"{node.name} judged {all_judged:,} ({100 * all_judged / told['said']:.0f} %; the kernel drops what claims to be its own "
                f"and what finds no room) with {used:.2f} s of a processor within {ended - began:.2f} s: {1e6 * used / max(1, all_judged):.2f} µs each")
        lab.say(f"{node.name} refused {dict(why)}")
        lab.check(believed <= (genuine if node is right else 0),
                  f"{node.name} accepted {believed} adverts, of {genuine if node is right else 0} genuine ones")
        lab.check(sum(why.values()) > min(FORGED, 20_000) // 20, f"and judged {sum(why.values()):,} of the lies")
        for reason in ("wrong_tag", "no_trailer", "bad_trailer", "too_short", "unknown_key", *(["replayed"] if node is right else ["own_echo"])):
            lab.check(why[reason] > 0, f"{node.name} counted {why[reason]:,} as {reason}")
            lines = log_about(node, reason)
            lab.check(1 <= len(lines) <= 3 * (1 + int(ended - began) // 60), f"with {len(lines)} lines in its log")
    lab.check((became_master(left), became_master(right)) == (1, 0), "no role changed")
    lab.check(lab.master(VIP) == "left" and lab.master(VIP_6) == "left", "left holds the addresses")


# ---- Keys --------------------------------------------------------------------------------------------------------------------

@story(needs={"koid"}, timeout=60)
def story_auth_keys_are_changed(lab):
    """A second key is added and the first one removed, one node after the other, while both live: no role changes and nothing
    is refused; the new key signs only after a minute, or after a start."""
    left, right = pair(lab)
    nodes = (left, right)
    ear = Ear(lab.host("listener"))

    def keys_on_the_wire(node):
        began = time.monotonic()
        lab.wait_until(lambda: len([one for one in ear.since(began) if one[2] in sources_of(node)]) >= 4, 5, f"{node.name} is heard")
        return {trailer_in(one[3]["payload"])["key_id"] for one in ear.since(began) if one[2] in sources_of(node)}

    def tell(node, *numbers):
        config = json.loads(node.koid.config_file.read_text())
        config["carp"]["auth_keys"] = {number: str(node.koid.folder / f"auth-{number}.key") for number in numbers}
        node.koid.write_config(config)
        reloaded = len(node.koid.notices)
        node.koid.reload()
        lab.wait_until(lambda: [1 for _, notice in node.koid.notices[reloaded:] if "READY" in notice], 5, f"{node.name} has read it")
        node.say(f"has the keys {', '.join(map(str, numbers))}")
        lab.run_for(1.5)

    def all_is_well(what):
        for node in nodes:
            lab.check(not refusals(node), f"{what}: {node.name} refuses nothing")
        lab.check([(role(node), became_master(node)) for node in nodes] == [("master", 1), ("backup", 0)], "and no role changed")
    lab.check(keys_on_the_wire(left) == {1}, "left signs with key 1")
    for node in nodes:
        node.koid.write_auth_key(2, SECOND_KEY)
    tell(left, 1, 2)  # the wrong order, but within a minute
    lab.check(keys_on_the_wire(left) == {1}, "left has key 2, which right has not, and goes on to sign with key 1")
    all_is_well("one has two keys")
    tell(right, 1, 2)
    all_is_well("both have two keys")
    right.koid.stop()
    start_again(right)
    lab.wait_until(lambda: role(right) == "backup", 5, "right listens again")
    lab.run_for(1)
    all_is_well("right was started again")
    tell(left, 2)
    lab.check(keys_on_the_wire(left) == {2}, "left has no key 1 any more and signs with key 2")
    all_is_well("the master has key 2 alone")
    tell(right, 2)
    all_is_well("both have key 2 alone")
    left.koid.stop()
    wait_for_master(lab, "right")
    lab.check(keys_on_the_wire(right) == {2}, "left is stopped; right leads and signs with key 2")
    right.koid.write_auth_key(2, GUESSED)
    right.koid.reload()
    start_again(left)
    lab.wait_until(lambda: refusals(left)["wrong_tag"] > 3, 5, "another key under the same number is refused")
