"""koid under its unit: who its processes are and what they may do, the system calls of a whole life, what it says where
something of that is missing, and how it goes on after deaths. What systemd itself does is told in tests/machines."""

import os
import re
import signal
import time
from pathlib import Path

import under_unit
from lab import story
from nodes import FAST, FAST_BACKUP, end_outright, process_of, role, start_again, wait_for_master
from processes import BUILD

NET_ADMIN, NET_RAW = 1 << 12, 1 << 13
HANDED_ON = 1 << 6 | 1 << 7 | 1 << 8  # SETGID, SETUID, SETPCAP

# No services: a kernel without ip_vs would not lead then.
POOLS = {"pools": {"web": {"source": {"file": "{dir}/web.list"}}, "dns": {"source": {"static": ["10.77.0.9:53"]}}}}


def about(pid):
    """/proc/PID/status as a dict."""
    return dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)


def capabilities(pid, which):
    return int(about(pid)[which], 16)


def kinds(node):
    return {"speaker": node.koid.pid, "worker": process_of(node, "worker"), "scout": process_of(node, "scout")}


def leading(lab, **more):
    """A node that leads at once, with pools to watch."""
    host = lab.host("left")
    lab.koid(host, {"carp": {"interface": "eth0", **FAST}, "vips": [{"vhid": 51, "addresses": ["10.77.0.100/24"]}], **POOLS},
             **more).write("web.list", "10.77.0.9:80\n")
    wait_for_master(lab, "left")
    lab.wait_until(lambda: all(kinds(host).values()), 5, "speaker, worker and scout run")
    # The scout is somebody else a moment after it has begun.
    lab.wait_until(lambda: capabilities(kinds(host)["scout"], "CapPrm") == 0, 5, "the scout has given up what it had")
    return host


def check_rights(lab, node):
    pids = kinds(node)
    for kind, in_effect, permitted in (("speaker", NET_ADMIN | NET_RAW, HANDED_ON | NET_ADMIN | NET_RAW),
                                       ("worker", NET_ADMIN, HANDED_ON | NET_ADMIN), ("scout", 0, 0)):
        told = about(pids[kind])
        lab.check(int(told["CapEff"], 16) == in_effect, f"the {kind} has {told['CapEff']} in effect")
        lab.check(int(told["CapPrm"], 16) == permitted, f"and could have {told['CapPrm']}")
        lab.check(told["NoNewPrivs"] == "1", f"the {kind} gains no privileges")
        lab.check(told["Seccomp"] == "2", f"the {kind} is filtered")
    scout, speaker = about(pids["scout"]), about(pids["speaker"])
    lab.check(scout["Uid"].split()[0] not in ("0", speaker["Uid"].split()[0]), f"the scout is user {scout['Uid'].split()[0]}")
    lab.check(scout["Groups"].strip() == "" and scout["CapBnd"] == "0" * 16 or speaker["Uid"].startswith("0"),
              "in no group, and nothing it starts could have more")


@story(needs={"koid"})
def story_each_process_has_what_it_needs(lab):
    """Under the unit's user the speaker has NET_ADMIN and NET_RAW, the worker NET_ADMIN, the scout nothing and another user;
    the state is the user's alone, the control socket its group's."""
    left = leading(lab)
    check_rights(lab, left)
    uid, gid = under_unit.ids()
    lab.check(about(left.koid.pid)["Uid"].split() == [str(uid)] * 4, f"koid is user {uid}")
    run = left.koid.folder / "run"
    for file in ("resume", "lock", "held", "lives", "applied.yaml", "events"):
        found = (run / file).stat()
        lab.check((found.st_mode & 0o777, found.st_uid) == (0o600, uid), f"run/{file} is {found.st_mode & 0o777:o}")
    socket = left.koid.socket.stat()
    lab.check((socket.st_mode & 0o777, socket.st_gid) == (0o660, gid), f"koi.sock is {socket.st_mode & 0o777:o}")
    lab.check(left.koid.stop() == 0, "it ends with 0")
    lab.check(not (run / "lives").exists(), "and says that it did not die")


