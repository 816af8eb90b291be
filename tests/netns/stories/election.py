"""Who leads: elections of koid with koid, and how long a client notices."""

import time

from adverts import Ear
from lab import story
from nodes import (FAST, FAST_BACKUP, VIP, VIP_6, Dark, became_master, boot, figures, group, role, rounds, start_again, status,
                   swallow_multicast, trouble, wait_for_master)


@story(needs={"koid"}, timeout=60)
def story_pair_elects(lab):
    """Two nodes that start together agree on one of them, and say so."""
    left = lab.node("left", advskew=0)
    right = lab.node("right", advskew=100)
    took = wait_for_master(lab, "left")
    lab.say(f"left leads {took:.2f} s after both were started")
    lab.wait_until(lambda: group(right).get("master") == left.address(), 3, "right follows left")
    lab.run_for(3)
    lab.check((role(left), role(right)) == ("master", "backup"), "left is master, right is backup")
    lab.check((became_master(left), became_master(right)) == (1, 0), "and it was never otherwise")
    lab.check(status(left)["troubles"] == [] and status(right)["troubles"] == [], "neither has a trouble")
    lab.check("master of 51" in left.koid.status_line and "backup of 51" in right.koid.status_line,
              f"they tell their service managers: {left.koid.status_line!r}, {right.koid.status_line!r}")


@story(needs={"koid"}, timeout=60 + 15 * rounds(2), quiet=True)
def story_power_cut(lab):
    """At one advert a second the backup answers within 3.2 s of the master's death, whenever that comes; and the master
    that comes back takes nothing away from the client."""
    left = lab.node("left", advskew=0)
    lab.node("right", advskew=10)
    client = lab.host("client")
    ear = Ear(client)
    wait_for_master(lab, "left")
    died, returned = [], []
    times = rounds(2)
    for n in range(times):
        with Dark(client) as cut:
            ear.wait_for_advert(left.address())
            lab.run_for(0.95 * n / times)  # from the worst moment, right after an advert, on
            left.kill_power()
            wait_for_master(lab, "right")
        died.append(cut.seconds)
        boot(left)
        with Dark(client) as back:
            wait_for_master(lab, "left")
        returned.append(back.seconds)
    lab.say(f"death of the master: dark for {figures(died)} (limit of the formula: 3.039 s)")
    lab.say(f"return of the master: dark for {figures(returned)}")
    lab.check(max(died) <= 3.2, "never dark for more than 3.2 s")
    lab.check_soon(max(returned), 0.5, "the return is hardly noticed")


@story(needs={"koid"}, timeout=40 + 4 * rounds(5), quiet=True)
def story_power_cut_in_a_hurry(lab):
    """With advbase 0 and advskew 10 the backup answers within 250 ms of the master's death."""
    left = lab.node("left", advbase=0, advskew=5)
    right = lab.node("right", advbase=0, advskew=10)
    client = lab.host("client")
    wait_for_master(lab, "left")
    died, returned = [], []
    for n in range(rounds(5)):
        with Dark(client, before=0.1 + 0.0071 * n) as cut:
            left.kill_power()
            wait_for_master(lab, "right")
        if died and "speaker: slip" in right.koid.text():
            lab.say("no more of it: this machine held up right's adverts, and for a minute right asks to be relieved")
            break
        died.append(cut.seconds)
        boot(left)
        with Dark(client) as back:
            wait_for_master(lab, "left")
        returned.append(back.seconds)
    lab.say(f"death of the master: dark for {figures(died)} (limit of the formula: 117 ms)")
    lab.say(f"return of the master: dark for {figures(returned)}")
    lab.check_soon(max(died), 0.25, "never dark for long")


@story(needs={"koid"}, timeout=40 + 5 * rounds(3), quiet=True)
def story_planned_stop(lab):
    """A master that is stopped says so: the backup answers within 100 ms."""
    left = lab.node("left", advskew=0)
    right = lab.node("right", advskew=10)
    client = lab.host("client")
    ear = Ear(client)
    wait_for_master(lab, "left")
    lab.wait_until(lambda: role(right) == "backup", 5, "right listens")
    stopped = []
    for _ in range(rounds(3)):
        with Dark(client) as stop:
            asked = time.monotonic()
            lab.check(left.koid.stop() == 0, "koid ends with 0")
            wait_for_master(lab, "right")
        stopped.append(stop.seconds)
        lab.check(len(ear.since(asked, source=left.address(), advbase=255, advskew=255)) == 2, "it said twice that it leaves")
        lab.check(not left.holds(VIP), "it holds nothing any more")
        start_again(left)
        wait_for_master(lab, "left")
    lab.say(f"planned stop: dark for {figures(stopped)}")
    lab.check_soon(max(stopped), 0.1, "never dark for long")


