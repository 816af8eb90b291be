"""When a process of Koi dies, hangs, or cannot be had: what goes on, what is let go of, and what the client sees."""

import json
import os
import shutil
import signal
import time

from lab import story
from nodes import (FAST, FAST_BACKUP, VIP, Dark, became_master, end_outright, group, process_of, role, start_again, status,
                   wait_for_master)
from processes import BUILD


@story(needs={"koid"}, timeout=60)
def story_speaker_dies_and_resumes(lab):
    """A speaker that is started again within its peers' patience goes on as master; the peer and the client see nothing."""
    left = lab.node("left", advskew=0)
    right = lab.node("right", advskew=100)
    client = lab.host("client")
    wait_for_master(lab, "left")
    lab.wait_until(lambda: role(right) == "backup", 5, "right listens")
    with Dark(client, after=1.5) as dark:
        worker, died = process_of(left, "worker"), time.monotonic()
        end_outright(left.koid.pid)
        left.koid.wait()
        left.say("speaker killed")
        lab.wait_until(lambda: not os.path.exists(f"/proc/{worker}"), 5, "its worker ends by itself")
        start_again(left)
        lab.wait_until(lambda: role(left) == "master", 5, "left goes on as master")
        lab.say(f"it was away for {time.monotonic() - died:.2f} s")
    lab.say(f"the client: dark for {1000 * dark.seconds:.0f} ms")
    lab.check_soon(dark.seconds, 0.1, "the client saw nothing")
    lab.check("stopped waiting" in group(left)["because"], f"it says why it leads: {group(left)['because']}")
    lab.run_for(3.5)
    lab.check(became_master(right) == 0 and role(right) == "backup", "right never led")
    lab.check([one for one in lab.address_changes if one[1:] == ("left", "-", VIP)] == [], "the address never went")


@story(needs={"koid"}, timeout=60)
def story_speaker_comes_back_late(lab):
    """A speaker that comes back after its peers' patience lets go of what is still there, and listens like a newcomer."""
    # Without a lease, for an address that has one may be gone before the new speaker looks.
    left = lab.node("left", config={"carp": {**FAST, "preempt": False, "lease": "off"}})
    right = lab.node("right", config={"carp": FAST_BACKUP})
    wait_for_master(lab, "left")
    lab.wait_until(lambda: role(right) == "backup", 5, "right listens")
    left.koid.kill()
    lab.wait_until(lambda: right.holds(VIP), 5, "right leads after its patience")
    lab.check(left.holds(VIP), "left's kernel still has the address, and nobody speaks for it")
    start_again(left)
    gone = wait_for_master(lab, "right")
    lab.say(f"left let go {1000 * gone:.0f} ms after its start")
    lab.check(gone < 2, "first of all it lets go")
    lab.wait_until(lambda: role(left) == "backup", 5, "then it listens")
    lab.check("left by an earlier koid" in left.koid.text(), "it says what it did")
    lab.run_for(1.5)
    lab.check(lab.master(VIP) == "right", "and lets right lead")


@story(needs={"koid"}, timeout=60)
def story_node_freezes_and_thaws(lab):
    """A node whose programs stand still for a while finds another master when they go on: the better one leads alone,
    and the client is answered within a second."""
    left = lab.node("left", config={"carp": FAST})
    right = lab.node("right", config={"carp": FAST_BACKUP})
    client = lab.host("client")
    wait_for_master(lab, "left")
    lab.wait_until(lambda: role(right) == "backup", 5, "right listens")
    left.freeze()
    lab.wait_until(lambda: right.holds(VIP), 5, "right leads; left's kernel still has the address")
    lab.run_for(1)
    with Dark(client, after=1.2) as dark:
        left.thaw()
        wait_for_master(lab, "left")
    lab.say(f"dark for {1000 * dark.seconds:.0f} ms")
    lab.check(dark.seconds <= 1, "the client is answered within a second")
    lab.check((role(left), role(right)) == ("master", "backup"), "left leads, right listens")
    left.koid.stop()
    wait_for_master(lab, "right")


@story(needs={"koid"}, timeout=60)
def story_koid_is_started_twice(lab):
    """A second koid in the same runtime directory is refused, with a sentence, and the first one is not disturbed."""
    left = lab.node("left", config={"carp": FAST})
    wait_for_master(lab, "left")
    folder = left.koid.folder
    done = left.run([BUILD / "koid", "-c", left.koid.config_file], check=False, timeout=15, environment={
        "RUNTIME_DIRECTORY": str(folder / "run"), "STATE_DIRECTORY": str(folder / "state")})
    said = done.stderr.strip()
    lab.check(done.returncode == 1, f"the second one ends with {done.returncode}")
    lab.check("runs already" in said or "already" in said, f"and says why: {said.splitlines()[-1] if said else ''}")
    lab.check(left.holds(VIP) and role(left) == "master" and became_master(left) == 1, "the first one goes on")
    lab.check(left.koid.koi("status").returncode == 0, "and is answered for")


