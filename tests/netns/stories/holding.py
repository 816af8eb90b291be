"""Holding an address: putting it back, letting go of it, and telling the neighbours."""

import json
import time

from adverts import Ear
from lab import story
from nftables import FAMILIES, has_table
from nodes import (FAST, FAST_BACKUP, VIP, VIP_6, Dark, became_master, figures, group, mac_of, metric, role, rounds, start_again,
                   status, trouble, wait_for_master)
from processes import BUILD


@story(needs={"koid"}, timeout=50 + 4 * rounds(3), quiet=True)
def story_vip_removed_by_somebody_else(lab):
    """An address that somebody else takes off the master is back, and announced, within 50 ms."""
    vips = {VIP: 24, VIP_6: 64}
    left = lab.node("left", vips=[f"{vip}/{length}" for vip, length in vips.items()], config={"carp": FAST})
    right = lab.node("right", vips=[f"{vip}/{length}" for vip, length in vips.items()], config={"carp": FAST_BACKUP})
    client = lab.host("client")
    ear = Ear(client)
    for vip in vips:
        wait_for_master(lab, "left", vip)
    lab.run_for(1)
    for vip, length in vips.items():
        away, announced, dark = [], [], []
        for _ in range(rounds(3)):
            with Dark(client, vip) as gap:
                removed = time.monotonic()
                left.run(f"ip addr del {vip}/{length} dev eth0")
                lab.wait_until(lambda: left.holds(vip) and ear.since(removed, "announced", vip), 2, f"{vip} is back and announced")
            gone = max(when for when, host, word, what in lab.address_changes if (host, word, what) == ("left", "-", vip))
            away.append(lab.away(left, vip))
            announced.append(ear.since(gone, "announced", vip)[0][0] - gone)
            dark.append(gap.seconds)
        lab.say(f"{vip} was away for {figures(away)}, announced after {figures(announced)}; the client: {figures(dark)}")
        lab.check_soon(max(away), 0.05, f"{vip} was never away for long")
        lab.check_soon(max(announced), 0.05, "and was announced at once")
        lab.check(ear.since(removed, "announced", vip)[-1][3] == mac_of(left), "at left's MAC")
    lab.check(became_master(right) == 0, "right saw nothing of it")
    lab.check("removed by somebody else" in left.koid.text(), "left says what happened")


@story(needs={"koid"}, timeout=60)
def story_interface_down_and_up(lab):
    """A master whose interface goes down lets go, the peer leads; when the interface is back, so is the master."""
    left = lab.node("left", vips=[f"{VIP}/24", f"{VIP_6}/64"], config={"carp": FAST})
    right = lab.node("right", vips=[f"{VIP}/24", f"{VIP_6}/64"], config={"carp": FAST_BACKUP})
    wait_for_master(lab, "left")
    lab.wait_until(lambda: role(right) == "backup", 5, "right listens")
    ways = (("the cable is pulled", left.unplug, left.plug_back, "eth0 is down"),
            ("the operator takes it down", lambda: left.run("ip link set eth0 down"), lambda: left.run("ip link set eth0 up"),
             "eth0 is down"),
            ("somebody flushes its addresses", lambda: left.run("ip addr flush dev eth0"),
             lambda: left.run("ip addr add 10.77.0.1/24 dev eth0"), "no address of its own"))
    for what, down, up, because in ways:
        lab.say(what)
        down()
        wait_for_master(lab, "right")
        lab.check(role(left) == "init", "left takes no part")
        lab.wait_until(lambda: trouble(left, "link"), 3, "and says so as a trouble")
        lab.check(because in trouble(left, "link"), f"with its cause: {trouble(left, 'link')}")
        up()
        wait_for_master(lab, "left")
        wait_for_master(lab, "left", VIP_6)
        lab.wait_until(lambda: trouble(left, "link") is None, 3, "the trouble is over")
    lab.say("it flaps, faster than right's patience")
    for _ in range(3):
        left.run("ip link set eth0 down; sleep 0.1; ip link set eth0 up; sleep 0.1")
    lab.wait_until(lambda: role(left) in ("backup", "master"), 5, "left takes part again")
    wait_for_master(lab, "left")
    lab.run_for(1.5)
    lab.check(lab.master(VIP) == "left", "one leads, and goes on")


@story(needs={"koid"}, timeout=60)
def story_interface_comes_late(lab):
    """An interface that is not there yet at the start, goes, and comes again as another one: the election waits for it."""
    left = lab.host("left")
    left.run("ip link del eth0")
    lab.koid(left, {"carp": {"interface": "late0", **FAST}, "vips": [{"vhid": 51, "addresses": [f"{VIP}/24"]}]}).wait_ready()
    lab.wait_until(lambda: role(left) == "init", 3, "without its interface it takes no part")
    lab.wait_until(lambda: "no interface late0" in (trouble(left, "link") or ""), 3, "and says what is missing")
    for turn in range(2):
        left.run("ip link add late0 type veth peer name other0; ip link set other0 up; ip link set late0 up; "
                 "ip addr add 10.77.0.1/24 dev late0")
        wait_for_master(lab, "left")
        lab.wait_until(lambda: status(left)["troubles"] == [], 3, "no trouble is left")
        if turn == 1:  # the other end of the cable is a stranger to nobody: it is in the same machine
            lab.run_for(3.5)
            lab.check(trouble(left, "stranger") is None, "left does not take itself for a stranger")
        left.say("its interface is removed")
        left.run("ip link del late0")
        lab.wait_until(lambda: role(left) == "init", 3, "it takes no part any more")
    lab.check(became_master(left) == 2, "it led each time")


