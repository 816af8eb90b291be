"""`apt upgrade` under traffic: nobody notices, whichever node is first, and what does not work changes nothing."""

import time

from adverts import Ear
from another_release import another, later
from machines import VIP, story
from nodes import figures, rounds
from processes import Busy


def versions(machine):
    return machine.status()["versions"]


def role_changes(machine):
    return len(machine.journal("role"))


def upgrade_to(lab, machine, deb):
    lab.repository.add(deb)
    machine.say(f"apt upgrade to {deb.name}")
    began = time.monotonic()
    machine.apt_install(deb)
    machine.say(f"took {time.monotonic() - began:.1f} s")


def upgrades(lab, carp, busy):
    """Upgrades there and back between two releases, on the master and on the standby by turns."""
    lb1, lb2 = lab.pair(carp=carp)
    lab.start(lb1, lb2)
    lab.wait_until(lambda: lb2.role() == "backup", 15, "lb2 listens")
    ear = Ear(lab.client)
    shipped = next(deb for deb in lab.debs if deb.name.startswith("koi_"))
    next_release = later(shipped, lab.folder)
    # Another version each time, with the messages of the one or the other release.
    releases = [next_release, another(shipped, lab.folder, f"{next_release.name.split('_')[1]}+back")]
    changes = {machine.name: role_changes(machine) for machine in (lb1, lb2)}
    lab.run_for(1)
    watch, pauses, pids = lab.watch(VIP, every_ms=2, timeout_ms=500), [], {m.name: m.pid("koid") for m in (lb1, lb2)}
    with busy:
        for number in range(rounds(4)):
            first, second = (lb1, lb2) if number % 2 else (lb2, lb1)
            deb = releases[number % 2] if number < 2 else another(releases[number % 2], lab.folder, f"9.{number}")
            for machine in (first, second):
                began = time.monotonic()
                upgrade_to(lab, machine, deb)
                lab.run_for(1)
                if machine is lb1:
                    said = [one[0] for one in ear.since(began, source=lb1.address())]
                    pauses.append(max(later - earlier for earlier, later in zip(said, said[1:])))
    watch.end()
    lab.say(f"longest pause between adverts: {figures(pauses)}; lost {watch.failures} of {watch.probes}")
    for machine in (lb1, lb2):
        lab.check(machine.pid("koid") == pids[machine.name], f"{machine.name}: it is the same process")
        lab.check(machine.unit("NRestarts") == "0", "systemd has seen no end")
        lab.check(machine.unit("ActiveState") == "active", "and no other state")
        told = versions(machine)
        lab.check(len({told["speaker"], told["worker"], told["scout"], told["installed"]}) == 1, f"all are one release: {told}")
        lab.check(role_changes(machine) == changes[machine.name], f"{machine.name}: no role has changed")
    lab.check(watch.failures == 0, f"none of {watch.probes} questions is without answer")


class Idle:
    def __enter__(self):
        pass

    def __exit__(self, *_):
        pass


@story(needs={"later_release_1"}, timeout=240)
def story_apt_upgrade_under_traffic(lab):
    """apt upgrades to a release with other messages, and back, on the standby first or on the master first: no role
    changes and no question is lost."""
    upgrades(lab, {}, Idle())


@story(needs={"later_release_1"}, timeout=300)
def story_apt_upgrade_at_ten_adverts_a_second(lab):
    """The same at `interval: 100ms` while both processors are busy."""
    upgrades(lab, {"interval": "100ms"}, Busy())


@story(needs={"later_release_1", "later_release_2"}, timeout=120)
def story_apt_downgrade_and_a_skipped_release(lab):
    """A release too far away says what to do and changes nothing; a restart hands over to it, and back again."""
    lb1, lb2 = lab.pair()
    lab.start(lb1, lb2)
    lab.wait_until(lambda: lb2.role() == "backup", 15, "lb2 listens")
    shipped = next(deb for deb in lab.debs if deb.name.startswith("koi_"))
    changes = role_changes(lb1)
    lab.repository.add(later(shipped, lab.folder, 2))
    done = lb1.apt_install(later(shipped, lab.folder, 2))
    lab.check("systemctl restart koi" in done.stdout + done.stderr, "apt shows what to do")
    lab.check(role_changes(lb1) == changes and lb1.role() == "master", "lb1 leads on")
    watch = lab.watch(VIP, every_ms=2, timeout_ms=500)
    lb1.systemctl("restart", "koi")
    lab.wait_until(lambda: lab.master(VIP) == "lb1" and lb1.role() == "master", 15, "lb1 is back, in the later release")
    lab.say("and back to the one before: its files in /run and /var/lib are of the later release")
    lb1.run(["dpkg", "-i", "/repo/" + shipped.name])
    lb1.systemctl("restart", "koi")
    lab.wait_until(lambda: lab.master(VIP) == "lb1" and lb1.role() == "master", 15, "lb1 leads in the release before")
    watch.end()
    lab.check(watch.failures == 0, f"{watch.failures} of {watch.probes} questions were lost over two planned restarts")
    lab.check(lb1.unit("NRestarts") == "0", "nothing has died")