@story(needs={"koid"}, timeout=60)
def story_worker_dies(lab):
    """A worker that is killed is started again within a second; nobody else notices, and nothing moves."""
    left = lab.node("left", config={"carp": FAST})
    right = lab.node("right", config={"carp": FAST_BACKUP})
    client = lab.host("client")
    wait_for_master(lab, "left")
    lab.wait_until(lambda: role(right) == "backup", 5, "right listens")
    with Dark(client, after=1) as dark:
        for _ in range(2):
            first = process_of(left, "worker")
            end_outright(first)
            left.say("worker killed")
            took = lab.wait_until(lambda: process_of(left, "worker") not in (None, first) and role(left) == "master", 5,
                                  "a new worker answers")
            lab.say(f"a new worker answers after {1000 * took:.0f} ms")
            lab.check(took <= 1.5, "within about a second")
    lab.check_soon(dark.seconds, 0.1, "the client saw nothing")
    lab.check(status(left)["speaker"]["worker_restarts"] == 2, "the status counts them")
    events = [json.loads(line) for line in left.koid.koi("events", "-o", "json").stdout.splitlines()]
    lab.check([event["number"] for event in events] == list(range(1, len(events) + 1)), "events are numbered on")
    lab.check(sum("vhid 51 is master" in event["sentence"] for event in events) == 1, "what the first worker told is told on")
    lab.check(sum("ended by signal 9" in event["sentence"] for event in events) == 2, "and that two have died")
    lab.check((became_master(left), became_master(right)) == (1, 0), "no role changed")
    lab.check(status(left)["troubles"] == [], "no trouble is left")


@story(needs={"koid"}, timeout=60)
def story_worker_hangs(lab):
    """A worker that hangs is ended after five silent seconds and started again; election and addresses go on meanwhile."""
    left = lab.node("left", config={"carp": FAST})
    right = lab.node("right", config={"carp": FAST_BACKUP})
    client = lab.host("client")
    wait_for_master(lab, "left")
    lab.wait_until(lambda: role(right) == "backup", 5, "right listens")
    with Dark(client) as dark:
        hung = process_of(left, "worker")
        os.kill(hung, signal.SIGSTOP)
        left.say("worker stopped where it is")
        took = lab.wait_until(lambda: process_of(left, "worker") not in (None, hung) and role(left) == "master", 15,
                              "a new worker answers")
    lab.say(f"a new worker answers {took:.2f} s after the old one hung")
    lab.check(4 < took < 10, "after its five seconds of silence")
    lab.check("silent" in left.koid.text(), "the log says so")
    lab.check_soon(dark.seconds, 0.1, "the client saw nothing")
    lab.check((became_master(left), became_master(right)) == (1, 0), "no role changed")


@story(needs={"koid"}, timeout=90)
def story_no_worker_can_be_had(lab):
    """Without a worker for ten seconds a node is demoted and the peer leads; with one again it takes the lead back."""
    left = lab.host("left")
    programs = left.folder / "programs"
    programs.mkdir()
    shutil.copy(BUILD / "koid", programs / "koid")
    worker = programs / "koid-worker"
    worker.symlink_to(BUILD / "koid-worker")
    lab.koid(left, {"carp": {"interface": "eth0", **FAST}, "vips": [{"vhid": 51, "addresses": [f"{VIP}/24"]}]},
             program=programs / "koid")
    right = lab.node("right", config={"carp": FAST_BACKUP})
    client = lab.host("client")
    wait_for_master(lab, "left")
    lab.wait_until(lambda: role(right) == "backup", 5, "right listens")

    broken = worker.with_suffix(".new")
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    broken.rename(worker)
    left.say("its worker's program is broken now")
    with Dark(client, after=1) as dark:
        end_outright(process_of(left, "worker"))
        took = lab.wait_until(lambda: right.holds(VIP), 25, "right leads")
        wait_for_master(lab, "right")
    lab.say(f"right took over after {took:.1f} s, dark for {1000 * dark.seconds:.0f} ms")
    lab.check(9 < took < 20, "after worker_grace (10 s)")
    lab.check_soon(dark.seconds, 0.5, "the client hardly noticed")
    lab.check("less well" in group(right)["because"], f"right says why: {group(right)['because']}")
    lab.check(left.koid.alive(), "left's speaker goes on trying")

    worker.unlink()
    worker.symlink_to(BUILD / "koid-worker")
    left.say("its worker's program is mended")
    wait_for_master(lab, "left", timeout=15)
    lab.wait_until(lambda: role(left) == "master" and group(left)["demotion"] == 0, 5, "left is well again")
