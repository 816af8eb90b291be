"""Words about processes: who they are, and that one which is struck comes back as who it was."""

from pathlib import Path


def about(pid):
    return dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)


def user(machine, pid):
    uid = about(pid)["Uid"].split()[0]
    return machine.sh(f"getent passwd {uid} | cut -d: -f1").stdout.strip()


def scout_is_nobody(lab, machine):
    lab.wait_until(lambda: machine.pid("koid-scout"), 10, "a scout runs")
    lab.wait_until(lambda: int(about(machine.pid("koid-scout"))["CapPrm"], 16) == 0, 5, "and has given up all rights")
    lab.check(user(machine, machine.pid("koid-scout")) == "koi-scout", "the scout is koi-scout")


def went_on(lab, machine, program, old, seconds=20):
    """Waits for a successor of a process; returns how long that took."""
    return lab.wait_until(lambda: machine.pid(program) not in (None, old), seconds, f"another {program} runs", every=0.005)


def is_whole(lab, machine, timeout=20):
    """All three processes run as who they are, and the control socket answers."""
    lab.wait_until(lambda: all(machine.pid(one) for one in ("koid", "koid-worker", "koid-scout")) and machine.role() != "unknown",
                   timeout, f"{machine.name} runs koid, worker and scout")
    scout_is_nobody(lab, machine)
