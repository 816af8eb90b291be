"""Words about machines that run koid, for stories: roles, counters, troubles, starting again; and about darkness.

The daemon is asked over its own socket, so that a look costs no process.
"""

import http.client
import json
import os
import shutil
import signal
import socket
import statistics
from pathlib import Path

from processes import Failed

VIP, VIP_6 = "10.77.0.100", "fd77::64"
# Elections that are not about time go fast: an advert each quarter of a second, 0.7 to 1 s of patience.
FAST, FAST_BACKUP = {"advbase": 0, "advskew": 60}, {"advbase": 0, "advskew": 80}


class _Socket(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("koi", timeout=10)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def ask(node, path):
    """GET from a node's control socket."""
    line = _Socket(node.koid.socket)
    try:
        line.request("GET", path)
        answer = line.getresponse()
        text = answer.read().decode()
    finally:
        line.close()
    if answer.status != 200:
        raise Failed(f"{node.name} answers {path} with {answer.status}: {text}")
    return text


def status(node, part="all"):
    """The status, or a part of it; {} while nobody answers."""
    try:
        return json.loads(ask(node, f"/v1/status?part={part}"))
    except (OSError, http.client.HTTPException):
        return {}


def group(node, vhid=51):
    """All that a node says about its part in one vhid."""
    return next((one for one in status(node, "roles").get("roles", []) if one["vhid"] == vhid), {})


def role(node, vhid=51):
    return group(node, vhid).get("role", "unknown")


def refused(node, reason, vhid=51):
    """How many packets a node has refused for a reason."""
    return group(node, vhid)["adverts"]["refused"][reason]


def became_master(node, vhid=51):
    return group(node, vhid).get("became_master")


def trouble(node, what):
    """The sentence of a trouble that stands now, or None."""
    found = [one["sentence"] for one in status(node, "troubles").get("troubles", []) if one["what"] == what]
    return found[0] if found else None


def metric(node, name, **labels):
    """One sample of /metrics, or None."""
    for line in ask(node, "/metrics").splitlines():
        series, _, value = line.rpartition(" ")
        if series.partition("{")[0] == name and all(f'{key}="{wanted}"' in series for key, wanted in labels.items()):
            return float(value)
    return None


def cpu_seconds(node):
    """What a node's speaker has used of a processor since it began: in programs, and in the kernel for them."""
    words = Path(f"/proc/{node.koid.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


# Starting again

def start_again(node, forgiven=True, **more):
    """koid as it was, in the same folder: what the one before left there is found. `forgiven`: but for the record of short
    lives, so that a story in which koid dies often does not meet its growing pause."""
    koid = node.koid
    if forgiven:
        (koid.folder / "run/lives").unlink(missing_ok=True)
    return node.lab.koid(node, koid.config_file.read_text(), key=koid.key_file.read_text(), **more)


def boot(node):
    """The machine after kill_power(): power on, an empty /run, koid as it was."""
    node.power_on()
    shutil.rmtree(node.koid.folder / "run")
    return start_again(node)


def wait_for_master(lab, name, vip=VIP, timeout=10):
    return lab.wait_until(lambda: lab.master(vip) == name, timeout, f"{name}, and nobody else, holds {vip}")


def process_of(node, kind):
    """The process id of "worker" or "scout" of a node's koid, or None while there is none."""
    children = [node.koid.pid]
    while children:
        parent = children.pop()
        try:
            listed = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        except OSError:
            continue
        for child in map(int, listed):
            try:
                name = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")[0].decode()
            except OSError:
                continue
            if name == f"koid {kind}":
                return child
            children.append(child)
    return None


def end_outright(pid):
    os.kill(pid, signal.SIGKILL)


def swallow_multicast(host):
    """The wire forwards no multicast to this host any more, as some switches and most clouds do."""
    host.say("the wire swallows multicast")
    host._set_port("front", "mcast_flood off")


# Darkness

def rounds(otherwise):
    """How often a measurement is repeated: KOI_RUNS, or a few."""
    return int(os.environ.get("KOI_RUNS", otherwise))


def figures(seconds):
    low, middle, high = (1000 * one for one in (min(seconds), statistics.median(seconds), max(seconds)))
    return f"min {low:.0f} / median {middle:.0f} / max {high:.0f} ms of {len(seconds)}"


class Dark:
    """with Dark(client) as dark: …   asks by ping every 5 ms meanwhile; afterwards dark.seconds."""

    def __init__(self, client, address=VIP, before=0.1, after=0.3):
        self.client, self.address, self.before, self.after = client, address, before, after

    def __enter__(self):
        self.watch = self.client.watch(self.address, proto="ping", every_ms=5, timeout_ms=100)
        self.client.lab.run_for(0.1 + self.before)  # it has to start
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.client.lab.run_for(self.after)
            self.watch.end()
            self.seconds, self.answered = self.watch.longest_dark, sum(self.watch.answers.values())
            if not self.answered:
                raise Failed(f"{self.address} never answered {self.client.name}")


def mac_in_cache(client, address=VIP):
    """At which MAC a client believes an address to be."""
    words = client.run(["ip", "neigh", "show", address]).stdout.split()
    return words[words.index("lladdr") + 1] if "lladdr" in words else None


def mac_of(host, interface="eth0"):
    return host.mac("front" if interface == "eth0" else "back")