@story(needs={"koid"})
def story_root_without_new_privileges(lab):
    """As root in a container that forbids new privileges: the same rights, and a worker and a scout that die come back."""
    left = leading(lab, entrance=under_unit.entrance(as_root=True))
    check_rights(lab, left)
    for kind in ("worker", "scout"):
        before = kinds(left)[kind]
        end_outright(before)
        lab.wait_until(lambda: kinds(left)["scout"] and kinds(left)[kind] not in (None, before), 5, f"another {kind}")
        lab.wait_until(lambda: capabilities(kinds(left)["scout"], "CapPrm") == 0, 5, "with a scout without rights")
    check_rights(lab, left)


@story(needs={"koid"})
def story_missing_capabilities_are_named(lab):
    """A unit that does not give a capability: koid says which one, what it is for or that it cannot be, and what to do."""
    host = lab.host("left")
    config = {"carp": {"interface": "eth0", **FAST}, "vips": [{"vhid": 51, "addresses": ["10.77.0.100/24"]}], **POOLS}
    koid = lab.koid(host, config, entrance=under_unit.entrance(without=["CAP_NET_RAW"]))
    lab.check(koid.wait() == 1, "without CAP_NET_RAW it ends with 1")
    lab.check("koid needs CAP_NET_RAW; run as root or give the unit AmbientCapabilities=CAP_NET_RAW" in koid.text(),
              "and says so")
    koid = lab.koid(host, config, entrance=under_unit.entrance(without=["CAP_SETUID"]))
    koid.write("web.list", "10.77.0.9:80\n")
    koid.wait_for_text("cannot run as a user of its own: koid lacks CAP_SETUID; run as root or give")
    wait_for_master(lab, "left")
    lab.wait_until(lambda: kinds(host)["scout"], 5, "it leads, and the scout runs")
    lab.wait_until(lambda: capabilities(kinds(host)["scout"], "CapPrm") == 0, 5, "without rights")


@story(needs={"koid"})
def story_nothing_is_configured(lab):
    """Started without a configuration koid says in one sentence what to do, and ends with 78, which nobody tries again."""
    host = lab.host("left")
    koid = lab.koid(host, None, arguments=["-c", host.folder / "none.yaml"])
    lab.check(koid.wait() == 78, "exit code 78")
    said = koid.text().splitlines()
    lab.check(len(said) == 1 and said[0].startswith(f"speaker: configuration: there is no {host.folder}/none.yaml; copy "),
              f"one plain line: {said}")


@story(needs={"koid"})
def story_files_of_another_user(lab):
    """What an earlier koid left as root: it says whose the file is and what to do, once, and goes on without it."""
    left = lab.node("left", config={"carp": FAST})
    wait_for_master(lab, "left")
    left.koid.stop()
    counter = left.koid.folder / "state/counter"
    lab.check(counter.exists(), "a counter was kept")
    koid = left.koid

    def as_root():
        for file in (counter, koid.folder / "run/lock"):
            os.chown(file, 0, 0)
            file.chmod(0o600)

    enter = under_unit.entrance()
    again = start_again(left, entrance=lambda: (as_root(), enter()))
    lab.check(again.wait() == 1, "a lock of root's: it ends with 1")
    remedy = f"belongs to root and koid runs as {under_unit.name()} now, run: chown -R {under_unit.name()}: "
    lab.check(f"run/lock {remedy}{koid.folder}/run" in again.text(), "and says how to mend it")
    again = start_again(left, entrance=lambda: (os.chown(counter, 0, 0), enter()))
    again.wait_for_text(f"state/counter {remedy}{koid.folder}/state; this node begins anew")
    wait_for_master(lab, "left")
    again.stop()
    again = start_again(left)
    wait_for_master(lab, "left")
    lab.check("belongs to" not in again.text(), "given back as systemd does it, nothing is to be said")


