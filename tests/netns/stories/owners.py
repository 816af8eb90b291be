"""Never two owners: when all of Koi is dead or hung on the master, its kernel falls silent before the backup takes over."""

import time

from adverts import Ear
from host import Host
from lab import story
from nodes import VIP, VIP_6, end_outright, group, process_of, role, rounds, start_again, wait_for_master

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
            lab.check(owners.longest_dark < 0.1, f"{owners.address} was answered for all the time ({what})")
            lab.check(not owners.intervals["right"], "by nobody else")
