"""Koi and Debian's ucarp in one election, in both roles.

ucarp is slow by nature: it looks at the clock in steps of its own advert, hears up to a second late, and says
nothing when it leaves. What is waited for here is therefore bounded generously; what Koi itself does is not.
"""

import time

from adverts import Ear
from lab import story
from nodes import VIP, Dark, boot, group, refused, role, trouble, wait_for_master

NEEDS = {"koid", "ucarp"}


@story(needs=NEEDS, timeout=90)
def story_ucarp_stands_by_for_koi(lab):
    """Koi leads, ucarp takes over when Koi's power is cut or Koi is stopped, and Koi takes the lead back."""
    koi = lab.node("koi", advskew=0)
    other, client = lab.host("ucarp"), lab.host("client")
    wait_for_master(lab, "koi")
    program = lab.ucarp(other, VIP, advskew=50)
    ear = Ear(client)
    lab.run_for(4.5)
    lab.check(lab.master(VIP) == "koi", "ucarp listens and lets Koi lead")
    lab.check(not ear.since(0, source=other.address()), "ucarp said nothing as long as Koi spoke")

    with Dark(client) as cut:
        koi.kill_power()
        wait_for_master(lab, "ucarp")
    lab.say(f"death of Koi: dark for {cut.seconds:.2f} s (ucarp's own 3.2 s and up to a second of its delay)")
    lab.check(cut.seconds < 7, "ucarp took over")

    boot(koi)
    with Dark(client, after=1) as back:
        took = wait_for_master(lab, "koi")
    lab.say(f"Koi preempts: it held the address after {took:.2f} s, dark for {1000 * back.seconds:.0f} ms")
    lab.check(role(koi) == "master", "Koi says it leads again")
    lab.check(back.seconds < 1.5, "the client was hardly left alone")

    with Dark(client) as stop:
        asked = time.monotonic()
        lab.check(koi.koid.stop() == 0, "Koi ends with 0")
        wait_for_master(lab, "ucarp")
    bow_out = ear.since(asked, source=koi.address(), advbase=255, advskew=255)
    lab.check(len(bow_out) >= 2, "Koi said twice that it leaves")
    lab.say(f"planned stop of Koi: dark for {stop.seconds:.2f} s until ucarp has read it")
    lab.check(stop.seconds < 5, "ucarp took over from a Koi that was stopped")
    lab.check(program.alive(), "ucarp is still there")


@story(needs=NEEDS, timeout=90)
def story_koi_stands_by_for_ucarp(lab):
    """ucarp leads, Koi takes over when ucarp's power is cut, and lets ucarp have the lead back when that preempts."""
    ucarp = lab.host("ucarp")
    lab.ucarp(ucarp, VIP, advskew=0, preempt=True)
    koi = lab.node("koi", advskew=50)
    client = lab.host("client")
    wait_for_master(lab, "ucarp")
    lab.wait_until(lambda: group(koi).get("master") == ucarp.address(), 5, "Koi follows ucarp")
    lab.run_for(3)
    lab.check(lab.master(VIP) == "ucarp" and role(koi) == "backup", "Koi listens and lets ucarp lead")

    with Dark(client) as cut:
        ucarp.kill_power()
        wait_for_master(lab, "koi")
    lab.say(f"death of ucarp: dark for {1000 * cut.seconds:.0f} ms (limit of the formula: 3.195 s)")
    lab.check(cut.seconds <= 3.4, "Koi answered within its formula")

    ucarp.power_on()
    with Dark(client, after=1) as back:
        lab.ucarp(ucarp, VIP, advskew=0, preempt=True)
        wait_for_master(lab, "ucarp")
    lab.say(f"ucarp preempts: dark for {1000 * back.seconds:.0f} ms")
    lab.check("better claim" in group(koi)["because"], f"Koi says why it yielded: {group(koi)['because']}")
    lab.check(back.seconds < 1.5, "the client was hardly left alone")

    before = time.monotonic()
    with Dark(client) as stop:
        ucarp.processes[-1].stop()
        wait_for_master(lab, "koi")
    lab.say(f"ucarp is stopped, which it never announces: dark for {stop.seconds:.2f} s")
    lab.check(time.monotonic() - before < 6, "Koi took over")


