"""What the benches share: the contenders, a pair of them in a lab, many labs at once, tables.

Every contender has the same VIP on the same kind of wire; how a node is started is all in which they differ.
"""

import math
import multiprocessing
import os
import queue
import shutil
import signal
import subprocess
import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests/netns"))
from lab import Lab  # noqa: E402
from nodes import VIP, wait_for_master  # noqa: E402
from processes import BUILD  # noqa: E402

KEEPALIVED = """global_defs {{
  router_id {name}
  vrrp_version 3
}}
vrrp_instance bench {{
  state {state}
  interface eth0
  virtual_router_id 51
  priority {priority}
  advert_int {interval}
  virtual_ipaddress {{
    {vip}/24
  }}
}}
{services}"""

KEEPALIVED_SERVICE = """virtual_server {vip} 80 {{
  lb_algo wrr
  lb_kind NAT
  protocol TCP
{servers}}}
"""


# ---- The contenders: how a node is started; everything else is the same for all -----------------------------------------

class Koi:
    """advbase 1, or advbase 0 with skews of the wanted interval."""
    intervals = (1.0, 0.04)

    @staticmethod
    def version():
        words = subprocess.run([BUILD / "koid", "--version"], capture_output=True, text=True).stdout.split()
        return " ".join(words) or None

    @staticmethod
    def start(lab, host, preferred, interval, services=False):
        skew = (0 if preferred else 10) if interval >= 1 else round(256 * interval) - (1 if preferred else 0)
        config = {"carp": {"interface": "eth0", "advbase": int(interval), "advskew": skew},
                  "vips": [{"vhid": 51, "addresses": [f"{VIP}/24"]}]}
        if services:
            config["pools"] = {"web": {"source": {"static": [f"10.77.0.{n}:80" for n in (61, 62, 63)]}}}
            config["services"] = [{"name": "web", "at": f"{VIP}:80/tcp", "pool": "web", "scheduler": "wrr", "forward": "nat"}]
        shutil.rmtree(host.folder / "koid", ignore_errors=True)  # a machine that boots has an empty /run
        return lab.koid(host, config)


class SignedKoi(Koi):
    """Nodes that sign, so that they hand over by agreement; an interval below a second is told in the trailer."""
    intervals = (1.0, 0.1)

    @staticmethod
    def start(lab, host, preferred, interval, auth="require"):
        carp = {"interface": "eth0", "advskew": 0 if preferred else 50, "auth": auth, "auth_keys": {1: "{dir}/auth.key"}}
        if interval < 1:
            carp["interval"] = f"{1000 * interval:.0f}ms"
        shutil.rmtree(host.folder / "koid/run", ignore_errors=True)
        return lab.koid(host, {"carp": carp, "vips": [{"vhid": 51, "addresses": [f"{VIP}/24"]}]})


class Keepalived:
    """VRRPv3, priorities 150 and 100, everything else at its default."""
    intervals = (1.0, 0.04)

    @staticmethod
    def version():
        if not shutil.which("keepalived"):
            return None
        said = subprocess.run(["keepalived", "--version"], capture_output=True, text=True)
        return "keepalived " + (said.stdout + said.stderr).split()[1].lstrip("v")

    @staticmethod
    def start(lab, host, preferred, interval, services=False):
        servers = "".join(f"  real_server 10.77.0.{n} 80 {{\n    weight 1\n  }}\n" for n in (61, 62, 63))
        settings = host.new_file("keepalived", ".conf")
        settings.write_text(KEEPALIVED.format(
            name=host.name, state="MASTER" if preferred else "BACKUP", priority=150 if preferred else 100, interval=interval,
            vip=VIP, services=KEEPALIVED_SERVICE.format(vip=VIP, servers=servers) if services else ""))
        pids = [f"{settings}.{what}" for what in ("pid", "vrrp", "checkers")]
        return host.start(["keepalived", "-n", "-l", "-f", settings, "-p", pids[0], "-r", pids[1], "-c", pids[2],
                           *([] if services else ["-P"])])


