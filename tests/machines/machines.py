"""A laboratory of machines: Debians with systemd on one wire, and a client. Its words are those of tests/netns/lab.py, and more.

    from machines import VIP, story

    @story(timeout=60)
    def story_the_backup_takes_over(lab):
        "When the master's power is cut, the backup answers for the address."
        lb1, lb2 = lab.pair()
        lab.start(lb1, lb2)
        lb1.power_cut()
        lab.wait_until(lambda: lab.master(VIP) == "lb2", 5, "lb2 leads")

Machine number x has eth0 on the front wire (10.77.0.x/24, fd77::x/64) and eth1 on the back wire (10.78.0.x/24, fd78::x/64).
lab.client is a third place on the front wire: a network namespace without a system of its own.
"""

import contextlib
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import box
import lab as netns
import layers
import roots
from debs import Repository, shipped
from machine import UNHURRIED, Machine
from metronome import Metronome
from nodes import VIP, VIP_6
from processes import Failed

__all__ = ["Failed", "Lab", "VIP", "VIP_6", "story"]
CLIENT = 99
KEYS = {"carp.key": "koi-machines", "auth.key": "koi-machines-" * 3}


def story(needs=(), timeout=60, quiet=False, release="bookworm", packages=(), slow=False, koi=True):
    """Says what a story needs.

    needs     "ip_vs": it is taken to a kernel that has it; or names of programs of the host's
    release   of Debian, of its machines
    packages  Debian packages that its machines have beside the usual ones
    slow      told only with --all, or when it is named
    koi       without a built package of Koi it cannot be told
    """
    def mark(function):
        function.needs, function.timeout, function.quiet = set(needs), timeout, quiet
        function.release, function.packages, function.slow, function.koi = release, tuple(packages), slow, koi
        return function
    return mark


def root_of(function):
    """The root that a story's machines stand on; made if need be."""
    return roots.root(function.release, {*function.packages, *roots.needed_by(shipped(function.release))})


def installed_on(root, debs, release):
    """The layer with Koi on that root; made if need be, by a machine in a box of its own."""
    def make(upper):
        def install(cgroup):
            with Lab(root, debs, release, cgroup) as lab:
                machine = lab.machine("koi", koi=True, fresh=True)
                machine.shutdown()
                layers.keep(machine.folder / "upper", upper)
        if box.run(install):
            raise RuntimeError(f"a machine on which {' '.join(str(deb) for deb in debs)} can be installed; see above")
    return layers.layer(root, debs, make)


