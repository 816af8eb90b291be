"""What the first process of a container owes to the others."""

import time

from lab import story
from podman import configure, left_behind

VIP = "10.77.0.100"


def pid_of(koi, word):
    """The process in the container whose command line has this word, as it sees it."""
    for pid, _, _, _ in koi.processes():
        line = koi.exec("sh", "-c", f"tr '\\0' ' ' </proc/{pid}/cmdline || true", check=False).stdout
        if word in line:
            return pid
    return None


@story(timeout=120)
def story_orphans_are_reaped_and_own_children_restarted(lab):
    """Orphans leave no zombie, a worker that dies is started again, and a speaker that dies ends the container."""
    host = lab.host("lb1")
    configure(host)
    koi = lab.podman.start(host)
    koi.wait_until_it_leads(VIP)
    koi.exec("sh", "-c", "(sleep 0.2 & sleep 0.3 & sleep 0.4 &) ; exit 0")
    lab.wait_until(lambda: not any(name == "sleep" for *_, name in koi.processes()), 10, "three orphans are gone")
    lab.check(not any(state == "Z" for _, _, state, _ in koi.processes()), "no zombie")

    worker = pid_of(koi, "koid worker")
    lab.check(worker is not None, f"the worker is process {worker}")
    koi.exec("kill", "-9", worker)
    lab.wait_until(lambda: koi.exec("koi", "status", check=False).returncode == 0 and pid_of(koi, "koid worker") != worker, 15,
                   "another worker answers")
    lab.check(koi.inspect("{{.State.Running}}") == "true", "the container lives on")

    speaker = next(pid for pid, parent, _, name in koi.processes() if parent == 1 and name == "koid")
    koi.exec("kill", "-9", speaker)
    lab.check(koi.exit_code() == 137, "a speaker that is killed ends the container with 128 + 9")
    lab.check("ended by signal 9" in koi.logs()[-1], f"which is said: {koi.logs()[-1]}")


@story(timeout=120)
def story_signals_are_forwarded(lab):
    """SIGHUP reloads, SIGTERM and SIGINT stop politely and leave nothing."""
    host = lab.host("lb1")
    configure(host)
    koi = lab.podman.start(host)
    for signal in ("TERM", "INT"):
        koi.wait_until_it_leads(VIP)
        if signal == "TERM":
            (host.folder / "etc/koi.yaml").write_text((host.folder / "etc/koi.yaml").read_text().replace(
                '"10.77.0.100/24"', '"10.77.0.100/24", "10.77.0.101/24"'))
            koi.signal("HUP")
            lab.wait_until(lambda: host.holds("10.77.0.101"), 10, "SIGHUP: the address that was added is there")
        koi.signal(signal)
        lab.check(koi.exit_code() == 0, f"SIG{signal} ends it with 0")
        lab.check(left_behind(host, VIP) == [], "and nothing stays")
        if signal == "TERM":
            lab.podman.run("start", "koi", host=host)
            time.sleep(0.1)
