"""From release 0.1.0, which ran as root under a unit that kills it, to the shipped one, and back."""

import time

from another_release import earlier
from koi import both, never_two, nothing_lost, wait_for_standby
from machines import VIP, VIP_6, addresses_of, story

# The unit of 0.1.0 kills its koid, which asks whether the clock is right when it leads or hears somebody who signs. With this
# it is told that it may not, and lives.
MAY_ASK_FOR_THE_CLOCK = "[Service]\nSystemCallErrorNumber=EPERM\n"


def let_it_ask(machine):
    machine.write("/etc/systemd/system/koi.service.d/clock.conf", MAY_ASK_FOR_THE_CLOCK)
    machine.systemctl("daemon-reload")


def pair_of_the_earlier(lab, lives=True):
    """Two machines as the documents of 0.1.0 set them up: keys are root's and lie in /etc/koi."""
    lab.metronome
    machines = lab._machines(("lb1", "lb2"), None, False)
    for place, machine in enumerate(machines):
        machine.apt_install(earlier())
        if lives:
            let_it_ask(machine)
        for name, text in (("carp.key", "koi-machines"), ("auth.key", "koi-machines-" * 3)):
            machine.write(f"/etc/koi/{name}", text + "\n", 0o600)
        lab.write_configuration(machine, f"carp: {{interface: eth0, key_file: /etc/koi/carp.key, auth: require, "
                                         f"auth_keys: {{1: /etc/koi/auth.key}}, advskew: {100 * place}}}\n"
                                         f"vips: {addresses_of((VIP, VIP_6))}\n")
    return machines


def shipped(lab):
    return next(deb for deb in lab.debs if deb.name.startswith("koi_"))


def version(machine):
    """Of the koid that runs; None if none answers."""
    return machine.status().get("version")


def led(machine):
    """How often it has become master."""
    return sum(entry["KOI_NEW"] == "master" for entry in machine.journal("role"))


def owners_of_keys(machine):
    return set(machine.run("stat -c %U:%a $(find /etc/koi -name '*.key')").stdout.split())


def is_whole(lab, machine):
    listed = machine.run(["dpkg-query", "-W", "-f", "${db:Status-Abbrev}", "koi"]).stdout.strip()
    audit = machine.run(["dpkg", "--audit"]).stdout
    lab.check(listed == "ii" and not audit, f"{machine.name}: dpkg says {listed} {audit}")


def upgrade(lab, machine):
    """To the shipped release; returns what apt said."""
    done = machine.apt_install(shipped(lab))
    said = done.stdout + done.stderr
    is_whole(lab, machine)
    for key in ("carp.key", "auth.key"):
        lab.check(said.count(f"/{key}: belongs to koi now") == 1, f"apt says that {key} is koi's now")
    lab.check(owners_of_keys(machine) == {"koi:400"}, "and so it is")
    told = [str(entry["MESSAGE"]) for entry in machine.journal() if entry.get("SYSLOG_IDENTIFIER") == "koi"]
    lab.check(len(told) == 1 and told[0] in said, f"apt and the unit's journal say why koid is restarted: {told}")
    return said


def upgrades(lab, first):
    """Both machines, one after the other: the master's costs one hand-over, the standby's none, whichever is first."""
    lb1, lb2 = pair_of_the_earlier(lab)
    lab.start(lb1, lb2)
    wait_for_standby(lab, lb1)
    asked, before, began = both(lab, (lb1, lb2)), lb1.pid("koid"), time.monotonic()
    watch = lab.watch(VIP, timeout_ms=1000)
    for machine in (lb1, lb2) if first == "lb1" else (lb2, lb1):
        changes = [(led(one), len(lb1.journal("role"))) for one in (lb1, lb2)]
        upgrade(lab, machine)
        if machine is lb1:
            lab.wait_until(lambda: lb1.role() == "master" and lab.master(VIP) == "lb1", 15, "lb1 leads again")
        wait_for_standby(lab, lb1)
        lab.run_for(5)
        now = [(led(one), len(lb1.journal("role"))) for one in (lb1, lb2)]
        if machine is lb1:
            lab.check([new[0] - old[0] for new, old in zip(now, changes)] == [1, 1], "lb2 led once, and lb1 leads again")
        else:
            lab.check(now == changes, "the standby's upgrade changed no role of lb1's, and lb2 did not lead")
    watch.end()
    nothing_lost(lab, watch, began, "upgrades of both")
    never_two(lab, asked, planned=True)
    lab.check(lb1.pid("koid") != before and version(lb1) == version(lb2) != "0.1.0", f"both run {version(lb1)}")
    lab.check((lb1.unit("NRestarts"), lb2.unit("NRestarts")) == ("0", "0"), "nothing has died")
    again = lb1.apt("install", "--reinstall", f"/repo/{shipped(lab).name}")
    lab.check("belongs to" not in again.stdout + again.stderr and lb1.role() == "master",
              "installed once more, it touches neither keys nor role")


