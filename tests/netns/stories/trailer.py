"""The authenticated trailer: what a stranger does to plain CARP he cannot do to Koi with `auth: require`."""

import json
import os
import random
import re
import shutil
import time
from collections import Counter
from pathlib import Path

from adverts import PRESENCE, Ear, Mouth, advert, edited, frame, is_genuine, trailer_in, with_trailer
from lab import story
from nodes import (FAST, FAST_BACKUP, VIP, VIP_6, Dark, became_master, boot, cpu_seconds, figures, group, role, rounds, start_again,
                   status, trouble, wait_for_master)
from processes import AUTH_KEY

VIPS = (f"{VIP}/24", f"{VIP_6}/64")
KEY, SECOND_KEY, THIRD_KEY = AUTH_KEY, "the second key of this lab's nodes", "the third key of this lab's nodes"
GUESSED = "a key that a stranger has guessed"
LATE = 1.2  # a node counts at once and says so within a second
FORGED, FORGERS = int(os.environ.get("KOI_FORGED", 20_000)), int(os.environ.get("KOI_FORGERS", 1))  # lies, and who says them


def signed(carp, auth="require"):
    """Settings of `carp`, with the trailer."""
    return {"carp": {**carp, "auth": auth, "auth_keys": {1: "{dir}/auth.key"}}}


def pair(lab, auth="require", left=FAST, right=FAST_BACKUP):
    """Two nodes that share a key; left leads."""
    nodes = (lab.node("left", number=1, vips=VIPS, config=signed(left, auth)),
             lab.node("right", number=2, vips=VIPS, config=signed(right, auth)))
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
        self.longest_pause = 0.0  # of the last attack: a backup wakes up in it, without merit

    def record(self, master):
        """The newest genuine advert of each family: [(source, payload)]."""
        sources, began = sources_of(master), time.monotonic()
        self.lab.run_for(0.1)  # an address of the other family may be on its way
        families = {4, 6} if master.holds(VIP_6) else {4}

        def newest():
            return {who: what["payload"] for _, _, who, what in self.ear.since(began) if who in sources and what["advbase"] < 255}
        self.lab.wait_until(lambda: {6 if ":" in one else 4 for one in newest()} >= families, 5, f"{master.name} is heard")
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
        seen, began, due, said = Counter(), time.monotonic(), 0.0, time.monotonic()
        self.longest_pause = 0.0
        while time.monotonic() - began < seconds and not until():
            if time.monotonic() - began >= due:
                self.longest_pause = max(self.longest_pause, time.monotonic() - said)
                self.say(recorded, **edit)
                due, said = due + every, time.monotonic()
            seen[self.lab.master(VIP)] += 1
            time.sleep(0.005)
        self.longest_pause = max(self.longest_pause, time.monotonic() - said)
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
    outcome = attack(lab, attacker, left, right, patience=4.5, beat=0.25,
                     between=lambda: wait_for_master(lab, "left", timeout=20))
    lab.check("nobody" in outcome["deposed"], "an edited advert deposed the master, and nobody led")
    lab.check("left and right" in outcome["doubled"], "an edited advert made two masters")
    lab.check("right" not in outcome["asleep"], "the adverts of a dead master kept the backup asleep for 9 s")
    took = wait_for_master(lab, "right")
    lab.say(f"right leads {took:.2f} s after the attacker fell silent")