@story(needs={"koid"}, timeout=60)
def story_preempt_false(lab):
    """Without preempt a better node that comes back leaves the lead where it is, until it is needed."""
    left = lab.node("left", config={"carp": {**FAST, "preempt": False}})
    right = lab.node("right", config={"carp": {**FAST_BACKUP, "preempt": False}})
    wait_for_master(lab, "left")
    left.koid.stop()
    wait_for_master(lab, "right")
    start_again(left)
    lab.wait_until(lambda: role(left) == "backup", 5, "left listens again")
    lab.run_for(3)
    lab.check(lab.master(VIP) == "right", "right keeps the lead, although left has the smaller skew")
    right.kill_power()
    wait_for_master(lab, "left")


@story(needs={"koid"}, timeout=60)
def story_preempt_delay(lab):
    """With preempt_delay a better node waits that long before it takes the lead back; a dead master it replaces at once."""
    delay = 3
    left = lab.node("left", config={"carp": {**FAST, "preempt_delay": f"{delay}s"}})
    right = lab.node("right", config={"carp": FAST_BACKUP})
    wait_for_master(lab, "left")
    left.koid.stop()
    wait_for_master(lab, "right")
    start_again(left)
    waited = wait_for_master(lab, "left")
    lab.say(f"left took the lead back {waited:.2f} s after its start")
    lab.check(delay - 0.2 <= waited <= delay + 3, f"after preempt_delay ({delay} s)")
    left.koid.stop()
    wait_for_master(lab, "right")
    start_again(left)
    lab.wait_until(lambda: role(left) == "backup", 5, "left listens again")
    right.kill_power()
    waited = wait_for_master(lab, "left")
    lab.check(waited < delay - 0.5, f"a dead master is replaced at once ({waited:.2f} s)")


@story(needs={"koid"}, timeout=60)
def story_two_vhids_share_the_work(lab):
    """Each node leads one of two vhids; either takes both when the other dies, and gives its one back."""
    first, second = "10.77.0.101", "10.77.0.102"

    def both(mine, others):
        return {"carp": {"preempt": True}, "vips": [
            {"vhid": 1, "addresses": [f"{first}/24"], **mine}, {"vhid": 2, "addresses": [f"{second}/24"], **others}]}
    left = lab.node("left", config=both(FAST, FAST_BACKUP))
    right = lab.node("right", config=both(FAST_BACKUP, FAST))

    def shared():
        return lab.master(first) == "left" and lab.master(second) == "right"
    lab.wait_until(shared, 10, "left leads vhid 1, right leads vhid 2")
    for dies, stays in ((left, right), (right, left)):
        dies.kill_power()
        for vip in (first, second):
            wait_for_master(lab, stays.name, vip)
        boot(dies)
        lab.wait_until(shared, 10, f"{dies.name} is back and has its own again")
    lab.check((role(left, 1), role(left, 2), role(right, 1), role(right, 2)) == ("master", "backup", "backup", "master"),
              "and they say so")


