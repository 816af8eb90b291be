"""The installed programs take over from the running ones: nobody on the wire can tell, and what does not work changes nothing."""

import json
import os
import shutil
import time
from datetime import datetime

from adverts import Ear
from lab import story
from nodes import (FAST, VIP, ask, became_master, figures, group, process_of, role, rounds, status, trouble,
                   wait_for_master)
from processes import BUILD, Busy

PROGRAMS = ("koid", "koid-worker", "koid-scout", "koi", "version")
SIGNED = {"auth": "require", "auth_keys": {1: "{dir}/auth.key"}}


def install(folder, build=BUILD):
    """Puts programs into a folder as a package manager does: each is another file under the same name."""
    folder.mkdir(exist_ok=True)
    for program in PROGRAMS:
        beside = folder / f"{program}.new"
        shutil.copy(build / program, beside)
        beside.rename(folder / program)
    return folder


def pair(lab, carp):
    """Two machines that lead and follow; the first one's programs are in a folder of its own."""
    left, right = lab.host("left"), lab.host("right")
    for host, skew in ((left, 0), (right, 100)):
        programs = install(host.folder / "programs")
        settings = {"interface": "eth0", **carp, "advskew": carp.get("advskew", 0) + skew}
        lab.koid(host, {"carp": settings, "vips": [{"vhid": 51, "addresses": [f"{VIP}/24", "fd77::64/64"]}]},
                 program=programs / "koid")
    wait_for_master(lab, "left")
    lab.wait_until(lambda: role(right) == "backup", 5, "right listens")
    return left, right