@story(needs={"koid"}, timeout=60)
def story_stranger_has_the_vip(lab):
    """Somebody else on the wire answers for the address: Koi says which MAC, as a trouble with its remedy."""
    stranger = lab.host("stranger", number=9)
    stranger.run(f"ip addr add {VIP}/24 dev eth0")
    stranger.run(f"ip addr add {VIP_6}/64 dev eth0 nodad")
    left = lab.node("left", number=1, vips=[f"{VIP}/24", f"{VIP_6}/64"], config={"carp": FAST})
    lab.wait_until(lambda: left.holds(VIP), 10, "left takes the address, because clients wait for it")
    lab.wait_until(lambda: len(status(left, "peers").get("strangers", [])) == 2, 8, "left has found the stranger, for both families")
    found = status(left, "peers")["strangers"]
    lab.check({(one["vip"], one["mac"]) for one in found} == {(VIP, mac_of(stranger)), (VIP_6, mac_of(stranger))}, f"it names it: {found}")
    lab.wait_until(lambda: trouble(left, "stranger"), 3, "and says it as a trouble")
    lab.check("take the address off" in trouble(left, "stranger"), f"with its remedy: {trouble(left, 'stranger')}")
    lab.check(mac_of(stranger) in left.koid.koi("show", "troubles").stdout, "koi show troubles has it")


@story(needs={"koid"}, timeout=60)
def story_clean_stop(lab):
    """Koi that is stopped lets go of every address it took, and of nothing else."""
    vips = [f"{VIP}/24", "10.77.0.101/32", f"{VIP_6}/64"]
    left = lab.node("left", vips=vips, config={"carp": FAST})
    left.run("ip addr add 10.77.0.55/24 dev eth0")
    before = set(left.addresses()) - {vip.split("/")[0] for vip in vips}
    for vip in vips:
        lab.wait_until(lambda: left.holds(vip), 10, f"left holds {vip}")
    took = time.monotonic()
    lab.check(left.koid.stop() == 0, "koid ends with 0")
    lab.say(f"the stop took {1000 * (time.monotonic() - took):.0f} ms")
    lab.check(set(left.addresses()) == before, f"what is left is what was there before: {sorted(before)}")
    with left.inside():  # nobody ran `koid --withdraw`
        lab.check(not [family for family in FAMILIES if has_table(family, "koi")], "and no table of nftables")
    lab.check(not left.koid.socket.exists() or left.koid.koi("status", check=False).returncode == 3, "koi says nothing runs")


@story(needs={"koid"}, timeout=60)
def story_withdraw(lab):
    """After a death without a word the addresses are still there; koid --withdraw lets go of them, record or not."""
    left = lab.node("left", vips=[f"{VIP}/24", f"{VIP_6}/64"], config={"carp": FAST})
    left.run("ip addr add 10.77.0.55/24 dev eth0")

    def withdraw():
        return left.run([BUILD / "koid", "--withdraw"], environment={"RUNTIME_DIRECTORY": str(left.koid.folder / "run")})
    for record in (True, False):
        lab.wait_until(lambda: left.holds(VIP) and left.holds(VIP_6), 10, "left holds both addresses")
        left.koid.kill()
        lab.check(left.holds(VIP) and left.holds(VIP_6), "killed outright, it could not let go")
        if not record:
            (left.koid.folder / "run" / "held").unlink()
        done = withdraw()
        lab.say(f"koid --withdraw{'' if record else ', without the record'}: {done.stdout.strip()}")
        lab.check(not left.holds(VIP) and not left.holds(VIP_6), "both are gone")
        lab.check(left.holds("10.77.0.55") and left.holds("10.77.0.1"), "what was never Koi's is untouched")
        lab.check(VIP in done.stdout and VIP_6 in done.stdout, "it says what it let go of")
        lab.check(withdraw().stdout == "", "a second time there is nothing to do")
        if record:
            start_again(left)
    left.koid.config_file.unlink()
    lab.check(withdraw().returncode == 0, "it needs no configuration")


