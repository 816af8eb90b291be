"""Never two owners: when all of Koi is dead or hung on the master, its kernel falls silent before the backup takes over."""

import time

from adverts import Ear
from host import Host
from lab import story
from nodes import VIP, VIP_6, end_outright, group, process_of, role, rounds, start_again, status, wait_for_master

VIPS = (f"{VIP}/24", f"{VIP_6}/64")
SLOW, SLOW_BACKUP = {"advbase": 1, "advskew": 0}, {"advbase": 1, "advskew": 10}
QUICK, QUICK_BACKUP = {"advbase": 0, "advskew": 20}, {"advbase": 0, "advskew": 40}


class Pair:
    """Two nodes, the left one leads. It does not take the lead back by itself: a handover of the living is another story."""

    def __init__(self, lab, leader, follower):
        self.lab = lab
        self.left = lab.node("left", vips=VIPS, config={"carp": {**leader, "preempt": False}})
        self.right = lab.node("right", vips=VIPS, config={"carp": {**follower, "preempt": False}})
        self.client = lab.host("client")
        self.ear = Ear(lab.host("listener"))
        self.settle()

    def settle(self):
        for vip in (VIP, VIP_6):
            wait_for_master(self.lab, "left", vip)
        self.lab.wait_until(lambda: role(self.right) == "backup", 5, "right listens")
        self.lab.run_for(1)

    def ask(self):
        return [self.client.owners(vip, [self.left, self.right]) for vip in (VIP, VIP_6)]

    def judge(self, asked, struck, dark):
        """No moment with two owners; and no longer without one than the margin of the lease and right's own skew."""
        check = self.lab.check
        for owners in asked:
            owners.end()
        for owners in asked:
            last, first = owners.last_answer(self.left), owners.first_answer(self.right, after=struck)
            check(owners.doubly == 0, f"{owners.address}: two answered for {1000 * owners.doubly:.0f} ms: never two at once")
            check(last > struck, f"left's kernel went on answering for {1000 * (last - struck):.0f} ms after it was struck")
            check(first is not None and last < first, f"and fell silent {1000 * (first - last):.0f} ms before right answered")
            check(owners.longest_dark <= dark, f"nobody answered for {1000 * owners.longest_dark:.0f} ms")
        sources = self.left.addresses("eth0")
        check(not [one for one in self.ear.since(struck) if one[2] in sources], "left did not speak as master any more")
        announced = [one for vip in (VIP, VIP_6) for one in self.ear.since(struck, "announced", vip)]
        check(not [one for one in announced if one[3] == self.left.mac()], "and announced no address")
        check((role(self.left), role(self.right)) == ("backup", "master"), "right leads, left listens")

    def elect_left(self):
        """Right, which leads now, is stopped: left is elected; and right starts again, so that all is as it was."""
        self.right.koid.stop()
        asked = self.ask()
        self.lab.wait_until(lambda: role(self.left) == "master", 10, "left is elected when right is gone")
        self.lab.run_for(0.3)
        for owners in asked:
            answering = owners.end().intervals
            self.lab.check(answering["left"] and not answering["right"], f"and answers for {owners.address} again")
        self.left.koid.stop()  # one that has hung is demoted for a minute, or until it starts again
        start_again(self.left)
        wait_for_master(self.lab, "left")
        start_again(self.right)
        self.settle()


def strike(lab, leader, follower, dark, strike, mend):
    pair = Pair(lab, leader, follower)
    for n in range(rounds(2)):
        leases = {key: value for key, value in group(pair.left).items() if "lease" in key}
        pair.left.say(f"says of its lease: {leases or 'nothing'}")  # for whoever reads the transcript of a failure
        asked = pair.ask()
        lab.run_for(0.2 + 0.137 * n)
        strike(pair.left)
        struck = time.monotonic()
        lab.wait_until(lambda: pair.right.holds(VIP) and pair.right.holds(VIP_6), 10, "right takes over")
        lab.run_for(1)
        mend(pair.left)
        lab.run_for(2)
        pair.judge(asked, struck, dark)
        pair.elect_left()


def killed(lab, leader, follower, dark):
    strike(lab, leader, follower, dark, Host.kill_programs, start_again)  # which finds what the dead one left there


def hung(lab, leader, follower, dark):
    strike(lab, leader, follower, dark, Host.freeze, Host.thaw)


@story(needs={"koid", "nftables"}, timeout=40 + 20 * rounds(2))
def story_a_killed_master_is_silent_first(lab):
    """A master whose every process is killed answers no more when the backup, at an advert a second, takes over."""
    killed(lab, SLOW, SLOW_BACKUP, dark=0.8)


@story(needs={"koid", "nftables"}, timeout=40 + 15 * rounds(2))
def story_a_killed_master_is_silent_first_in_a_hurry(lab):
    """The same with an advert each 80 ms."""
    killed(lab, QUICK, QUICK_BACKUP, dark=0.6)


@story(needs={"koid", "nftables"}, timeout=40 + 25 * rounds(2))
def story_a_hung_master_is_silent_first(lab):
    """A master whose every process hangs answers no more when the backup takes over; nor when they go on, until elected."""
    hung(lab, SLOW, SLOW_BACKUP, dark=0.8)