def instant(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def versions(node):
    return json.loads(ask(node, "/v1/versions"))


def upgrade(node, check=True):
    """`koi upgrade` with the koi that is installed beside it."""
    done = node.run([node.folder / "programs" / "koi", "upgrade"], check=False, timeout=40,
                    environment={"KOI_SOCKET": str(node.koid.socket)})
    node.say(f"koi upgrade: {done.returncode}, {(done.stdout + done.stderr).strip()}")
    if check and done.returncode:
        raise AssertionError(f"koi upgrade ended with {done.returncode}: {done.stderr}")
    return done


@story(needs={"koid"}, timeout=120)
def story_the_programs_change_and_nobody_notices(lab):
    """At ten adverts a second with busy processors, koid and its worker become other programs: no role, no question, no
    signature is lost, and the process stays the same."""
    left, right = pair(lab, {**SIGNED, "interval": "100ms"})
    client = lab.host("client")
    ear = Ear(client)
    source = left.address()
    lab.run_for(1)
    pid, silences, usual = left.koid.pid, [], []
    watch = client.watch(VIP, proto="ping", every_ms=2, timeout_ms=100)
    with Busy():
        for _ in range(rounds(5)):
            before = time.monotonic()
            lab.run_for(1)
            worker, since = process_of(left, "worker"), time.monotonic()
            install(left.folder / "programs")
            upgrade(left)
            lab.run_for(0.5)
            lab.check(process_of(left, "worker") != worker, "the worker is another one")
            lab.check(os.readlink(f"/proc/{pid}/exe") == str(left.folder / "programs" / "koid"),
                      "the process runs the file that is installed now")
            for start, end, into in ((since, time.monotonic(), silences), (before, since, usual)):
                said = [one[0] for one in ear.since(start - 0.15, source=source) if one[0] <= end]
                into.append(max(later - earlier for earlier, later in zip(said, said[1:])))
    watch.end()
    lab.say(f"longest pause between adverts, in the seconds before: {figures(usual)}; across the upgrade: {figures(silences)}")
    lab.say(f"lost: {watch.failures} of {watch.probes} questions")
    lab.check(left.koid.alive() and left.koid.pid == pid, "it is still the same process")
    lab.check(max(silences) < 0.3, "nobody's patience was tried")
    lab.check((became_master(left), became_master(right)) == (1, 0), "no role has changed")
    lab.check(watch.failures == 0, "no question is without answer")
    lab.check([one for one in lab.address_changes if one[1] == "left" and one[2] == "-"] == [], "no address went")
    refused = group(right)["adverts"]["refused"]
    lab.check(sum(refused.values()) == 0, f"right believed every advert: {refused}")
    lab.check(versions(left)["upgrade"]["number"] == len(silences), "each is counted")
    lab.check("has taken over" in left.koid.text(), "the log says so")
    lab.check(left.koid.text().count("eth0 is up") == 1, "and of the link nothing, which is as it was")


@story(needs={"koid"}, timeout=90)
def story_what_is_known_outlives_the_program(lab):
    """A step-down, counters, peers and the demotion of the moment are known to the next program; afterwards it serves all
    wishes as before."""
    left, right = pair(lab, {**SIGNED, **FAST, "preempt": True})
    left.koid.koi("step-down", "51")
    wait_for_master(lab, "right")
    lab.wait_until(lambda: (role(left), role(right)) == ("backup", "master"), 5, "both have said so")
    before = group(left)
    upgrade(left)
    upgrade(right)
    lab.wait_until(lambda: group(left).get("role"), 5, "left answers again")
    after = group(left)
    lab.check(abs(instant(before["since"]) - instant(after["since"])) < 0.05, "it is in its role since the same moment")
    for what in ("role", "because", "stepped_down", "became_master", "own_address"):
        lab.check(before[what] == after[what], f"{what} is as it was: {after[what]}")
    lab.check(after["adverts"]["accepted"] >= before["adverts"]["accepted"], "what was counted is counted on")
    said = [json.loads(line)["sentence"] for line in left.koid.koi("events", "-o", "json").stdout.splitlines()]
    for what in ("vhid 51 is master", "asked vhid 51 to step down", "has taken over from"):
        lab.check(sum(what in sentence for sentence in said) == 1, f"it is told once: {what}")
    lab.run_for(2)
    lab.check(role(right) == "master" and role(left) == "backup", "the step-down still counts")
    left.koid.koi("step-up", "51")
    wait_for_master(lab, "left")
    left.koid.koi("reload")
    lab.check(left.koid.stop() == 0, "it stops as it should")
    wait_for_master(lab, "right")
    lab.check(left.koid.noticed("STOPPING") is not None, "and tells the service manager")


def put(path, content, mode=0o755):
    beside = path.with_suffix(".new")
    beside.write_bytes(content)
    beside.chmod(mode)
    beside.rename(path)


@story(needs={"koid"}, timeout=120)
def story_a_program_that_does_not_work_is_not_trusted(lab):
    """A koid or a worker that cannot be started, or that cannot take over, changes nothing: the running ones go on and it
    is said why."""
    left, right = pair(lab, {**SIGNED, **FAST})
    programs, pid, worker = left.folder / "programs", left.koid.pid, process_of(left, "worker")
    client = lab.host("client")
    watch = client.watch(VIP, proto="ping", every_ms=5)
    faults = (("koid", b"no program\0", 0o755, "cannot be started"),
              ("koid", b"#!/bin/sh\nexit 1\n", 0o755, "cannot take over"),
              ("koid", b"#!/bin/sh\nkill -SEGV $$\n", 0o755, "signal 11"),
              ("koid", b"", 0o644, "cannot be started"),
              ("koid-worker", b"#!/bin/sh\nexit 1\n", 0o755, "the new worker ended with code 1"),
              ("koid-worker", b"#!/bin/sh\nexit 76\n", 0o755, "too many releases away"),
              ("koid-worker", b"no program\0", 0o755, "ended with code 127"))
    for program, content, mode, complaint in faults:
        install(programs)
        put(programs / program, content, mode)
        done = upgrade(left, check=False)
        lab.check(done.returncode == 1 and complaint in done.stderr, f"{program}: {done.stderr.strip()}")
        lab.check(process_of(left, "worker") == worker and left.koid.pid == pid and left.koid.alive(), "nothing was replaced")
    lab.check(complaint in versions(left)["upgrade"]["failed"], "it is known why")
    install(programs)
    upgrade(left)
    watch.end()
    lab.check((became_master(left), became_master(right)) == (1, 0), "no role has changed")
    lab.check(watch.failures == 0, "no question is without answer")


@story(needs={"koid"}, timeout=60)
def story_a_state_that_nobody_can_read(lab):
    """If the new program cannot use what it was left, it starts as after a crash, and goes on within its peers' patience."""
    left, right = pair(lab, {**SIGNED, "advbase": 1})
    programs = left.folder / "programs"
    # It says yes and then finds another release's state: as a program with a fault would.
    real = programs / "koid-real"
    shutil.copy(programs / "koid", real)
    shutil.copy(programs / "koid-worker", programs / "koid-worker.keep")
    put(programs / "koid", f'#!/bin/sh\n[ "$1" = --can-take-over ] && exit 0\nexec {real} "$1" "$2" --take-over 0\n'.encode())
    pid = left.koid.pid
    done = left.run([programs / "koi", "upgrade", "--wait", "3"], check=False, environment={"KOI_SOCKET": str(left.koid.socket)})
    lab.say(f"koi upgrade: {done.returncode}, {done.stderr.strip()}")
    lab.wait_until(lambda: role(left) == "master", 8, "left goes on as master")
    lab.check(left.koid.alive() and left.koid.pid == pid, "in the same process")
    lab.check("starting as after a crash" in left.koid.text(), "it says so")
    lab.check("stopped waiting" in group(left)["because"], f"it says why it leads: {group(left)['because']}")
    lab.check(became_master(right) == 0, "right never led")


@story(needs={"koid"}, timeout=60)
def story_another_version_is_installed(lab):
    """Programs that are older than what is installed are named, with what to do; afterwards nothing is left to say."""
    left, right = pair(lab, FAST)
    lab.check(trouble(left, "upgrade") is None, "nothing to say")
    (left.folder / "programs" / "version").write_text("0.9.9\n")
    lab.wait_until(lambda: trouble(left, "upgrade"), 15, "the trouble is said")
    said = trouble(left, "upgrade")
    lab.check("0.9.9 is installed" in said and "koi upgrade" in said, said)
    lab.check(status(left)["versions"]["installed"] == "0.9.9", "the status tells what is installed")
    shutil.copy(BUILD / "version", left.folder / "programs" / "version")
    lab.wait_until(lambda: trouble(left, "upgrade") is None, 5, "and no longer")


# Between releases. The later ones are of the same source, built with KOI_FORMAT_RAISED (tests/later_release).

def later(lab, releases):
    folder = BUILD.with_name(f"{BUILD.name}-later-{releases}")
    if not (folder / "koid").exists():
        raise AssertionError(f"{folder} is not there; tests/later_release makes it")
    return folder


@story(needs={"koid", "later_release_1"}, timeout=120)
def story_two_releases_with_other_messages(lab):
    """An upgrade to the next release, whose messages differ, and back again, loses nothing; nor does an old speaker with a
    new worker or scout, and the other way round, for as long as they are left so."""
    left, right = pair(lab, {**SIGNED, "interval": "100ms"})
    next_release = later(lab, 1)
    old, new = ((build / "version").read_text().strip() for build in (BUILD, next_release))
    programs = left.folder / "programs"
    watch = lab.host("client").watch(VIP, proto="ping", every_ms=5)
    with Busy():
        install(programs, next_release)
        lab.say("unpacked, and the worker of before dies: an old speaker starts a new worker")
        os.kill(process_of(left, "worker"), 9)
        lab.wait_until(lambda: role(left) == "master" and versions(left)["worker"] == new, 10, "the new worker works")
        lab.check(versions(left)["speaker"] == old, "under the old speaker")
        lab.wait_until(lambda: versions(left)["scout"] == new, 5, "with a new scout")
        upgrade(left)
        lab.check(versions(left)["speaker"] == new, "now all of it is new")
        install(programs)
        lab.say("the release before is put back, and the worker dies: a new speaker starts an old worker")
        os.kill(process_of(left, "worker"), 9)
        lab.wait_until(lambda: role(left) == "master" and versions(left)["worker"] == old, 10, "the old worker works")
        install(programs, next_release)
        upgrade(left)
        lab.check({versions(left)[who] for who in ("speaker", "worker", "scout")} == {new}, "all of it is new again")
        lab.run_for(1)
    watch.end()
    lab.check((became_master(left), became_master(right)) == (1, 0), "no role has changed")
    lab.check(watch.failures == 0, "no question is without answer")


@story(needs={"koid", "later_release_2"}, timeout=120)
def story_two_releases_too_far_apart(lab):
    """Programs of the release after the next one are refused with what to do, by the one that would start them, and adverts
    go on."""
    left, right = pair(lab, {**SIGNED, **FAST})
    programs = left.folder / "programs"
    install(programs, later(lab, 2))
    done = upgrade(left, check=False)
    lab.check(done.returncode == 1 and "cannot take over" in done.stderr and "systemctl restart koi" in done.stderr,
              done.stderr.strip())
    shutil.copy(BUILD / "koid", programs / "koid.new")
    (programs / "koid.new").rename(programs / "koid")
    lab.check(upgrade(left, check=False).returncode == 1, "nor can its worker beside this koid")
    os.kill(process_of(left, "worker"), 9)
    lab.wait_until(lambda: "too far apart" in left.koid.text(), 5, "a worker that must be started says why it cannot work")
    lab.run_for(2)
    lab.check(left.holds(VIP) and left.koid.alive(), "left still leads")
    install(programs)
    lab.wait_until(lambda: role(left) == "master", 15, "with a worker that fits it is whole again")
    lab.check((became_master(left), became_master(right)) == (1, 0), "no role has changed")