@story(needs={"koid"})
def story_dying_again_and_again(lab):
    """A koid that dies within seconds of each start: the first restarts are immediate, then it waits longer and longer, tells
    its service manager so, and ends at once when it is asked to."""
    left = lab.node("left", config={"carp": FAST})
    for _ in range(3):
        wait_for_master(lab, "left")
        end_outright(left.koid.pid)
        left.koid.wait()
        began = time.monotonic()
        start_again(left, forgiven=False).wait_ready()
        lab.say(f"ready {time.monotonic() - began:.2f} s after its start")
        lab.check("short_lives" not in left.koid.text(), "no pause")
    for pause in (200, 400):
        end_outright(left.koid.pid)
        left.koid.wait()
        koid = start_again(left, forgiven=False)
        koid.wait_for_text(f"begins again in {pause} ms")
        lab.check(koid.wait_ready() >= pause / 1000, f"ready after {koid.noticed('READY'):.2f} s")
        extended = next(int(notice["EXTEND_TIMEOUT_USEC"]) for _, notice in koid.notices if "EXTEND_TIMEOUT_USEC" in notice)
        lab.check(extended > 1000 * pause, "its service manager waits for that")
    (left.koid.folder / "run/lives").write_text(re.sub("1 [0-9]+", "1 100", (left.koid.folder / "run/lives").read_text(), count=1))
    end_outright(left.koid.pid)
    left.koid.wait()
    koid = start_again(left, forgiven=False)
    koid.wait_for_text("begins again in 30000 ms")
    lab.check(koid.stop() == 0, "asked to end in its pause, it ends")


@story(needs={"koid"})
def story_watchdog_follows_the_peers_patience(lab):
    """systemd is told to wait half of what the peers wait, never less than a second, at the start and at a reload; answers
    come three times within it; a stopped speaker gives none."""
    left = lab.node("left", config={"carp": {"advbase": 2}})
    left.koid.stop()
    koid = start_again(left, environment={"WATCHDOG_USEC": "5000000"})

    def times():
        return [int(notice["WATCHDOG_USEC"]) for _, notice in koid.notices if "WATCHDOG_USEC" in notice]

    def answers(seconds):
        until = time.monotonic() - koid.began
        return [when for when, notice in koid.notices if "WATCHDOG" in notice and until - seconds <= when]

    koid.wait_ready()
    lab.wait_until(lambda: times() == [3_000_000], 5, "half of three times two seconds")
    koid.write_config({"carp": {"interface": "eth0", **FAST}, "vips": [{"vhid": 51, "addresses": ["10.77.0.100/24"]}]})
    koid.koi("reload")
    lab.wait_until(lambda: times() == [3_000_000, 1_000_000], 5, "never less than a second")
    lab.run_for(3)
    lab.check(6 <= len(answers(3)) <= 10, f"{len(answers(3))} answers in 3 s")
    koid.signal(signal.SIGSTOP)
    lab.run_for(2)
    lab.check(not answers(1.5), "a stopped one says nothing")
    koid.signal(signal.SIGCONT)


@story(needs={"koid"}, timeout=90)
def story_a_hung_scout_is_replaced(lab):
    """The worker may not signal another user's process, and ends a scout that has been silent for 5 s all the same; a worker
    that hangs is ended by the speaker."""
    left = leading(lab)
    for kind in ("scout", "worker"):
        before = kinds(left)[kind]
        os.kill(before, signal.SIGSTOP)
        lab.wait_until(lambda: kinds(left)[kind] not in (None, before), 12, f"another {kind}")
        lab.check(f"the {kind} has been silent for 5 s; ending it" in left.koid.text(), f"the hung {kind} was noticed")
        lab.wait_until(lambda: kinds(left)["scout"], 5, "and there is a scout")
    lab.check(role(left) == "master", "left led all the time")


class Trace:
    """Everything that a program and its children ask the kernel for, from the exec of `first` on."""

    def __init__(self, lab, first):
        self.file, self.first = lab.folder / f"strace-{time.monotonic_ns()}", first
        self.words = ["strace", "-D", "-f", "-qq", "-o", self.file, "--", "/usr/bin/python3", "-S",
                      under_unit.__file__, "--no-filter"]

    def calls(self):
        """{name: program that made it}"""
        found, programs, begun = {}, {}, False
        for line in self.file.read_text(errors="replace").splitlines():
            pid, _, rest = line.partition(" ")
            rest = rest.lstrip()
            name = re.match(r"(?:<\.\.\. )?([a-z_0-9]+)[( ]", rest)
            if name is None:
                continue
            executed = re.match(r'execve\("([^"]+)", \["([^"]+)"', rest)
            if executed:
                begun = begun or executed[1].endswith(self.first)
                programs[pid] = executed[2] if executed[2].startswith("koid ") else Path(executed[1]).name
            if begun:
                found.setdefault(name[1], programs.get(pid, "koid, or a child or thread of it"))
        return found


