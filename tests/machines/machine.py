"""One machine of the lab: a Debian with systemd in systemd-nspawn, on an overlay over a pristine root. Made by lab.machine().

It is a host as tests/netns has them, with the same words for its cables and addresses; what it runs, it runs by itself.
"""

import contextlib
import json
import os
import shlex
import signal
import socket
import struct
import subprocess
import time
from fcntl import ioctl
from pathlib import Path

import addresses
import nodes
from host import WIRES, Host
from namespaces import NAMESPACES, inside, ip_batch, links_down
from processes import Failed, Process

UNHURRIED = 12 if "KOI_GUEST" in os.environ else 1  # programs of an emulated machine take ten to twenty times as long
GET_MAC = 0x8927  # SIOCGIFHWADDR
REBOOTS = 133  # how systemd-nspawn ends when the machine asks for another start
CONTROL_SOCKET = "run/koi/koi.sock"
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8",
               "TERM": "dumb", "SYSTEMD_PAGER": "", "SYSTEMD_COLORS": "0"}
PROGRAMS = ("koid", "koid-worker", "koid-scout")


class Machine(Host):
    def __init__(self, lab, name, number, root, families=(4, 6)):
        self.root, self.tree, self.cgroup = root, lab.folder / name / "tree", lab.cgroup / name
        self.leader = self.nspawn = None  # its first process, as the lab sees it; the program that holds it
        self.koid = Daemon(self)          # so that the words of tests/netns/nodes.py hold for it
        self.boots, self._macs = 0, {}
        own = {wire: [pattern.format(number) for pattern in WIRES[wire][1:] if (6 if ":" in pattern else 4) in families]
               for wire in WIRES}
        super().__init__(lab, name, number, tuple(WIRES), own, (), False)

    # Its life

    def _build(self):
        """An overlay over the root, what an installer would have asked for, and power on."""
        for folder in ("upper", "work", "tree"):
            (self.folder / folder).mkdir()
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", f"lowerdir={self.root},upperdir={self.folder}/upper,"
                        f"workdir={self.folder}/work", self.tree], check=True)
        etc = self.tree / "etc"
        (etc / "hostname").write_text(f"{self.name}\n")
        (etc / "hosts").write_text(f"127.0.0.1 localhost\n127.0.1.1 {self.name}\n::1 localhost\n")
        (etc / "machine-id").write_text(f"{os.getpid():08x}{self.number:024x}\n")
        (etc / "systemd/network").mkdir(parents=True, exist_ok=True)
        for wire in self._wires:
            interface = WIRES[wire][0]
            (etc / f"systemd/network/10-{interface}.network").write_text(
                f"[Match]\nName={interface}\n\n[Network]\n" + "".join(f"Address={one}\n" for one in self._own[wire])
                + "IPv6AcceptRA=no\nIPv6DuplicateAddressDetection=0\nLLDP=no\n")
        self._power_on()

    def _power_on(self):
        self.boots += 1
        self.leader, self._ready = None, False
        for wire in self._wires:  # the kernel takes its time to remove those of the machine that was
            with contextlib.suppress(Failed):
                ip_batch([f"link del {self.plug(wire)}"], self.lab.wire_namespace)
        self.cgroup.mkdir(exist_ok=True)
        notices = self.folder / "notices"
        notices.unlink(missing_ok=True)
        self._notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._notices.bind(str(notices))
        self.lab.listen(self._notices, self._hear_notices)
        nspawn = ["systemd-nspawn", "-q", "-D", self.tree, "-M", self.name, "--boot", "--register=no", "--keep-unit",
                  *(f"--network-veth-extra={self.plug(wire)}:{WIRES[wire][0]}" for wire in self._wires),
                  f"--bind-ro={self.lab.repository.folder}:/repo", "--resolv-conf=off", "--timezone=off", "--link-journal=no",
                  "--system-call-filter=clock_adjtime adjtimex",  # or the machine does not know what time it is
                  "--kill-signal=SIGRTMIN+3", "--notify-ready=yes", "--console=pipe"]
        # On the wires' side: that is where its cables end.
        self.nspawn = Process(_On(self, self.lab.wire_namespace), [
            "/bin/sh", "-c", f"echo $$ >{self.cgroup}/cgroup.procs; exec {shlex.join(map(str, nspawn))}"], f"boot-{self.boots}",
            environment={"NOTIFY_SOCKET": str(notices), "SYSTEMD_NSPAWN_LOCK": "0"})
        self.powered = True

    def _hear_notices(self):
        with contextlib.suppress(BlockingIOError):
            data, files, _, _ = socket.recv_fds(self._notices, 8192, 4)
            for number in files:
                os.close(number)
            for line in data.decode(errors="replace").splitlines():
                word, _, value = line.partition("=")
                if word == "X_NSPAWN_LEADER_PID":
                    self.leader = int(value)
                elif word == "READY":
                    self._ready = True

    def _wait_for(self, predicate, seconds, what):
        self.lab.wait_until(lambda: predicate() or not self.nspawn.alive(), seconds, what)
        if not self.nspawn.alive():
            raise Failed(f"{self.name} did not start (systemd-nspawn ended with {self.nspawn.popen.returncode}):\n"
                         + self.nspawn.text()[-2000:])

    def _plug_in(self):
        """Its cables into the wires, and an ear to its addresses."""
        self._wait_for(lambda: self.leader, 30, f"{self.name} has power")
        ip_batch([f"link set {self.plug(wire)} master {wire} up" for wire in self._wires], self.lab.wire_namespace)
        here = NAMESPACES / self.namespace
        here.unlink(missing_ok=True)
        here.symlink_to(f"/proc/{self.leader}/ns/net")
        self.inode = here.stat().st_ino
        self._there = set()
        with self.inside():
            self._ear = addresses.open_watch()
        self.lab.listen(self._ear, self._hear_addresses)

    def wait_booted(self, timeout=60):
        """Until every unit it starts with has started."""
        self._plug_in()
        self._wait_for(lambda: self._ready, timeout, f"{self.name} has booted")
        self.say(f"booted in {time.monotonic() - self.nspawn.began:.1f} s")

    def boot(self, timeout=60):
        """After power_cut() or shutdown(): power on; its disk is as it was."""
        if self.powered:
            raise Failed(f"{self.name} runs already")
        self.say("power on")
        self._power_on()
        self.wait_booted(timeout)

    def power_cut(self):
        """From one moment to the next nothing leaves it, and nothing runs any more. Returns that moment."""
        when = time.monotonic()
        links_down([self.plug(wire) for wire in self._wires], self.lab.wire_namespace)
        os.kill(self.leader, signal.SIGKILL)
        self.say("power cut")
        self._is_off(10)
        return when

    kill_power, power_on = power_cut, boot

    def shutdown(self, timeout=60):
        """As `systemctl poweroff`; returns when it is off."""
        self.say("asked to shut down")
        os.kill(self.leader, signal.SIGRTMIN + 4)
        self._is_off(timeout)

    def reboot(self, timeout=60):
        """As `systemctl reboot`; returns when it has booted again."""
        self.say("asked to reboot")
        os.kill(self.leader, signal.SIGRTMIN + 5)
        code = self._is_off(timeout)
        if code != REBOOTS:
            raise Failed(f"{self.name} did not reboot; systemd-nspawn ended with {code}")
        self.boot(timeout)

    def _is_off(self, timeout):
        code = self.nspawn.wait(timeout * UNHURRIED)
        self.powered, self.leader = False, None
        for ear in (self._ear, self._notices):
            self.lab.forget(ear)
            ear.close()
        (NAMESPACES / self.namespace).unlink(missing_ok=True)
        return code

    def freeze(self):
        """Every program stops where it is; the kernel goes on."""
        self.say("frozen")
        self._set_frozen(1)

    def thaw(self):
        self.say("thawed")
        self._set_frozen(0)

    def _set_frozen(self, value):
        (self.cgroup / "payload/cgroup.freeze").write_text(str(value))
        events = self.cgroup / "payload/cgroup.events"
        self.lab.wait_until(lambda: f"frozen {value}" in events.read_text(), 10, f"frozen is {value}", every=0.001)

    def mac(self, wire="front"):
        interface = WIRES[wire][0]
        if interface not in self._macs:
            with self.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
                answer = ioctl(any_socket, GET_MAC, struct.pack("16s16x", interface.encode()))
            self._macs[interface] = answer[18:24].hex(":")
        return self._macs[interface]

    # What it does

    def _command(self, command, environment=None):
        words = ["/bin/sh", "-c", command] if isinstance(command, str) else [str(word) for word in command]
        if self.leader is None:
            raise Failed(f"{self.name} is off and runs nothing: {shlex.join(words)}")
        settings = (f"{name}={value}" for name, value in {**ENVIRONMENT, **(environment or {})}.items())
        return ["nsenter", "-t", str(self.leader), "-m", "-u", "-i", "-n", "-p", "-C", "env", "-i", "-C", "/root", *settings, *words]

    def run(self, command, check=True, timeout=60, environment=None, stdin=None):
        """Runs a program to its end, as root (a list, or a string for the shell). Returns stdout, stderr, returncode as text."""
        done = subprocess.run(self._command(command, environment), capture_output=True, text=True, errors="replace",
                              timeout=timeout * UNHURRIED, **({"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}))
        if check and done.returncode:
            words = command if isinstance(command, str) else " ".join(map(str, command))
            raise Failed(f"{self.name}: '{words}' ended with {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def sh(self, text, **more):
        return self.run(text, **more)

    def start(self, command, name=None, **more):
        """Starts a program and leaves it running."""
        return Process(_On(self, self.lab.wire_namespace), self._command(command), name or Path(str(command[0])).name, **more)

    def read(self, path):
        return self.run(["cat", "--", path]).stdout

    def write(self, path, text, mode=0o644, owner="root:root"):
        """A file, replaced in one step; folders on the way are made."""
        quoted = shlex.quote(str(path))
        self.run(f'umask 022; mkdir -p "$(dirname {quoted})" && umask 077 && cat >{quoted}.new && chown {owner} {quoted}.new && '
                 f"chmod {mode:o} {quoted}.new && mv {quoted}.new {quoted}", stdin=text)

    def put(self, local, path):
        """A file of the lab's, with its mode."""
        local, quoted = Path(local), shlex.quote(str(path))
        with open(local, "rb") as data:
            done = subprocess.run(self._command(f'mkdir -p "$(dirname {quoted})" && cat >{quoted} && '
                                                f"chmod {local.stat().st_mode & 0o777:o} {quoted}"), stdin=data,
                                  capture_output=True, text=True, timeout=60 * UNHURRIED)
        if done.returncode:
            raise Failed(f"{self.name}: {local} could not be put at {path}: {done.stderr}")

    # Packages and units

    def apt(self, *words, check=True, timeout=300):
        return self.run(["apt-get", "-q", "-y", "-o", "Dpkg::Use-Pty=0", *words], check=check, timeout=timeout,
                        environment={"DEBIAN_FRONTEND": "noninteractive"})

    def apt_install(self, *debs, check=True):
        """Paths of .deb files (which are put into the machines' repository, /repo), or names of packages in it."""
        words = []
        for deb in debs:
            words.append(f"/repo/{self.lab.repository.add(deb).name}" if "/" in str(deb) else str(deb))
        if any("/" not in word for word in words):
            self.apt("update")
        done = self.apt("install", "--allow-downgrades", "--no-install-recommends", *words, check=check)
        self.say(f"installed {' '.join(words)}")
        return done

    def apt_remove(self, *names, purge=False, check=True):
        return self.apt("purge" if purge else "remove", *names, check=check)

    def systemctl(self, *words, check=True, timeout=60):
        self.say(f"systemctl {' '.join(words)}")
        return self.run(["systemctl", "--no-pager", *words], check=check, timeout=timeout)

    def unit(self, name, unit="koi"):
        """One property of a unit, as text."""
        return self.run(["systemctl", "show", "-P", name, unit]).stdout.strip()

    def journal(self, event=None, unit="koi", arguments=()):
        """The entries of a unit, or those of one event of Koi's (KOI_EVENT), as dicts."""
        words = ["journalctl", "--no-pager", "-q", "-o", "json", *(["-u", unit] if unit else []),
                 *([f"KOI_EVENT={event}"] if event else []), *arguments]
        return [json.loads(line) for line in self.run(words).stdout.splitlines()]

    # Koi

    def status(self, part="all"):
        """What `koi status -o json` says; {} while nobody answers."""
        return nodes.status(self, part)

    def role(self, vhid=51):
        return nodes.role(self, vhid)

    def pids(self, program):
        """Of koid, koid-worker or koid-scout, as the lab sees them."""
        found = []
        try:
            units = list((self.cgroup / "payload/system.slice").glob("koi*.service/**/cgroup.procs"))
        except FileNotFoundError:  # the unit ended while we looked
            return found
        for procs in units:
            with contextlib.suppress(OSError):
                for pid in procs.read_text().split():
                    with contextlib.suppress(OSError):
                        if Path(os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)")).name == program \
                                and (program != "koid" or self._is_daemon(pid)):
                            found.append(int(pid))
        return found

    def _is_daemon(self, pid):
        """Not one that cleans up after another, nor a child that is about to become something else."""
        parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
        words = Path(f"/proc/{pid}/cmdline").read_bytes()  # none yet in the moment in which it becomes koid
        return int(parent) == self.leader and bool(words) and b"--withdraw" not in words

    def pid(self, program):
        """The process id as the lab sees it (`/proc/PID`, os.kill); None if it does not run. Inside it has another one."""
        if program not in PROGRAMS:
            raise Failed(f"Koi has no program {program}; there are {', '.join(PROGRAMS)}")
        return min(self.pids(program), default=None)

    def kill(self, program, name="KILL"):
        """A signal to one of Koi's processes. Returns its process id."""
        pid = self.pid(program)
        if pid is None:
            raise Failed(f"{self.name} runs no {program} to send SIG{name} to")
        self.say(f"SIG{name} to {program}")
        os.kill(pid, getattr(signal, f"SIG{name}"))
        return pid


class Daemon:
    """What tests/netns/nodes.py wants to know of a node's koid."""

    def __init__(self, machine):
        self.machine = machine

    @property
    def socket(self):
        return Path(f"/proc/{self.machine.leader}/root/{CONTROL_SOCKET}")

    @property
    def pid(self):
        return self.machine.pid("koid")


class _On:
    """A machine as Process wants its host, for programs that begin in another network namespace."""

    def __init__(self, machine, namespace):
        self._machine, self._namespace = machine, namespace

    def __getattr__(self, name):
        return getattr(self._machine, name)

    def inside(self):
        return inside(self._namespace)
