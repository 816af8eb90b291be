"""An address never answers without its virtual servers: they come before it and go after it, whoever asks when."""

import copy
import os
import signal
import time

from lab import story
from nodes import role, start_again, status
from scene import PORT, VIP4, VIP6, VIPS, Scene, spelled

NEEDS = {"ip_vs", "koid", "ipvsadm"}
BOTH = {"red": 1, "green": 1}
SIGNED = {"auth": "require", "auth_keys": {1: "{dir}/auth.key"}}
LATE, ATTEMPTS = 0.015, 3  # seconds: what rule 14 of carp/machine.h grants
MORE = {4: "10.77.0.101", 6: "fd77::65"}


class Believers:
    """Clients who believe that an address is always at one director, whatever the neighbours are told. Where the address is
    not they hear nothing; where it is without its table they are refused or reset, to which nothing else leads: no
    connection of theirs ever changes its director."""

    def __init__(self, lab, scene, addresses=(VIP4, VIP6)):
        self.lab, self.watches, self.began = lab, {}, time.monotonic()
        for number, director in enumerate(scene.directors, 40):
            client = lab.hosts.get(f"sure-{director.name}") or lab.host(f"sure-{director.name}", number=number)
            for address in addresses:
                client.run(["ip", "neigh", "replace", address, "lladdr", director.mac(), "dev", "eth0", "nud", "permanent"])
                self.watches[director.name, address] = client.watch(address, PORT, every_ms=8, timeout_ms=400)
        # In one kernel they would wait for a processor until the directors are done. Not before all of them ask: those that
        # do would leave no processor to the start of the others.
        for watch in self.watches.values():
            os.sched_setscheduler(watch.pid, os.SCHED_RR, os.sched_param(1))
        lab.run_for(0.3)

    def judge(self, during, last=True):
        """Whether it is settled. A director that a bare loop beside it shows to have been without a processor for longer than
        it waits for its worker has no order to keep: then only the last of several attempts is settled."""
        self.lab.run_for(0.5)
        late = self.lab.bare_loop.longest(self.began)
        settled = True
        for (director, address), watch in self.watches.items():
            watch.end()
            wrong = {reason: watch.reasons[reason] for reason in ("refused", "reset", "closed") if watch.reasons[reason]}
            told = f"{during}: of {watch.probes} requests to {address} at {director} none is refused: {wrong}"
            answered = sum(watch.answers.values()) > 10
            if late > LATE and (wrong or not answered):
                self.lab.say(f"not judged, a bare loop was late by {1000 * late:.0f} ms itself: {told}")
                settled = last
                continue
            self.lab.check(not wrong, told)
            self.lab.check(answered, f"and {sum(watch.answers.values())} are answered")
        return settled


def pair(lab, **carp):
    scene = Scene(lab, "dr", only=("tcp4", "tcp6"), names=("red", "green"), directors=("left", "right"),
                  carp={"advbase": 1, "advskew": 0, **carp}, more={"standby": "cold"})
    scene.list(**BOTH)
    left, right = scene.directors
    scene.start(left)
    scene.told["carp"]["advskew"] = 60
    scene.prepare(right)
    lab.koid(right, scene.told).wait_ready()
    scene.wait_for_weights(BOTH)
    lab.wait_until(lambda: role(right) == "backup", 5, "right follows")
    return scene, left, right


def leads(node):
    return lambda: role(node) == "master"


def there_and_back(lab, **carp):
    scene, left, right = pair(lab, **carp)
    if carp:
        lab.wait_until(lambda: any(one["standby"] for one in status(left, "peers")["peers"]), 5, "right stands by")
    for during, away, back in (("step-down and step-up", lambda: left.koid.koi("step-down", "51"),
                                lambda: left.koid.koi("step-up", "51")),
                               ("stop and return", lambda: left.koid.stop(), lambda: start_again(left))):
        for attempt in range(ATTEMPTS):
            believers = Believers(lab, scene)
            away()
            lab.wait_until(leads(right), 20, "right leads")
            lab.run_for(0.5)
            back()
            lab.wait_until(leads(left), 30, "left leads again")
            if believers.judge(during, attempt + 1 == ATTEMPTS):
                break


@story(needs=NEEDS, timeout=150)
def story_tables_around_a_hand_over(lab):
    "Nodes that sign, there and back twice: whoever asks one of the two directly is answered or hears nothing."
    there_and_back(lab, **SIGNED)


@story(needs=NEEDS, timeout=150)
def story_tables_around_a_takeover(lab):
    "The same without trailers, where the better node takes over before its table is made."
    there_and_back(lab)


@story(needs=NEEDS, timeout=150)
def story_tables_around_a_reload(lab):
    "A reload brings addresses with their virtual servers, in a vhid that leads or a new one, and takes them away again."
    scene = Scene(lab, "dr", only=("tcp4", "tcp6"), names=("red", "green"), carp={"advbase": 1, "advskew": 0}, more={"standby": "cold"})
    scene.list(**BOTH)
    scene.start()
    for host in scene.backends.values():
        host.accept_direct(*MORE.values())
        lab.backend(host, host.name, *(f"tcp:{spelled(one, PORT)}" for one in MORE.values()))
    plain = scene.told
    services = [{**one, "name": one["name"] + "-more", "at": one["at"].replace(VIPS[v], MORE[v])}
                for one, v in zip(plain["services"], (4, 6))]
    addresses = [f"{MORE[4]}/24", f"{MORE[6]}/64"]
    for where in ("a vhid that leads", "a new vhid"):
        more = copy.deepcopy(plain)
        more["services"] += services
        if where == "a new vhid":
            more["vips"].append({"vhid": 52, "addresses": addresses})
        else:
            more["vips"][0]["addresses"] += addresses
        believers = Believers(lab, scene, tuple(MORE.values()))
        for told, holds in ((more, True), (plain, False)):
            scene.koid.write_config(told)
            if not holds:  # who has the addresses is slow: the worker must not be ahead of it
                scene.koid.signal(signal.SIGSTOP)
            scene.koid.koi("reload")
            lab.run_for(0.3)
            scene.koid.signal(signal.SIGCONT)
            lab.wait_until(lambda holds=holds: scene.director.holds(MORE[6]) == scene.director.holds(MORE[4]) == holds, 10,
                           f"the addresses of {where} have {'come' if holds else 'gone'}")
            lab.run_for(0.5)
        believers.judge(where)
        table = scene.witness()
        lab.check(len(table) == 2, f"the virtual servers have gone, too: {' '.join(table)}")