class Ucarp:
    """advbase 1, the preferred one preempts, the address by up and down scripts."""
    intervals = (1.0,)

    @staticmethod
    def version():
        return "ucarp 1.5.2" if shutil.which("ucarp") else None

    @staticmethod
    def start(lab, host, preferred, interval, services=False):
        return lab.ucarp(host, VIP, advskew=0 if preferred else 10, preempt=preferred)


CONTENDERS = {"koi": Koi, "keepalived": Keepalived, "ucarp": Ucarp}


def present(only, contenders=None):
    """Which of the contenders named, "koi,ucarp", are on this machine; says so."""
    contenders, names = contenders or CONTENDERS, []
    for name in only.split(","):
        version = contenders[name].version() if name in contenders else None
        print(version or f"{name} is not here and is left out", flush=True)
        names += [name] if version else []
    return names


class Pair:
    """Two machines and a client. The left one is preferred, and leads."""

    def __init__(self, lab, contender, interval):
        self.lab, self.contender, self.interval = lab, contender, interval
        self.left, self.right, self.client = lab.host("left"), lab.host("right"), lab.host("client")
        self.programs = {}
        self.start(self.left)
        wait_for_master(lab, "left", timeout=15)
        self.start(self.right)
        lab.run_for(max(1.5, 4 * interval))

    def start(self, host):
        self.programs[host.name] = self.contender.start(self.lab, host, host is self.left, self.interval)

    def renew(self):
        """A fresh machine on the left, which takes the lead."""
        self.left.kill_power()
        self.left.power_on()
        self.start(self.left)
        wait_for_master(self.lab, "left", timeout=20)
        self.lab.run_for(max(0.3, 1.5 * self.interval))


# ---- Many labs --------------------------------------------------------------------------------------------------------------

def _live(live, arguments, answers):
    found, trouble = {}, None
    try:
        with Lab(out=sys.stderr) as lab:
            live(lab, found, *arguments)
    except BaseException as problem:  # told by the parent; the others go on
        trouble = f"{arguments}: {problem!r}\n{lab.transcript()[-3000:]}"
    answers.put((os.getpid(), arguments, found, trouble))


def in_labs(live, waiting, jobs):
    """live(lab, found, *arguments) for all arguments that wait, each in a process and a lab of its own, `jobs` at once.
    Yields (arguments, found, whether it went well); `found` is a dict, and has what came before a mishap."""
    waiting, answers, living = list(waiting), multiprocessing.Queue(), {}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        while waiting or living:
            while waiting and len(living) < jobs:
                arguments = waiting.pop(0)
                child = multiprocessing.Process(target=_live, args=(live, arguments, answers))
                child.start()
                living[child.pid] = child, arguments
            try:
                pid, arguments, found, trouble = answers.get(timeout=1)
            except queue.Empty:
                for pid in [pid for pid, (child, _) in living.items() if not child.is_alive() and child.exitcode]:
                    child, arguments = living.pop(pid)
                    print(f"a lab ended with {child.exitcode}", file=sys.stderr)
                    yield arguments, {}, False
                continue
            living.pop(pid)[0].join()
            if trouble:
                print(trouble, file=sys.stderr)
            yield arguments, found, trouble is None
    finally:
        for child, _ in living.values():
            child.terminate()
        for child, _ in living.values():
            child.join()


# ---- Tables -----------------------------------------------------------------------------------------------------------------

def quantile(values, share):
    return sorted(values)[math.ceil(len(values) * share) - 1]


def spread(values, unit=1000):
    """p50 / p99 / max, of seconds in ms unless another unit is told."""
    if not values:
        return "-"
    several = (unit * quantile(values, share) for share in (0.5, 0.99, 1))
    return " / ".join("all" if one == math.inf else "<1" if 0 < one < 1 else f"{one:.0f}" for one in several)


def verdict(holds, limit):
    return f"{limit}: {'holds' if holds else 'DOES NOT HOLD'}"


def print_table(head, rows):
    widths = [max(len(row[n]) for row in [head, *rows]) for n in range(len(head))]
    for row in [head, *rows]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
    sys.stdout.flush()