@story(needs={"earlier_release"}, timeout=180, slow=True)
def story_from_010_standby_first(lab):
    """From 0.1.0 on a live pair, the standby first: one planned hand-over there and back, no question lost, never two owners."""
    upgrades(lab, "lb2")


@story(needs={"earlier_release"}, timeout=180, slow=True)
def story_from_010_master_first(lab):
    """From 0.1.0 on a live pair, the master first: the same."""
    upgrades(lab, "lb1")


@story(needs={"earlier_release"}, timeout=240, slow=True)
def story_from_010_in_its_loop_of_deaths(lab):
    """0.1.0 dies at every start, until systemd gives it up beside a peer that leads; upgraded, each leads and lives."""
    lb1, lb2 = pair_of_the_earlier(lab, lives=False)
    lab.start(lb1, lb2, leads=None)
    lab.wait_until(lambda: min(int(one.unit("NRestarts")) for one in (lb1, lb2)) >= 2, 30, "both die again and again")
    lab.check("status=31/SYS" in str(lb1.journal()) and led(lb1) + led(lb2) == 0, "of their own unit, and nobody leads")
    asked = both(lab, (lb1, lb2))
    for machine in (lb2, lb1):
        upgrade(lab, machine)
        done = time.monotonic()
        lab.wait_until(lambda: machine.role() == "master" and lab.master(VIP) == machine.name, 15, f"{machine.name} leads")
        lab.say(f"{time.monotonic() - done:.1f} s after apt's end")
        koid = machine.pid("koid")
        if machine is lb2:
            lab.wait_until(lambda: lb1.unit("ActiveState") == "failed", 60, "systemd gives lb1 up, which hears lb2 and dies sooner")
        lab.run_for(5)
        lab.check(machine.pid("koid") == koid and machine.role() == "master", "and goes on leading")
    never_two(lab, asked, planned=True)


@story(needs={"earlier_release"}, timeout=240, slow=True)
def story_back_to_010(lab):
    """apt goes back to 0.1.0: what runs leads on until it is restarted, and then 0.1.0 reads its keys and leads; where its own
    unit kills it, apt had said so."""
    lb1, lb2 = lab.pair()
    lab.start(lb1, lb2)
    wait_for_standby(lab, lb1)
    asked, began = both(lab, (lb1, lb2)), time.monotonic()
    watch = lab.watch(VIP, timeout_ms=1000)
    for machine in (lb2, lb1):
        let_it_ask(machine)
        before = [len(one.journal("role")) for one in (lb1, lb2)]
        done = machine.apt_install(earlier())
        is_whole(lab, machine)
        lab.check(owners_of_keys(machine) == {"root:400"}, "keys are root's")
        for said in ("belongs to root now", "systemctl restart koi", "SystemCallErrorNumber=EPERM"):
            lab.check(said in done.stdout + done.stderr, f"apt says: {said}")
        lab.check([len(one.journal("role")) for one in (lb1, lb2)] == before, "no role has changed")
        machine.systemctl("restart", "koi")
        lab.wait_until(lambda: version(machine) == "0.1.0", 15, f"{machine.name} runs 0.1.0")
        lab.wait_until(lambda: lb1.role() == "master" and lab.master(VIP) == "lb1", 15, "lb1 leads")
        wait_for_standby(lab, lb1)
    lab.check((led(lb1), led(lb2)) == (2, 1), "one hand-over there and back")
    watch.end()
    nothing_lost(lab, watch, began, "both back")
    never_two(lab, asked, planned=True)

    lb2.run(["rm", "/etc/systemd/system/koi.service.d/clock.conf"])
    lb2.systemctl("daemon-reload")
    lb2.systemctl("restart", "koi", check=False)
    lab.wait_until(lambda: "status=31/SYS" in str(lb2.journal()), 30, "without the drop-in systemd says what kills it")
    upgrade(lab, lb2)
    lab.wait_until(lambda: lb2.role() == "backup" and version(lb2) != "0.1.0", 15, "upgraded again, it stands by")
