"""The box a lab lives in: mounts, network and processes of its own, and a view of the cgroups that does not depend on the host.

enter() returns in the first process of a new process namespace. However that one ends, and however the runner ends, the kernel
kills everything in the box, and with it go its mounts and its network. What lies outside are cgroups, which are empty then:
the box's keeper holds a lock on them and removes them; what a killed keeper left nobody holds, and the next one removes it. A
lock and not a process id, which means nothing to a keeper in a box of its own.
"""

import contextlib
import ctypes
import fcntl
import os
import secrets
import signal
import subprocess
import traceback
from pathlib import Path

from telling import die_with_parent

CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET, CLONE_NEWIPC = 0x00020000, 0x20000000, 0x40000000, 0x08000000
CGROUPS = Path("/sys/fs/cgroup")
PREFIX = "koi-lab-"

_libc = ctypes.CDLL(None, use_errno=True)


def _unshare(flags):
    if _libc.unshare(flags):
        raise OSError(ctypes.get_errno(), "no namespaces may be made here")


def _mount(*words):
    done = subprocess.run(["mount", *map(str, words)], capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"mount {' '.join(map(str, words))}: {done.stderr.strip()}")


def enter():
    """Returns, in the box, the folder of its cgroups. The caller's own process stays outside as its keeper and never returns."""
    _unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC)
    _mount("--make-rprivate", "/")
    _mount("-t", "cgroup2", "cgroup2", CGROUPS)
    _sweep()
    cgroup = _own_cgroup()
    _unshare(CLONE_NEWPID)  # of the children from now on; the first of them is its head
    first = os.fork()
    if first:
        _keep(first, cgroup)
    die_with_parent(signal.SIGKILL)
    _mount("-t", "proc", "proc", "/proc")
    _mount("-t", "tmpfs", "-o", "mode=755", "run", "/run")  # nothing of ours is left on the host's, nothing of theirs disturbs
    for folder in ("netns", "lock", "systemd"):
        Path("/run", folder).mkdir()
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    return cgroup


def run(deed):
    """Does something in a box of its own, deed(cgroup), and returns its exit code: 1 if it raised something, which is printed."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            die_with_parent(signal.SIGTERM)
            deed(enter())
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _keep(first, cgroup):
    """Hands on what ends us, and ends as the box ended."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os.kill(first, signal.SIGTERM))
    while True:
        with contextlib.suppress(InterruptedError):
            _, status = os.waitpid(first, 0)
            break
    remove(cgroup)
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)


def _hold(cgroup):
    """A lock on it until we end, and whoever we fork; not on what somebody else holds, or has removed meanwhile."""
    with contextlib.suppress(OSError):
        held = os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        with contextlib.suppress(OSError):
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if cgroup.exists():
                return held
        os.close(held)
    return None


def _own_cgroup():
    while True:
        cgroup = CGROUPS / f"{PREFIX}{secrets.token_hex(4)}"
        cgroup.mkdir()
        if _hold(cgroup) is not None:  # a sweeper may have been quicker
            return cgroup


def _sweep():
    for old in CGROUPS.glob(f"{PREFIX}*"):
        held = _hold(old)
        if held is not None:
            remove(old)
            os.close(held)


def remove(cgroup):
    """A tree of cgroups, if nothing is in it."""
    for folder, _, _ in os.walk(cgroup, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(folder)
