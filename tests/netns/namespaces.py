"""Network namespaces: to be in one for a while, to end what runs in one, to remove those that were left behind."""

import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import socket
import struct
import subprocess
from pathlib import Path

from processes import Failed

NAMESPACES = Path("/run/netns")
CLONE_NEWNET = 0x40000000
GET_FLAGS, SET_FLAGS, UP = 0x8913, 0x8914, 0x1  # SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP

_libc = ctypes.CDLL(None, use_errno=True)


def bare(address):
    """10.77.0.1/24 → 10.77.0.1, in the shortest spelling of IPv6."""
    address = str(address).split("/")[0].strip("[]")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.inet_ntop(family, socket.inet_pton(family, address))


@contextlib.contextmanager
def inside(namespace):
    """This thread, and no other, is in a network namespace for a while."""
    with open("/proc/thread-self/ns/net") as home, open(NAMESPACES / namespace) as there:
        enter(there)
        try:
            yield
        finally:
            enter(home)


def enter(namespace):
    if _libc.setns(namespace.fileno(), CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "cannot enter a network namespace")


def enter_new():
    """This thread gets a network namespace that is gone when it ends."""
    if _libc.unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "cannot make a network namespace")


def ip_batch(lines, namespace=None):
    """Many ip(8) commands in one process. (`ip -n` would want to change mounts, which a chroot does not allow.)"""
    with inside(namespace) if namespace else contextlib.nullcontext():
        done = subprocess.run(["ip", "-batch", "-"], input="\n".join(lines) + "\n", text=True, capture_output=True)
    if done.returncode:
        raise Failed(f"ip, in {namespace or 'our own namespace'}: {done.stderr.strip()}\n" + "\n".join(lines))


def links_down(names, namespace):
    """At once: to start ip(8) takes longer, in a slow guest, than the darkness that a story wants to measure."""
    with inside(namespace), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        for name in names:
            request = struct.pack("16sH14x", name.encode(), 0)
            flags = struct.unpack("16sH14x", fcntl.ioctl(any_socket, GET_FLAGS, request))[1]
            fcntl.ioctl(any_socket, SET_FLAGS, struct.pack("16sH14x", name.encode(), flags & ~UP))


def processes_in(inode):
    """Process ids of everything that runs in a network namespace."""
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                if os.stat(f"/proc/{entry}/ns/net").st_ino == inode and int(entry) != os.getpid():
                    yield int(entry)


def remove_namespaces(names):
    """Ends everything that runs in them, then removes them."""
    for name in names:
        with contextlib.suppress(OSError):
            inode = (NAMESPACES / name).stat().st_ino
            for pid in processes_in(inode):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
    if names:
        subprocess.run(["ip", "-batch", "-", "-force"], input="".join(f"netns del {name}\n" for name in names),
                       text=True, capture_output=True)


def sweep():
    """Removes what runs that were killed outright left behind."""
    old = [entry.name for entry in NAMESPACES.glob("kl*-*")] if NAMESPACES.exists() else []
    dead = [name for name in old if name[2:].split("-")[0].isdigit() and not Path("/proc", name[2:].split("-")[0]).exists()]
    remove_namespaces(dead)
    for folder in Path("/tmp").glob("kl[0-9]*"):
        if folder.name[2:].isdigit() and not Path("/proc", folder.name[2:]).exists():
            shutil.rmtree(folder, ignore_errors=True)
