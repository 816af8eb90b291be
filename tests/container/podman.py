"""podman for stories: a storage that is gone afterwards, containers on the lab's hosts, and what they leave behind."""

import contextlib
import ctypes
import json
import os
import shlex
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import lab
from processes import ROOT, Failed

CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000

IMAGE = "localhost/koi:latest"
FIVE = "NET_ADMIN,NET_RAW,SETUID,SETGID,SETPCAP"
# Where we may not raise limits (a container, some build machines), crun must not try; elsewhere these do no harm.
CONTAINERS_CONF = """\
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=4096:4096"]
cgroups = "disabled"
pids_limit = 0
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
tmp_dir = "{0}/tmp"
"""
STORAGE_CONF = """\
[storage]
driver = "overlay"
graphroot = "{0}/root"
runroot = "{0}/run"
"""


@contextlib.contextmanager
def private_host():
    """From now on this process has mounts, a network and a cgroup tree of its own; /etc, /run and /var/lib as this machine has
    them, but what is written there is ours alone."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS | CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "no namespaces may be made here")
    mount("--make-rprivate", "/")
    for old in Path("/var/tmp").glob("koi-podman-*"):  # of runs that were killed outright
        if not Path("/proc", old.name.split("-")[2]).exists():
            shutil.rmtree(old, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix="koi-container-", dir="/tmp"))
    try:
        mount("-t", "tmpfs", "-o", "mode=755", "lab", folder)
        for path in ("/etc", "/var/lib"):
            upper, work = folder / path[1:].replace("/", "-"), folder / f"work-{path[1:].replace('/', '-')}"
            upper.mkdir()
            work.mkdir()
            mount("-t", "overlay", "-o", f"lowerdir={path},upperdir={upper},workdir={work}", "overlay", path)
        mount("-t", "tmpfs", "-o", "mode=755", "run", "/run")
        mount("-t", "cgroup2", "cgroup2", "/sys/fs/cgroup")
        for path in ("/etc/koi", "/var/lib/koi"):
            shutil.rmtree(path, ignore_errors=True)
        for path in ("/etc/koi", "/var/lib/koi", "/run/koi", "/run/netns"):
            Path(path).mkdir(mode=0o755)
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=False)
        with contextlib.suppress(OSError):
            folder.rmdir()


def mount(*words):
    subprocess.run(["mount", *words], check=True)


class Lab(lab.Lab):
    """The lab of tests/netns on a private host, with podman in it."""

    def __init__(self, package, archive, verbose):
        super().__init__(verbose)
        self._package, self._archive, self._around = package, archive, contextlib.ExitStack()

    def __enter__(self):
        with contextlib.ExitStack() as around:
            around.enter_context(private_host())
            super().__enter__()
            around.push(super().__exit__)
            self.podman = Podman(self, self._package, self._archive)
            self._around = around.pop_all()
        return self

    def __exit__(self, kind, value, trace):
        try:
            self.podman.end(failed=kind is not None)
        finally:
            self._around.__exit__(kind, value, trace)


class Podman:
    def __init__(self, lab, package, archive):
        self.lab, self.package, self.archive = lab, package, archive
        self.folder = Path(tempfile.mkdtemp(prefix=f"koi-podman-{os.getpid()}-", dir="/var/tmp"))
        self.names = []
        for name, text in (("containers.conf", CONTAINERS_CONF), ("storage.conf", STORAGE_CONF)):
            (self.folder / name).write_text(text.format(self.folder))
        os.environ["CONTAINERS_CONF"] = str(self.folder / "containers.conf")
        os.environ["CONTAINERS_STORAGE_CONF"] = str(self.folder / "storage.conf")
        self._loaded = False

    def load(self):
        """The image, under the name that the documentation gives it; once."""
        if not self._loaded:
            self._loaded = True
            self.run("tag", self.run("load", "-q", "-i", self.archive).stdout.split()[-1], IMAGE)

    def end(self, failed):
        for name in self.names if self._loaded else ():
            if failed:
                done = self.run("logs", name, check=False)
                self.lab.note([f"\n--- container {name}", done.stdout.rstrip(), done.stderr.rstrip()])
        if self._loaded:
            self.run("rm", "--all", "--force", "--time", "0", check=False)
        # A container's monitor may still be about to unmount; what we see of it goes with this namespace.
        for line in reversed(Path("/proc/mounts").read_text().splitlines()):
            if line.split()[1].startswith(str(self.folder)):
                subprocess.run(["umount", "--lazy", line.split()[1]], check=False, capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, *words, host=None, check=True, timeout=40):
        """podman WORDS, on a host of the lab. Returns stdout, stderr, returncode."""
        command = ["podman", *map(str, words)]
        if host:
            return host.run(command, check=check, timeout=timeout)
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=timeout)
        if check and done.returncode:
            raise Failed(f"'{shlex.join(command)}' ended with {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def start(self, host, name="koi", *options, image=(), typed=None):
        """A container with koid on a host. `typed`: the command as a user types it, instead of our own options."""
        self.load()
        self.names.append(name)
        if typed is None:
            folders = [f"-v={host.folder}/{inside}:{path}" for inside, path in
                       (("etc", "/etc/koi:ro"), ("state", "/var/lib/koi"), ("run", "/run/koi"))]
            words = ["run", "-d", "--pull=never", "--name", name, "--network=host", "--read-only", *folders,
                     *(options or ["--cap-drop=all", f"--cap-add={FIVE}"]), IMAGE, *image]
        else:
            words = shlex.split(typed)[1:]
        self.run(*words, host=host)
        self.lab.say(f"container {name} started", host.name)
        return Container(self, host, name)

    def once(self, host, *words, options=(), check=True):
        """A container that ends by itself; as the operator would, with the folders of the one that was killed."""
        self.load()
        folders = [f"-v={host.folder}/{inside}:{path}" for inside, path in
                   (("etc", "/etc/koi:ro"), ("state", "/var/lib/koi"), ("run", "/run/koi"))]
        return self.run("run", "--rm", "--pull=never", "--network=host", "--read-only", *folders,
                        *(options or ["--cap-drop=all", f"--cap-add={FIVE}"]), IMAGE, *words, host=host, check=check)


class Container:
    def __init__(self, podman, host, name):
        self.podman, self.host, self.name, self.lab = podman, host, name, podman.lab

    def exec(self, *words, check=True):
        return self.podman.run("exec", self.name, *words, host=self.host, check=check)

    def koi(self, *words):
        return json.loads(self.exec("koi", *words, "-o", "json").stdout)

    def role(self, vhid=51):
        done = self.exec("koi", "show", "roles", "-o", "json", check=False)
        if done.returncode:
            return "unknown"
        return next((one["role"] for one in json.loads(done.stdout)["roles"] if one["vhid"] == vhid), "unknown")

    def wait_until_it_leads(self, vip, timeout=15):
        return self.lab.wait_until(lambda: self.host.holds(vip), timeout, f"{self.name} holds {vip}")

    def logs(self):
        """Its lines, in the order they were written."""
        done = self.podman.run("logs", self.name)
        return (done.stdout + done.stderr).splitlines()

    def signal(self, name):
        self.lab.say(f"container {self.name} gets {name}", self.host.name)
        self.podman.run("kill", "-s", name, self.name)

    def stop(self):
        began = time.monotonic()
        self.podman.run("stop", self.name)
        self.lab.say(f"container {self.name} stopped in {time.monotonic() - began:.2f} s", self.host.name)
        return self.exit_code()

    def exit_code(self, timeout=15):
        return int(self.podman.run("wait", self.name, timeout=timeout).stdout)

    def inspect(self, template):
        return self.podman.run("inspect", "-f", template, self.name).stdout.strip()

    def processes(self):
        """[(pid in the container, parent, state, name)], from its /proc."""
        text = self.exec("sh", "-c", "cat /proc/[0-9]*/stat 2>/dev/null").stdout
        found = []
        for line in text.splitlines():
            pid, _, rest = line.partition(" (")
            name, _, rest = rest.rpartition(") ")
            state, parent = rest.split()[:2]
            found.append((int(pid), int(parent), state, name))
        return found


def documented_lines():
    """The lines of docs/container.md, each command in one."""
    return [line.strip() for line in (ROOT / "docs/container.md").read_text().replace("\\\n", " ").splitlines()]


def command_of_the_documentation():
    """The podman run there, as it stands."""
    return next(line for line in documented_lines() if line.startswith("podman run -d --name koi "))


def configure(host, vip="10.77.0.100/24", key="koi-lab", etc=None, **carp):
    """koi.yaml and keys for a container on a host, below the host's folder (or in `etc`)."""
    for name in ("etc", "state", "run"):
        (host.folder / name).mkdir(exist_ok=True, mode=0o755)
    folder = Path(etc or host.folder / "etc")
    told = {"interface": "eth0", "key_file": "/etc/koi/carp.key", "advbase": 0, "advskew": 60, **carp}
    for name, secret in (("carp.key", key), ("auth.key", "koi-lab-" * 5)):
        (folder / name).touch(mode=0o600)
        (folder / name).write_text(secret)
    (folder / "koi.yaml").write_text(json.dumps({"node": host.name, "carp": told, "vips": [{"vhid": 51, "addresses": [vip]}]}))


def left_behind(host, vip):
    """What of Koi is on a host: addresses, tables of the packet filter, virtual servers."""
    found = [address for address in host.addresses() if address == vip]
    found += host.run(["nft", "list", "tables"]).stdout.split("\n")[:-1]
    with host.inside():
        with contextlib.suppress(FileNotFoundError):
            found += Path("/proc/thread-self/net/ip_vs").read_text().splitlines()[3:]
    return found