@story(needs={"koid"}, timeout=60)
def story_attacks_on_koi_without_trailer(lab):
    """The same against a pair of Koi that speaks plain CARP, where it works as well, because that is how CARP is."""
    left, right = pair(lab, auth="off")
    attacker = Attacker(lab)
    outcome = attack(lab, attacker, left, right, patience=1, beat=0.05, between=lambda: wait_for_master(lab, "left"))
    lab.check("nobody" in outcome["deposed"], "an edited advert deposed the master, and nobody led")
    # On a machine that lets the attacker rest for longer than the backup is patient, the backup rightly wakes up.
    lab.check("right" not in outcome["asleep"] or attacker.longest_pause > 0.5,
              f"the adverts of a dead master kept the backup asleep (none for {1000 * attacker.longest_pause:.0f} ms at most)")
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
    lab.check_soon(wait_for_master(lab, "right"), 0.1, "the adverts of a dead master kept nobody asleep")
    lab.run_for(0.5)  # it answers now, and is asked
    for owners in asked:
        owners.end()
        died, served = owners.last_answer(left), owners.first_answer(right)
        lab.check(owners.doubly == 0, f"{owners.address} never had two owners ({attacker.said} lies within {took - began:.1f} s)")
        lab.check(died is not None and served is not None, "left has answered, and right has")
        lab.check(served - died < 1.3,
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
    lab.check(0 < believed <= len(genuine), f"left said {len(genuine)} adverts meanwhile; right accepted {believed}, and no others")


@story(needs={"koid", "nftables"}, timeout=60)
def story_a_hand_over_said_again(lab):
    """What was said when a master handed over, said again, makes nobody lead and nobody yield; nor does a forged word to go."""
    left, right = pair(lab)
    attacker, client = Attacker(lab), lab.host("client")
    began = time.monotonic()
    left.koid.koi("step-down", "51")
    wait_for_master(lab, "right")
    left.koid.koi("step-up", "51")
    wait_for_master(lab, "left")
    lab.wait_until(lambda: role(right) == "backup", 5, "right listens again")
    lab.run_for(1)
    nodes = {source: node for node in (left, right) for source in sources_of(node)}
    recorded = [(one[2], one[3]["payload"]) for one in attacker.ear.since(began) if one[2] in nodes]
    flags = {nodes[source].name: sorted(trailer_in(payload)["flags"] - {"clock"}) for source, payload in recorded
             if trailer_in(payload)["flags"] - {"clock"}}
    lab.check(set(flags) == {"left", "right"}, f"each handed over: {flags}")
    lab.check(not trouble(left, "lease") and not trouble(right, "lease"), "and neither had trouble with its lease")
    before = [(became_master(node), role(node)) for node in (left, right)]
    asked = [client.owners(vip, [left, right]) for vip in (VIP, VIP_6)]
    for _ in range(3):
        for source, payload in recorded:
            attacker.mouth.say_as(payload, source)
            other = next(trailer_in(one) for who, one in recorded if nodes[who] is not nodes[source])
            newer = edited(payload[:36], counter=int(time.time() * 1e6) + 60_000_000)
            for words in ({"go"}, {"leaving"}):
                attacker.mouth.say_as(with_trailer(newer, GUESSED, source, flags=words, to=other["sender"] & 0xFFFFFFFF,
                                                   sender=trailer_in(payload)["sender"], tag_is=payload[72:104]), source)
            lab.run_for(0.01)
    lab.run_for(LATE)
    for owners in asked:
        owners.end()
        lab.check(owners.doubly == 0 and not owners.intervals["right"], f"{owners.address}: right never answered")
        lab.check_soon(owners.longest_dark, 0.1, "and left always did")
    lab.check([(became_master(node), role(node)) for node in (left, right)] == before, "no role changed")
    counted = refusals(right)
    lab.check(counted["replayed"] > 20 and counted["wrong_tag"] > 20, f"right refused {dict(counted)}")


# ---- A flood -----------------------------------------------------------------------------------------------------------------

def lies(recorded, number=2800):
    """Frames without a valid trailer: forged, edited, repeated, truncated, in turns."""
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
            lambda: (with_trailer(best, GUESSED, source, sender=sender, flags=("leaving", "go"), to=far & 0xFFFFFFFF), source),
            lambda: (with_trailer(edited(best, first=PRESENCE), GUESSED, stranger, flags=("asks", "ready")), stranger),
            lambda: (edited(payload, counter=far, first=PRESENCE), chance.choice((source, stranger))),
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


def lost(node):
    """What found no room in a node's sockets for adverts, as the kernel counts it."""
    with node.inside():
        text = "".join(Path(f"/proc/thread-self/net/{name}").read_text() for name in ("raw", "raw6"))
    return sum(int(line.split()[-1]) for line in text.splitlines() if line.split()[1].endswith(":0070"))


@story(needs={"koid"}, timeout=60 + FORGED // 10_000, quiet=True)
def story_flood_of_lies(lab):
    """Forged, edited, repeated and truncated adverts as fast as they can be said (KOI_FORGED of them): none is believed, the
    master speaks in time, and each costs little."""
    left, right = pair(lab)
    attacker = Attacker(lab)
    recorded = attacker.record(left)
    file = attacker.host.new_file("lies", ".hex")
    file.write_text("\n".join(one.hex() for one in lies(recorded)))
    lab.run_for(2)
    nodes = (left, right)

    def measure(node):
        return accepted(node), judged(node), cpu_seconds(node)
    before = {node: measure(node) for node in nodes}
    counted = {node: refusals(node) for node in nodes}
    began = time.monotonic()
    floods = [attacker.host.start(["/usr/bin/python3", Path(__file__).parents[1] / "flood.py", "eth0", file, FORGED // FORGERS])
              for _ in range(FORGERS)]
    lab.check([flood.wait(timeout=20 + FORGED / 5000) for flood in floods] == [0] * FORGERS, "all were said")
    ended = time.monotonic()
    tales = [json.loads(flood.text()) for flood in floods]
    told = {"said": sum(tale["said"] for tale in tales), "seconds": max(tale["seconds"] for tale in tales)}
    lab.say(f"{told['said']:,} lies within {told['seconds']:.2f} s: {told['said'] / told['seconds']:,.0f} a second")
    lab.run_for(2.5)
    heard = attacker.ear.since(began - 2.5)
    genuine = len([one for one in heard if one[2] in sources_of(left)])
    for node in nodes:
        believed, all_judged, used = (now - then for now, then in zip(measure(node), before[node]))
        why, no_room = refusals(node) - counted[node], lost(node)
        cost = 1e6 * used / max(1, all_judged)
        lab.say(f"{node.name} judged {all_judged:,} with {used:.2f} s of a processor within {ended - began:.2f} s, "
                f"{cost:.2f} µs each; {no_room:,} found no room")
        lab.say(f"{node.name} refused {dict(why)}")
        lab.check(cost < 100, "each cost little")
        if node is right:  # left's kernel keeps away what bears left's own address
            lab.check(all_judged + no_room >= 0.98 * told["said"], "and none is missing")
        lab.check(believed <= (genuine if node is right else 0),
                  f"{node.name} accepted {believed} adverts, of {genuine if node is right else 0} genuine ones")
        lab.check(sum(why.values()) > min(FORGED, 20_000) // 20, f"and judged {sum(why.values()):,} of the lies")
        reasons = "wrong_tag", "no_trailer", "bad_trailer", "too_short", "unknown_key", "replayed" if node is right else "own_echo"
        for reason in reasons:
            lab.check(why[reason] > 0, f"{node.name} counted {why[reason]:,} as {reason}")
            lines = log_about(node, reason)
            lab.check(1 <= len(lines) <= 3 * (1 + int(ended - began) // 60), f"with {len(lines)} lines in its log")
    for version in (4, 6):
        said = [one[0] for one in heard if one[2] in sources_of(left) and (":" in one[2]) == (version == 6)]
        gaps = [later - one for one, later in zip(said, said[1:])]
        lab.check_soon(max(gaps), 0.7, f"left's adverts over IPv{version} went on: {figures(gaps)} (its beat is 234 ms)")
    lab.check((became_master(left), became_master(right)) == (1, 0), "no role changed")
    lab.check(lab.master(VIP) == "left" and lab.master(VIP_6) == "left", "left holds the addresses")


# ---- Keys --------------------------------------------------------------------------------------------------------------------

@story(needs={"koid"}, timeout=60)
def story_auth_keys_are_changed(lab):
    """Keys are added, removed and replaced under their number, one node after the other, while both live: no role changes and
    nothing is refused, because for a minute after a reload a node signs as before, and for two it believes the old keys."""
    left, right = pair(lab)
    nodes = (left, right)
    ear = Ear(lab.host("listener"))

    files = {1: "auth.key", 2: "auth-2.key"}

    def keys_on_the_wire(node):
        began = time.monotonic()
        sources = sources_of(node)

        def heard():
            return [trailer_in(one[3]["payload"]) for one in ear.since(began) if one[2] in sources]
        lab.wait_until(lambda: len(heard()) >= 4, 5, f"{node.name} is heard")
        return {trailer["key_id"] for trailer in heard()}

    def tell(node, *numbers):
        config = json.loads(node.koid.config_file.read_text())
        config["carp"]["auth_keys"] = {number: str(node.koid.folder / files[number]) for number in numbers}
        node.koid.write_config(config)
        told = len(node.koid.notices)
        node.koid.reload()
        lab.wait_until(lambda: any("READY" in notice for _, notice in node.koid.notices[told:]), 5, f"{node.name} has read it")
        node.say(f"has the keys {', '.join(map(str, numbers))}")
        lab.run_for(1.5)

    def all_is_well(what):
        for node in nodes:
            lab.check(not refusals(node), f"{what}: {node.name} refuses nothing")
        lab.check([(role(node), became_master(node)) for node in nodes] == [("master", 1), ("backup", 0)], "and no role changed")
    lab.check(keys_on_the_wire(left) == {1}, "left signs with key 1")
    for node in nodes:
        node.koid.write(files[2], SECOND_KEY, mode=0o600)
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
    lab.check(keys_on_the_wire(left) == {1}, "left has no key 1 any more, and signs with it until the minute is over")
    all_is_well("the master has key 2 alone")
    tell(right, 2)
    all_is_well("both have key 2 alone")
    for node in nodes:
        node.koid.write(files[2], THIRD_KEY, mode=0o600)
        tell(node, 2)
        all_is_well(f"{node.name} has another key under the same number")
    left.koid.stop()
    wait_for_master(lab, "right")
    lab.check(keys_on_the_wire(right) == {2}, "left is stopped; right leads and signs with key 2")
    left.koid.write(files[2], GUESSED, mode=0o600)
    start_again(left)
    lab.wait_until(lambda: refusals(left)["wrong_tag"] > 3, 5, "a node that starts with another key refuses at once")
    lab.check("another key under the same id" in log_about(left, "wrong_tag")[0], "and the log says what may be the cause")
    lab.wait_until(lambda: any(one in (trouble(left, "trailer") or "") for one in sources_of(right)), 2,
                   "it is a trouble that names the other")
    lab.wait_until(lambda: trouble(left, "stranger"), 15, "both lead, and each sees that the other answers")
    lab.check("see the trouble trailer 51 wrong_tag" in trouble(left, "stranger"), "which may be a peer, and left says so")


# ---- With a neighbour that speaks plain CARP ---------------------------------------------------------------------------------

@story(needs={"koid", "ucarp"}, timeout=90)
def story_trailer_beside_ucarp(lab):
    """A Koi with `auth: prefer` and a ucarp elect as ever: ucarp hears the longer adverts, Koi hears the plain ones."""
    koi = lab.node("koi", advskew=50, config=signed({}, "prefer"))
    wait_for_master(lab, "koi")
    ucarp = lab.host("ucarp")
    program = lab.ucarp(ucarp, VIP, advskew=0)
    ear = Ear(lab.host("client"))
    lab.run_for(6)
    said = [one[3]["payload"] for one in ear.since(0, source=koi.address())]
    lab.check(said and all(is_genuine(one, KEY, koi.address()) for one in said), f"Koi said {len(said)} adverts with a trailer")
    silent = not ear.since(0, source=ucarp.address())
    lab.check(lab.master(VIP) == "koi" and silent, "ucarp heard them: it listens and says nothing")
    koi.kill_power()
    took = wait_for_master(lab, "ucarp")
    lab.say(f"death of Koi: ucarp leads after {took:.2f} s")
    boot(koi)
    lab.wait_until(lambda: group(koi).get("master") == ucarp.address(), 10, "Koi follows ucarp")
    lab.run_for(4)
    lab.check(lab.master(VIP) == "ucarp" and role(koi) == "backup", "Koi listens and lets ucarp lead")
    lab.check(not refusals(koi) and status(koi)["troubles"] == [], "it refuses nothing and has no trouble")
    program.kill()
    ucarp.kill_power()
    took = wait_for_master(lab, "koi")
    lab.check(took < 3.4, f"death of ucarp: Koi leads after {took:.2f} s (limit of the formula: 3.195 s)")


@story(needs={"koid"}, timeout=90)
def story_a_koi_is_not_spoken_for(lab):
    """With `auth: prefer` nobody speaks without a trailer in the name of a Koi that showed one; and with `legacy_peers` nobody
    else does, either. Without that list the mode is no stronger than plain CARP."""
    left, right = pair(lab, auth="prefer")
    nodes, attacker = (left, right), Attacker(lab)
    recorded = attacker.record(left)
    attacker.mouth.say_as(edited(recorded[0][1][:36], advbase=255, advskew=255), recorded[0][0])  # the first word may be lost

    def lie(names_of, **edit):
        """A cut and edited advert, from left's addresses or from the attacker's."""
        for source, payload in recorded:
            own = attacker.own(6 if ":" in source else 4)
            attacker.mouth.say_as(edited(payload[:36], **edit), source if names_of is left else own)

    def all_is_well():
        lab.check([(role(node), became_master(node)) for node in nodes] == [("master", 1), ("backup", 0)], "no role changed")
    before = refusals(right)["no_trailer"]
    for edit in ({"advbase": 255, "advskew": 255, "demotion": 255}, {"advskew": 0}, {}):
        for _ in range(10):
            lie(left, **edit)
            lab.run_for(0.05)
    lab.run_for(LATE)
    counted = refusals(right)["no_trailer"] - before
    lab.check(counted >= 60, f"right refused {counted} adverts without a trailer, of 60 in left's name")
    all_is_well()
    left.kill_power()
    began = time.monotonic()
    while time.monotonic() - began < 3 and not right.holds(VIP):
        lie(left)
        lab.run_for(0.05)
    took = time.monotonic() - began
    lab.check(right.holds(VIP), f"left dies: right leads {took:.2f} s later, although left's adverts are heard, cut")
    boot(left)
    wait_for_master(lab, "left")

    lie(attacker, advskew=0)
    lab.wait_until(lambda: role(left) == "backup", 1, "a stranger in his own name is heard as plain CARP, and deposes left")
    for node in nodes:
        config = json.loads(node.koid.config_file.read_text())
        config["carp"]["legacy_peers"] = ["10.77.0.9"]
        node.koid.write_config(config)
        node.koid.koi("reload")
        node.say("knows its legacy peers")
    wait_for_master(lab, "left")
    lab.run_for(LATE)
    before = [became_master(node) for node in nodes]
    for _ in range(20):
        lie(attacker, advskew=0)
        lab.run_for(0.05)
    lab.run_for(LATE)
    lab.check(role(left) == "master" and [became_master(node) for node in nodes] == before, "with legacy_peers nobody hears him")
    lab.check(all(refusals(node)["no_trailer"] >= 40 for node in nodes), "both count what they refuse")


# ---- What a node remembers ---------------------------------------------------------------------------------------------------

def identity(node):
    """The sender id in a node's file."""
    found = re.search(r"^sender (\w+)$", (node.koid.folder / "state" / "counter").read_text(), re.M)
    return int(found[1], 16) if found else None


@story(needs={"koid"}, timeout=120)
def story_the_counter_is_damaged(lab):
    """A node whose file `counter` makes no sense says so, keeps it aside, goes on with a new identity, and is elected; one whose
    file is whole keeps its identity."""
    left, right = pair(lab)
    ear = Ear(lab.host("listener"))
    counter = left.koid.folder / "state" / "counter"
    lab.wait_until(counter.exists, 3, "left has written its file")
    whole = counter.read_text()
    lab.say(f"the file: {whole.split()}")
    damages = {
        "whole": None,
        "empty": "",
        "cut": whole[:len(whole) // 2],
        "zeros": "\0" * len(whole),
        "at its end": re.sub(r"high \d+", f"high {1 << 63}", whole),
        "something else": "sender: 1\n",
    }
    for what, text in damages.items():
        left.koid.stop()
        wait_for_master(lab, "right")
        known = identity(left)
        if text is not None:
            counter.write_text(text)
        start_again(left)
        began = time.monotonic()
        wait_for_master(lab, "left")
        lab.wait_until(lambda: ear.since(began, source=left.address()), 3, "left speaks")
        said = ear.since(began, source=left.address())[-1][3]["payload"]
        lab.check(is_genuine(said, KEY, left.address()), f"the file is {what}: left leads")
        if text is None:
            lab.check(trailer_in(said)["sender"] == known, "with the identity that it had")
            continue
        lab.check(trailer_in(said)["sender"] != known, "with a new identity")
        line = next((line for line in left.koid.text().splitlines() if "makes no sense" in line), "")
        lab.check(f"{counter} " in line and f"{counter}.damaged" in line, f"it says so: {line}")
        lab.check(Path(f"{counter}.damaged").read_text() == text, "and the file is kept as counter.damaged")
        lab.check("counter makes no sense" in left.koid.koi("events", "-o", "json").stdout, "koi events has it as well")
        lab.wait_until(lambda: counter.exists() and identity(left) == trailer_in(said)["sender"], 3, "it is written down")
    lab.check(role(right) == "backup", "right listens")
    lab.check(not refusals(right), f"and has refused nothing: {dict(refusals(right))}")
    left.koid.stop()
    heard = left.koid.folder / "state" / "heard"
    heard.unlink(missing_ok=True)
    (heard / "in the way").mkdir(parents=True)
    start_again(left)
    lab.wait_until(lambda: str(heard) in (trouble(left, "memory") or ""), 5, "a file that cannot be written is a warning")


@story(needs={"koid"}, timeout=60)
def story_a_cloned_node(lab):
    """Two nodes with the same identity, because one is a copy of the other: whoever hears of it takes another one, says so, and
    keeps it; the master leads on, alone."""
    left, right = pair(lab)
    counter = left.koid.folder / "state" / "counter"
    copy = right.koid.folder / "state" / "counter"
    lab.wait_until(counter.exists, 3, "left has written its file")
    right.koid.stop()
    shutil.copy(counter, copy)
    owners = lab.host("client").owners(VIP, [left, right])
    start_again(right)
    lab.wait_until(lambda: log_about(right, "cloned"), 5, "right speaks of a clone")
    line = log_about(right, "cloned")[0]
    lab.check(any(f"peer={source}" in line for source in sources_of(left)) and "takes a new identity" in line, line)
    lab.wait_until(lambda: refusals(right)["cloned"] > 0, 3, "and counts it")
    lab.run_for(5)
    owners.end()
    lab.check(owners.doubly == 0 and became_master(left) == 1, "left led on, alone")
    counted = refusals(right)["cloned"]
    right.koid.stop()
    start_again(right)
    lab.wait_until(lambda: role(right) == "backup", 5, "right listens again")
    lab.run_for(3)
    lab.check(not refusals(right) and not refusals(left), f"what was refused {counted} times is heard since, and after a start, too")


@story(needs={"koid"}, timeout=60)
def story_a_recording_after_a_restart(lab):
    """A node that was stopped and started again, or whose vhid was taken away by a reload and brought back, does not believe
    recordings of what it heard before."""
    left, right = pair(lab)
    attacker = Attacker(lab)
    began = time.monotonic()
    lab.run_for(3)
    sources = sources_of(left)
    recorded = [(one[0] - began, one[2], one[3]["payload"]) for one in attacker.ear.since(began) if one[2] in sources]
    whole = json.loads(right.koid.config_file.read_text())
    left.kill_power()
    wait_for_master(lab, "right")

    def start_anew():
        right.koid.stop()
        start_again(right)

    def reload_twice():
        other = [{"vhid": 52, "addresses": ["10.77.0.152/24"]}]
        for vips in (other, whole["vips"]):
            right.koid.write_config({**whole, "vips": vips})
            right.koid.koi("reload")
        right.say("had no vhid 51 for a moment")
    for forget in (start_anew, reload_twice):
        forget()
        lab.wait_until(lambda: role(right) == "backup", 5, "right listens")
        before, played = accepted(right), time.monotonic()
        for when, source, payload in recorded:
            lab.run_for(max(0, played + when - time.monotonic()))
            attacker.mouth.say_as(payload, source)
            if right.holds(VIP):
                break
        lab.check(right.holds(VIP), f"right leads {time.monotonic() - played:.2f} s later, though left's adverts are played back")
        lab.run_for(LATE)
        lab.check(accepted(right) == before, "it believed nothing of it")
        lab.check(refusals(right)["replayed"] > 4, f"and knew it for what it is: {dict(refusals(right))}")


# ---- Speed -------------------------------------------------------------------------------------------------------------------

@story(needs={"koid"}, timeout=60 + 10 * rounds(3), quiet=True)
def story_interval(lab):
    """With `interval: 100ms` the backup takes over within 0.6 s of the master's death although advbase is 1 s, and there never
    are two owners."""
    carp = {"advbase": 1, "interval": "100ms"}
    left, right = pair(lab, left={**carp, "advskew": 0}, right={**carp, "advskew": 100})
    client = lab.host("client")
    ear = Ear(lab.host("listener"))
    died = []
    for n in range(rounds(3)):
        lab.run_for(1)
        began = time.monotonic() - 1
        said = [one for one in ear.since(began, source=left.address())]
        lab.check(8 <= len(said) <= 12, f"left says {len(said)} adverts in a second")
        lab.check({(one[3]["advbase"], trailer_in(one[3]["payload"])["interval_ms"]) for one in said} == {(1, 100)},
                  "whose advbase is 1 s, and whose trailer says 100 ms")
        asked = [client.owners(vip, [left, right]) for vip in (VIP, VIP_6)]
        with Dark(client, before=0.1 + 0.03 * n) as dark:
            left.kill_power()
            wait_for_master(lab, "right")
        for owners in asked:
            owners.end()
            lab.check(owners.doubly == 0, f"{owners.address} never had two owners")
            lab.check(owners.intervals["left"] and owners.intervals["right"], "but both one after the other")
        died.append(dark.seconds)
        boot(left)
        wait_for_master(lab, "left")
        lab.wait_until(lambda: role(right) == "backup", 5, "right listens again")
    lab.say(f"death of the master: dark for {figures(died)} (limit of the formula: 339 ms)")
    lab.check_soon(max(died), 0.6, "never dark for long")