class Lab(netns.Lab):
    def __init__(self, root, debs, release, cgroup, verbose=False):
        super().__init__(verbose, folder=Path("/run/lab"))
        self.release, self.cgroup, self.root = release, cgroup, root
        self.debs, self._metronome = debs, None

    def __enter__(self):
        super().__enter__()
        try:
            self.repository = Repository(self.folder / "repo")
            for deb in self.debs:
                self.repository.add(deb)
            self.client = self.host("client", CLIENT)
        except BaseException as problem:
            self.__exit__(type(problem), problem, problem.__traceback__)
            raise
        return self

    def sweep(self):
        """Everything here is the box's own."""

    def remove_folder(self):
        """It goes with the box."""

    def wait_until(self, predicate, timeout, what, every=0.02):
        """Where machines are emulated everything takes its time, and the limits of waiting are no promises."""
        return super().wait_until(predicate, timeout * UNHURRIED, what, every)

    # Its machines

    def machine(self, name, release=None, koi=False, fresh=False):
        """One pristine machine, booted; with `koi` the shipped package is installed (layers.py), `fresh`: here and now."""
        return self._machines([name], release, koi, fresh)[0]

    def _machines(self, names, release, koi, fresh=False, families=(4, 6)):
        if release not in (None, self.release):
            raise Failed(f"the machines of this story are Debian {self.release}; another release is asked for by "
                         f"@story(release=\"{release}\")")
        if koi and not self.debs:
            raise Failed(f"there is no package of Koi for Debian {self.release} (./dev deb makes it)")
        below = self.root
        if koi and not fresh:
            below = f"{layers.place_of(self.root, self.debs) / 'upper'}:{self.root}"
        booting = []
        for name in names:  # all at once
            number = 1 + max((one.number for one in self.hosts.values() if isinstance(one, Machine)), default=0)
            self.hosts[name] = Machine(self, name, number, below, families)
            booting.append(self.hosts[name])
        for machine in booting:
            machine.wait_booted()
        if koi and fresh:
            at_once(lambda machine: machine.apt_install(*self.debs), booting)
        return booting

    def pair(self, carp=None, vips=None, each=None, names=("lb1", "lb2"), families=(4, 6), fresh=False, **parts):
        """Two machines, the shipped package installed, keys and configuration written, the unit not started.

        carp   what both have in `carp:` beside interface, keys and `auth: require`
        vips   addresses of vhid 51, or the list as it stands in the file; VIP and VIP_6 by default
        each   {"lb2": {"carp": {"advskew": 50}}}: what one of them has beside it; lb2 has advskew 100 unless it says so
        parts  other parts of the file: services=[…], pools={…}
        fresh  apt installs the package here and now; otherwise they begin as machines on which it once did
        families  of their own addresses
        """
        self.metronome
        machines = self._machines(names, None, True, fresh, families)
        for place, machine in enumerate(machines):
            own = (each or {}).get(machine.name, {})
            told = {"carp": {"interface": "eth0", "key_file": "/etc/koi/keys/carp.key", "auth": "require",
                             "auth_keys": {1: "/etc/koi/keys/auth.key"}, "advskew": 100 * place, **(carp or {}),
                             **own.get("carp", {})},
                    "vips": addresses_of(vips or (VIP, VIP_6)), **parts,
                    **{part: value for part, value in own.items() if part != "carp"}}
            self.write_keys(machine)
            self.write_configuration(machine, told)
        return machines

    def write_keys(self, machine, keys=None):
        """Below /etc/koi/keys, readable by the user that koid runs as and by nobody else."""
        owner = machine.unit("User") or "root"
        machine.run("install -d -m 750 -o root -g koi /etc/koi/keys")
        for name, text in (keys or KEYS).items():
            machine.write(f"/etc/koi/keys/{name}", text + "\n", 0o400, f"{owner}:root")

    def write_configuration(self, machine, told):
        """koi.yaml, of a dict or of text. JSON is YAML."""
        if not isinstance(told, str):
            told = json.dumps(told, indent=2, ensure_ascii=False) + "\n"
        machine.write("/etc/koi/koi.yaml", told)

    def start(self, *machines, leads=VIP, timeout=15):
        """`systemctl start koi` on all of them; waits until the first one alone holds the address."""
        for machine in machines:
            machine.systemctl("start", "koi")
        if leads:
            self.wait_until(lambda: self.master(leads) == machines[0].name, timeout,
                            f"{machines[0].name}, and nobody else, holds {leads}")

    # From the third place

    def watch(self, address, every_ms=2, **more):
        """The client asks by ping at a steady beat from now until .end()."""
        return self.client.watch(address, **{"proto": "ping", "every_ms": every_ms, **more})

    def owners(self, address, machines, every_ms=2):
        """Each machine is asked by itself whether it answers for an address, from now until .end()."""
        return self.client.owners(address, machines, every_ms)

    # How busy this machine is

    @property
    def metronome(self):
        """A bare loop beside the story; begins to beat when it is first asked for."""
        if self._metronome is None:
            self._metronome = Metronome(self.client, self.cgroup)
        return self._metronome

    def slip(self, since, until=float("inf")):
        """For how many seconds this machine kept the machines' programs waiting between two moments: no fault of Koi's."""
        return self.metronome.lateness(since, until)

    def within(self, seconds, limit, since, what, until=float("inf")):
        """Checks a time against a limit, which is longer by what this machine kept waiting meanwhile."""
        slip = self.slip(since, until)
        self.check(seconds <= limit + slip, f"{what}: {seconds:.3f} s, {limit:.3f} s at most"
                   + (f" and {slip:.3f} s that this machine was late" if slip > 0.001 else ""))

    def __exit__(self, kind, value, trace):
        if kind is not None:
            self.remember_journals()
            self.client.processes = [one for one in self.client.processes if one.name not in ("metronome", "watch", "owners")]
        super().__exit__(kind, value, trace)

    def remember_journals(self):
        for machine in self.hosts.values():
            if isinstance(machine, Machine) and machine.leader:
                with contextlib.suppress(Exception):
                    text = machine.run("journalctl --no-pager -q -o short-precise -n 100 -u koi", check=False, timeout=10).stdout
                    self.note([f"\n--- {machine.name}: its journal, times since the story began", *map(self.as_ours, text.splitlines())])

    def as_ours(self, line):
        """A line of `journalctl -o short-precise` with the transcript's time."""
        words = line.split(" ", 4)
        try:
            clock = [float(one) for one in words[2].split(":")]
        except (IndexError, ValueError):
            return line
        now = time.localtime()
        there = clock[0] * 3600 + clock[1] * 60 + clock[2] - (now.tm_hour * 3600 + now.tm_min * 60 + now.tm_sec + time.time() % 1)
        return f"{self.relative(time.monotonic() + there):8.3f}  {words[4]}"


def at_once(deed, several):
    """Does the same for each of them side by side; ends when the last one is done."""
    with ThreadPoolExecutor(len(several)) as threads:
        return list(threads.map(deed, several))


def addresses_of(vips):
    if all(isinstance(one, str) for one in vips):
        return [{"vhid": 51, "addresses": [one if "/" in one else one + ("/64" if ":" in one else "/24") for one in vips]}]
    return list(vips)