@story(needs={"koid"}, timeout=60)
def story_both_families(lab):
    """A vhid may be of IPv4, of IPv6, or of both: each moves as one when its master dies, and comes back as one."""
    families = {4: ["10.77.0.104"], 6: ["fd77::106"], 46: ["10.77.0.146", "fd77::146"]}

    def all_three(carp):
        return {"carp": carp, "vips": [{"vhid": vhid, "addresses": [f"{one}/{64 if ':' in one else 24}" for one in several]}
                                       for vhid, several in families.items()]}
    left = lab.node("left", config=all_three(FAST))
    right = lab.node("right", config=all_three(FAST_BACKUP))
    client = lab.host("client")
    ear = Ear(client)
    vips = [one for several in families.values() for one in several]

    def all_at(node):
        began = time.monotonic()
        for vip in vips:
            wait_for_master(lab, node.name, vip)
        for vip in vips:
            client.run(["ping", "-c1", "-W2", vip])
        return began
    all_at(left)
    for vhid, several in families.items():
        versions = {6 if ":" in one[2] else 4 for one in ear.since(0, vhid=vhid)}
        lab.check(versions == {6 if ":" in one else 4 for one in several}, f"vhid {vhid} is advertised over its families: {versions}")
    with Dark(client, "fd77::146") as cut:
        left.kill_power()
        died = all_at(right)
    for vip in vips:
        lab.check(ear.since(died, "announced", vip), f"{vip} was announced by right")
    lab.say(f"fd77::146 was dark for {1000 * cut.seconds:.0f} ms")
    boot(left)
    all_at(left)
    lab.check([became_master(left, vhid) for vhid in families] == [1, 1, 1], "left took each once")
    lab.check(role(right, 46) == "backup", "right listens again")


@story(needs={"koid"}, timeout=60)
def story_unicast_peers(lab):
    """Where multicast is swallowed, peers that are named find each other; whoever is not named is not believed."""
    def with_peers(carp, number):
        return {"carp": carp, "vips": [{"vhid": 51, "addresses": [f"{VIP}/24"], "peers": [f"10.77.0.{number}"]},
                                       {"vhid": 52, "addresses": [f"{VIP_6}/64"], "peers": [f"fd77::{number}"]}]}
    left, right = lab.host("left", 1), lab.host("right", 2)
    for host, other in ((left, 2), (right, 1)):  # what keeps multicast from us keeps neighbour discovery, too
        host.run(f"ip neigh replace fd77::{other} lladdr 02:00:00:77:00:0{other} dev eth0 nud permanent")
        swallow_multicast(host)
    lab.koid(left, with_peers(FAST | {"interface": "eth0"}, 2))
    lab.koid(right, with_peers(FAST_BACKUP | {"interface": "eth0"}, 1))
    for vhid, vip in ((51, VIP), (52, VIP_6)):
        lab.wait_until(lambda: group(right, vhid).get("master") == left.address(version=4 if vhid == 51 else 6), 5,
                       f"right hears left in vhid {vhid}")
        wait_for_master(lab, "left", vip)
    lab.run_for(1.5)
    lab.check(lab.master(VIP) == lab.master(VIP_6) == "left", "there is one master")
    left.kill_power()
    wait_for_master(lab, "right")
    wait_for_master(lab, "right", VIP_6)

    lab.node("stranger", config={"carp": {**FAST, "advskew": 30, "peers": ["10.77.0.2"]}})
    lab.wait_until(lambda: group(right)["adverts"]["refused"]["not_a_peer"] > 0, 5, "right counts who is not among its peers")
    lab.check(role(right) == "master", "and does not listen to it")


@story(needs={"koid"}, timeout=60)
def story_another_link_down(lab):
    """A node that has lost the other interface is a worse holder of this one: demote.link lets the peer lead everything."""
    inner = "10.78.0.100"

    def both(carp):
        return {"carp": carp, "vips": [{"vhid": 51, "addresses": [f"{VIP}/24"]},
                                       {"vhid": 52, "interface": "eth1", "addresses": [f"{inner}/24"]}]}
    left = lab.node("left", config=both(FAST), wires=("front", "back"))
    right = lab.node("right", config=both(FAST_BACKUP), wires=("front", "back"))
    for vip in (VIP, inner):
        wait_for_master(lab, "left", vip)
    lab.wait_until(lambda: role(right) == role(right, 52) == "backup", 5, "right listens")
    left.unplug("back")
    for vip in (inner, VIP):
        wait_for_master(lab, "right", vip)
    lab.check(group(left)["demotion"] == 240, "left says in its adverts how unwell it is: 240")
    lab.wait_until(lambda: trouble(left, "link") and trouble(left, "demotion"), 3, "and tells the operator")
    left.plug_back("back")
    for vip in (inner, VIP):
        wait_for_master(lab, "left", vip)
    lab.check(group(left)["demotion"] == 0, "left is well again")
    lab.check(role(right) == "backup", "right listens again")