@story(needs={"koid", "nftables"}, timeout=40 + 20 * rounds(2))
def story_a_hung_master_is_silent_first_in_a_hurry(lab):
    """The same with an advert each 80 ms."""
    hung(lab, QUICK, QUICK_BACKUP, dark=0.6)


@story(needs={"koid"}, timeout=60)
def story_a_speaker_started_again_stays_the_owner(lab):
    """A worker killed alone, and a speaker that is started again within its lease: the address is answered for all the
    time, and by nobody else."""
    pair = Pair(lab, SLOW, SLOW_BACKUP)
    for what in ("worker", "speaker"):
        asked = pair.ask()
        lab.run_for(0.2)
        if what == "worker":
            end_outright(process_of(pair.left, "worker"))
            pair.left.say("worker killed")
        else:
            end_outright(pair.left.koid.pid)
            pair.left.koid.wait()
            pair.left.say("speaker killed")
            lab.run_for(0.5)
            start_again(pair.left)
        lab.wait_until(lambda: role(pair.left) == "master", 5, "left goes on")
        lab.run_for(4)
        for owners in asked:
            owners.end()
            lab.check_soon(owners.longest_dark, 0.1, f"{owners.address} was answered for all the time ({what})")
            lab.check(not owners.intervals["right"], "by nobody else")


# ---- A master that cannot speak ----------------------------------------------------------------------------------------------

SIGNED = {"auth": "require", "auth_keys": {1: "{dir}/auth.key"}}
WALL = """table inet wall {
    chain out { type filter hook output priority 0; policy accept; ip protocol 112 drop; }
}
"""


def wall_in(node):
    """Its own packet filter refuses its adverts over IPv4."""
    file = node.new_file("wall", ".nft")
    file.write_text(WALL)
    node.run(["nft", "-f", str(file)])
    node.say("cannot speak any more")


def stays_single(lab, left, right, seconds):
    owners = lab.host("client").owners(VIP, [left, right])
    wall_in(left)
    lab.run_for(seconds)
    owners.end()
    lab.check_soon(owners.doubly, 0.1, f"two answered for a moment of {seconds} s at most")
    lab.check(role(right) == "master" and right.holds(VIP), "right leads")


@story(needs={"koid", "nftables"}, timeout=60)
def story_who_cannot_speak_does_not_answer(lab):
    """The preferred node's own packet filter refuses its adverts: it never takes what nobody can have heard of."""
    left = lab.node("left", config={"carp": {**SIGNED, **SLOW}})
    right = lab.node("right", config={"carp": {**SIGNED, **SLOW_BACKUP}})
    wait_for_master(lab, "left")
    lab.run_for(2)
    stays_single(lab, left, right, 20)
    lines = [line for line in left.koid.text().splitlines() if "cannot be sent" in line]
    lab.check(0 < len(lines) <= 15, f"it says so, but not all the time: {len(lines)} lines")


@story(needs={"koid", "nftables"}, timeout=60)
def story_what_is_said_to_nobody_is_not_said(lab):
    """Vips of both families and a peer of one: where that one cannot be reached, adverts to nobody renew no lease."""
    def unicast(settings, peer):
        return {"carp": {**SIGNED, **settings, "peers": [peer]}}
    left = lab.node("left", vips=VIPS, config=unicast(SLOW, "10.77.0.2"))
    right = lab.node("right", vips=VIPS, config=unicast(SLOW_BACKUP, "10.77.0.1"))
    wait_for_master(lab, "left")
    lab.run_for(2)
    stays_single(lab, left, right, 10)


@story(needs={"koid", "nftables"}, timeout=60)
def story_every_vhid_that_cannot_speak_lets_go(lab):
    """Three vhids whose adverts stop to leave at once."""
    vips = [{"vhid": 51 + n, "addresses": [f"10.77.0.{100 + n}/24"]} for n in range(3)]
    left, right = lab.host("left"), lab.host("right")
    for node, settings in ((left, SLOW), (right, SLOW_BACKUP)):
        lab.koid(node, {"carp": {**SIGNED, **settings, "interface": "eth0"}, "vips": vips})
    lab.wait_until(lambda: all(role(left, one["vhid"]) == "master" for one in vips), 10, "left leads all")
    lab.run_for(1)
    wall_in(left)
    lab.wait_until(lambda: all(f"vhid {one['vhid']} is init now: adverts cannot be sent" in left.koid.text() for one in vips), 10,
                   "left lets go of all")


@story(needs={"koid", "nftables"}, timeout=90)
def story_an_address_taken_by_agreement_stays(lab):
    """Adverts six seconds apart: what was prepared for five seconds does not end before the first one that renews it."""
    slow = {**SIGNED, "advbase": 6, "preempt": False}
    left = lab.node("left", config={"carp": {**slow, "advskew": 0}})
    wait_for_master(lab, "left", timeout=30)
    right = lab.node("right", config={"carp": {**slow, "advskew": 1}})
    lab.wait_until(lambda: any(one["standby"] for one in status(left, "peers").get("peers", [])), 20, "right stands by")
    left.koid.koi("step-down", "51")
    lab.wait_until(lambda: role(right) == "master", 5, "right leads")
    lab.run_for(8)
    lab.check("removed by somebody else" not in right.koid.text() and right.holds(VIP), "the address stays")