@story(needs=NEEDS, timeout=60)
def story_ucarp_without_preempt_stays(lab):
    """A ucarp that does not preempt leaves Koi in the lead although its skew is smaller; Koi does likewise."""
    koi = lab.node("koi", advskew=50)
    wait_for_master(lab, "koi")
    ucarp = lab.host("ucarp")
    lab.ucarp(ucarp, VIP, advskew=0)
    patient = lab.host("led-by-ucarp")
    lab.ucarp(patient, "10.77.0.101", vhid=52, advskew=50)
    lab.wait_until(lambda: patient.holds("10.77.0.101"), 10, "ucarp leads vhid 52")
    modest = lab.node("modest", vips=("10.77.0.101/24",), vhid=52, advskew=0, preempt=False)
    lab.wait_until(lambda: role(modest, 52) == "backup", 5, "Koi without preempt listens")
    lab.run_for(5)
    lab.check(lab.master(VIP) == "koi", "Koi keeps vhid 51")
    lab.check(lab.master("10.77.0.101") == "led-by-ucarp", "ucarp keeps vhid 52")


@story(needs=NEEDS, timeout=60)
def story_ucarp_ties(lab):
    """With equal skews the source address decides, the last octet first, as ucarp has it; whoever Koi is."""
    cases = [("10.77.0.21/24", "10.77.0.22/24", "koi"),
             ("10.77.0.24/24", "10.77.0.23/24", "ucarp"),
             ("10.77.1.1/16", "10.77.0.2/16", "koi"),     # read first octet first, 10.77.0.2 would stay
             ("10.77.0.4/16", "10.77.1.3/16", "ucarp")]
    pairs = []
    for n, (ours, theirs, winner) in enumerate(cases):
        length, vip, vhid = ours.split("/")[1], f"10.77.0.{160 + n}", 60 + n
        koi = lab.node(f"koi-{n}", vips=(f"{vip}/{length}",), vhid=vhid, advskew=20, addresses=[ours])
        ucarp = lab.host(f"ucarp-{n}", addresses=[theirs])
        ucarp.mute()
        ucarp.deafen()
        lab.ucarp(ucarp, vip, vhid=vhid, advskew=20, prefix=length)
        pairs.append((vip, koi, ucarp, koi if winner == "koi" else ucarp))
    for vip, koi, ucarp, _ in pairs:
        lab.wait_until(lambda: lab.master(vip) == f"{koi.name} and {ucarp.name}", 15, f"both lead, apart: {vip}")
    for _, _, ucarp, _ in pairs:
        ucarp.heal()
    for vip, _, _, winner in pairs:
        wait_for_master(lab, winner.name, vip)
    lab.run_for(2.5)
    for vip, koi, ucarp, winner in pairs:
        lab.check(lab.master(vip) == winner.name,
                  f"Koi at {koi.address()} met ucarp at {ucarp.address()}: {winner.address()} stays")


@story(needs=NEEDS, timeout=60)
def story_ucarp_with_another_password(lab):
    """Another password: refused, counted, logged, and said as a trouble, because there are two masters now."""
    koi = lab.node("koi", advskew=0, key="the right one")
    ucarp = lab.host("ucarp")
    lab.ucarp(ucarp, VIP, password="the wrong one", advskew=50)
    lab.wait_until(lambda: lab.master(VIP) == "koi and ucarp", 10, "both lead, because neither believes the other")
    lab.wait_until(lambda: refused(koi, "wrong_digest") >= 2, 5, "Koi counts what it refuses")
    sentence = lab.wait_until(lambda: trouble(koi, "peer_key"), 3, "Koi says it as a trouble") and trouble(koi, "peer_key")
    lab.say(f"trouble peer_key: {sentence}")
    lab.check("two masters" in sentence and "key_file" in sentence, "the trouble names the danger and the remedy")
    line = next((line for line in koi.koid.text().splitlines() if "another password" in line), "")
    lab.check(ucarp.address() in line, f"the log says who: {line}")
    text = koi.koid.koi("status").stdout
    lab.check("peer_key" in text, "koi status shows it")

    koi.koid.key_file.write_text("the wrong one")
    koi.koid.koi("reload")
    lab.wait_until(lambda: lab.master(VIP) == "koi", 10, "with one password on both, one leads")
    lab.wait_until(lambda: group(koi)["adverts"]["accepted"] > 0, 5, "and believes the other's last advert")