@story(needs={"koid", "nftables"}, timeout=90)
def story_a_speaker_that_systemd_starts_again(lab):
    """kill -9 of the speaker, koid --withdraw as after each stop of the unit, and koid a tenth of a second later: the address
    answers all the time. Where nobody starts it again its lease ends; with `lease: off` --withdraw takes it away at once."""
    left, right = lab.node("left", advskew=0), lab.node("right", advskew=100)
    client = lab.host("client")
    wait_for_master(lab, "left")
    lab.run_for(2)

    def die(result="signal"):
        left.koid.kill()
        return left.run([BUILD / "koid", "--withdraw"],
                        environment={"RUNTIME_DIRECTORY": str(left.koid.folder / "run"), "SERVICE_RESULT": result})
    for _ in range(rounds(3)):
        owners = client.owners(VIP, [left, right])
        lab.run_for(0.3)
        die()
        lab.run_for(0.1)
        start_again(left)
        lab.wait_until(lambda: role(left) == "master", 5, "left goes on")
        lab.run_for(1.5)
        owners.end()
        lab.check_soon(owners.longest_dark, 0.05, "somebody answered all the time")
        lab.check(not owners.intervals["right"], "and nobody else did")
    die("core-dump")
    lab.check(left.holds(VIP), "nobody starts it again: the address is left to its lease")
    wait_for_master(lab, "right")
    lab.run_for(1)
    lab.check(not left.holds(VIP), "and has ended")
    start_again(left)
    wait_for_master(lab, "left")
    lab.check(VIP in die("success").stdout and not left.holds(VIP), "after a stop it is taken away")
    config = json.loads(left.koid.config_file.read_text())
    left.koid.write_config({**config, "carp": {**config["carp"], "lease": "off"}})
    start_again(left)
    wait_for_master(lab, "left", timeout=15)
    lab.check(VIP in die().stdout and not left.holds(VIP), "without a lease it is taken away after a death, too")


@story(needs={"koid", "nftables"}, timeout=60)
def story_leases_are_made_ready(lab):
    """A standby makes the tables of its leases before it needs them. With `lease: off` there are none, and nothing that an earlier
    koid left in them silences an address."""
    left, right = lab.node("left", advskew=0), lab.node("right", advskew=100)
    client = lab.host("client")

    def tables(node):
        with node.inside():
            return [family for family in FAMILIES if has_table(family, "koi")]

    def write(lease):
        config = json.loads(left.koid.config_file.read_text())
        left.koid.write_config({**config, "carp": {**config["carp"], "lease": lease}})

    def answers(what):
        watch = client.watch(VIP, proto="ping", every_ms=5, timeout_ms=100)
        lab.run_for(0.5)
        watch.end()
        lab.check(watch.probes > 10 and not watch.failures, f"{what}: {VIP} answers")
    wait_for_master(lab, "left")
    lab.wait_until(lambda: role(right) == "backup", 5, "right listens")
    lab.check(became_master(right) == 0 and tables(right) == list(FAMILIES), "right never led, and could lease")
    lab.check(metric(right, "koi_lease_enforced") == 1, "and says so")

    write("off")
    left.koid.koi("reload")
    lab.wait_until(lambda: not tables(left), 2, "with lease: off left has no tables")
    lab.wait_until(lambda: metric(left, "koi_lease_enforced") is None, 2, "and does not say whether it could")
    answers("after the reload")
    write("auto")
    left.koid.koi("reload")
    lab.wait_until(lambda: tables(left), 2, "left leases again")
    left.koid.kill()
    write("off")
    start_again(left)
    lab.run_for(4)  # longer than the lease that was left
    lab.check(role(left) == "master" and became_master(right) == 0, "killed and started again with lease: off, left goes on as master")
    answers("after the start")
    lab.check(not tables(left), "without tables")


@story(needs={"koid"}, timeout=60)
def story_silent_cut_heals(lab):
    """When a cut that no link noticed heals, in one direction or both, the worse node goes and the better one announces itself:
    a client that believed the wrong one is answered again within a second."""
    left = lab.node("left", config={"carp": FAST})
    right = lab.node("right", config={"carp": FAST_BACKUP})
    client = lab.host("client")
    wait_for_master(lab, "left")
    lab.run_for(1)
    def cut_off():
        left.mute()
        left.deafen()
    ways = (("left cannot be heard", left.mute, left.heal), ("right cannot hear", right.deafen, right.heal),
            ("left neither hears nor is heard", cut_off, left.heal))  # it learns of right by right's last word only
    for what, cut, heal in ways:
        lab.say(what)
        cut()
        lab.wait_until(lambda: lab.master(VIP) == "left and right", 5, "both lead")
        lab.run_for(0.3)
        client.run(f"ip neigh replace {VIP} lladdr {mac_of(right)} dev eth0 nud reachable")
        with Dark(client, after=1.2) as dark:
            healed = time.monotonic()
            heal()
            wait_for_master(lab, "left")
            lab.say(f"right gave way after {1000 * (time.monotonic() - healed):.0f} ms")
        lab.say(f"the client, which believed right: dark for {1000 * dark.seconds:.0f} ms")
        lab.check(dark.seconds <= 1, "it was answered again within a second")
        words = client.run(["ip", "neigh", "show", VIP]).stdout
        lab.check(mac_of(left) in words, "and knows where the address is")
        lab.check((role(left), role(right)) == ("master", "backup"), "left leads, right listens")
    lab.check(became_master(left) == 1, "left led all the time")
    lab.check("better claim" in group(right)["because"], f"right says why it went: {group(right)['because']}")