@story(needs={"koid", "strace", "systemd-analyze"}, timeout=180)
def story_system_calls_of_a_whole_life(lab):
    """start, lead, reload, hand over, crash and hang of each process, stop, withdraw: every system call that strace sees is
    one that the unit lets pass."""
    left, right = lab.host("left"), lab.host("right")
    traces = []

    def trace(first="/koid"):
        traces.append(Trace(lab, first))
        return traces[-1].words

    def config(carp):
        signed = {"interface": "eth0", "auth": "require", "auth_keys": {1: "{dir}/auth.key"}, **carp}
        return {"carp": signed, "vips": [{"vhid": 51, "addresses": ["10.77.0.100/24", "fd77::64/64"]}], **POOLS}

    lab.koid(left, config(FAST), watcher=trace()).write("web.list", "10.77.0.9:80\n")
    lab.koid(right, config(FAST_BACKUP), entrance=under_unit.entrance(with_filter=False)).write("web.list", "10.77.0.9:80\n")
    wait_for_master(lab, "left", timeout=30)
    lab.wait_until(lambda: role(right) == "backup", 15, "right listens")
    lab.wait_until(lambda: all(kinds(left).values()), 15, "all processes run")

    def run(program, *arguments):
        left.run([*trace(f"/{program}"), under_unit.reachable(BUILD / program, lab.folder / "programs"), *arguments],
                 environment={"RUNTIME_DIRECTORY": str(left.koid.folder / "run"), "KOI_SOCKET": str(left.koid.socket)})

    left.koid.write("web.list", "10.77.0.9:80 3\n10.77.0.10:80\n")
    run("koi", "reload")
    left.koid.reload()
    left.koid.koi("status")
    left.koid.koi("plan", check=False)
    left.koid.koi("step-down", "51")
    wait_for_master(lab, "right", timeout=15)
    left.koid.koi("step-up", "51")
    wait_for_master(lab, "left", timeout=15)
    for kind, how in (("scout", signal.SIGKILL), ("worker", signal.SIGKILL), ("scout", signal.SIGSTOP), ("worker", signal.SIGSTOP)):
        before = kinds(left)[kind]
        os.kill(before, how)
        lab.wait_until(lambda: kinds(left)[kind] not in (None, before), 20, f"another {kind}")
        lab.wait_until(lambda: kinds(left)["scout"], 15, "and a scout")
    end_outright(left.koid.pid)
    left.koid.wait()
    (left.koid.folder / "run/lives").write_text("koi lives 1 9 " + str(time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000) + "\n")
    start_again(left, watcher=trace(), forgiven=False).wait_for_text("begins again in")
    left.koid.stop(15)
    (left.koid.folder / "run/lives").unlink(missing_ok=True)
    start_again(left, watcher=trace()).wait_ready(30)
    wait_for_master(lab, "left", timeout=30)
    left.koid.stop(20)
    run("koid", "--withdraw")

    lab.run_for(0.5)  # strace writes what it has
    seen = {}
    for one in traces:
        calls = one.calls()
        lab.check(calls, f"strace saw calls of {one.first}")
        seen = {**calls, **seen}
    lab.say(f"{len(seen)} different system calls: {' '.join(sorted(seen))}")
    for name in ("clock_adjtime", "setresuid", "capset", "kill", "unlink"):
        lab.check(name in seen, f"the life was a whole one: it has {name}")
    missing = {name: program for name, program in seen.items() if name not in under_unit.allowed()}
    lab.check(not missing, "SystemCallFilter= of the unit lacks " + ", ".join(f"{name} ({program})" for name, program in
                                                                               sorted(missing.items())) if missing else
              "all of them pass the unit's filter")
