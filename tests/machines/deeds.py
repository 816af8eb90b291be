"""Words about processes that are struck, and come back."""


def went_on(lab, machine, program, old, seconds=20):
    """Waits for a successor of a process; returns how long that took."""
    return lab.wait_until(lambda: machine.pid(program) not in (None, old), seconds, f"another {program} runs", every=0.005)


def is_whole(lab, machine, timeout=20):
    """All three processes run and the control socket answers."""
    lab.wait_until(lambda: all(machine.pid(one) for one in ("koid", "koid-worker", "koid-scout")) and machine.role() != "unknown",
                   timeout, f"{machine.name} runs koid, worker and scout")
