#!/usr/bin/python3
"""koid as its unit starts it, without systemd: what packaging/systemd/koi.service says about user, capabilities, new
privileges and system calls, applied to a process that root is about to start.

    tests/netns/under_unit.py [--no-filter] PROGRAM [ARGUMENT...]      as the unit's user (root runs this)
    tests/netns/under_unit.py --allowed                                one line per system call that the unit lets pass

The stories' koid is started so by itself (processes.py); KOI_AS_ROOT=1 starts it as root with everything, as koid was
started before it had a user (stories/unit.py, which is about that user, fails then). What the unit says about file
systems, devices and namespaces is left to tests/machines, where systemd itself does it.

The filter is compiled once per unit by libseccomp and kept below the build folder; systemd-analyze knows the groups.
"""

import ctypes
import functools
import hashlib
import os
import pwd
import re
import resource
import shutil
import socket
import struct
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
UNIT = ROOT / "packaging/systemd/koi.service"
BUILD = Path(os.environ.get("KOI_BUILD", ROOT / "build")).resolve()
NUMERIC_USER = 994  # where the host has no user koi

CAPABILITIES = {"CAP_SETGID": 6, "CAP_SETUID": 7, "CAP_SETPCAP": 8, "CAP_NET_BIND_SERVICE": 10, "CAP_NET_ADMIN": 12,
                "CAP_NET_RAW": 13}
PR_CAPBSET_READ, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, PR_CAP_AMBIENT = 23, 24, 38, 22, 47
PR_SET_KEEPCAPS, PR_CAP_AMBIENT_RAISE, SECCOMP_MODE_FILTER = 8, 2, 2
CAPABILITY_VERSION_3 = 0x20080522
KILL_PROCESS, ALLOW = 0x80000000, 0x7FFF0000

_libc = ctypes.CDLL(None, use_errno=True)


def settings(unit=UNIT):
    """{"User": ["koi"], "SystemCallFilter": ["@system-service", "~@resources", …], …} of the unit's [Service]."""
    found, section = {}, ""
    for line in unit.read_text().splitlines():
        if line.startswith("["):
            section = line
        elif section == "[Service]" and re.match(r"[A-Za-z]", line):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def _last(name, otherwise=""):
    return settings().get(name, [otherwise])[-1]


def ids():
    """(uid, gid) of the unit's User=; numbers where there is no such user here. (0, 0) if the unit names none."""
    name = _last("User")
    if not name:
        return 0, 0
    try:
        entry = pwd.getpwnam(name)
        return entry.pw_uid, entry.pw_gid
    except KeyError:
        return NUMERIC_USER, NUMERIC_USER


def name():
    """Who koid is then, as a person reads it."""
    try:
        return pwd.getpwuid(ids()[0]).pw_name
    except KeyError:
        return str(ids()[0])


def _numbers(name):
    return [CAPABILITIES[word] for value in settings().get(name, []) for word in value.split()]


# ---- The filter ----

@functools.cache
def groups():
    """{"@aio": ["io_cancel", …], …}, as this host's systemd has them."""
    if shutil.which("systemd-analyze") is None:
        raise OSError("there is no systemd-analyze to ask for the unit's system calls (sudo ./dev deps)")
    told = subprocess.run(["systemd-analyze", "syscall-filter"], check=True, capture_output=True, text=True).stdout
    found, group = {}, None
    for line in told.splitlines():
        if line.startswith("@"):
            group = found.setdefault(line.strip(), [])
        elif group is not None and line.startswith("    ") and not line.strip().startswith("#"):
            group.append(line.strip())
    return found


def _expanded(word):
    if not word.startswith("@"):
        return {word}
    return {call for inner in groups()[word] for call in _expanded(inner)}


def allowed():
    """The names of all system calls that the unit's SystemCallFilter= lets pass."""
    calls = _expanded("@default")
    for value in settings()["SystemCallFilter"]:
        denies = value.startswith("~")
        named = {call for word in value.removeprefix("~").split() for call in _expanded(word)}
        calls = calls - named if denies else calls | named
    return calls


def _compile(calls, families):
    """The program for the kernel: everything else ends the process with SIGSYS, as systemd's does; families of sockets
    that RestrictAddressFamilies= does not name are refused."""
    lib = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    lib.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(lib.seccomp_init(ctypes.c_uint32(KILL_PROCESS)))

    class Compare(ctypes.Structure):
        _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]

    for call in sorted(calls):
        number = lib.seccomp_syscall_resolve_name(call.encode())
        if number < 0 or call == "socket":
            continue  # of another processor
        if lib.seccomp_rule_add(context, ctypes.c_uint32(ALLOW), number, 0) not in (0, -17):
            raise OSError(f"no rule could be made for {call}")
    socket_number = lib.seccomp_syscall_resolve_name(b"socket")
    known = {int(getattr(socket, word)) for word in families}
    for family in known:
        lib.seccomp_rule_add_array(context, ctypes.c_uint32(ALLOW), socket_number, 1,
                                   ctypes.byref(Compare(0, 4, family, 0)))  # SCMP_CMP_EQ
    refused = 0x00050000 | 97  # SCMP_ACT_ERRNO(EAFNOSUPPORT)
    for family in set(range(46)) - known:
        lib.seccomp_rule_add_array(context, ctypes.c_uint32(refused), socket_number, 1,
                                   ctypes.byref(Compare(0, 4, family, 0)))
    file = os.memfd_create("filter")
    try:
        if lib.seccomp_export_bpf(context, file):
            raise OSError("libseccomp exports no program")
        return os.pread(file, os.fstat(file).st_size, 0)
    finally:
        lib.seccomp_release(context)
        os.close(file)


@functools.cache
def program():
    """The filter as bytes; compiled anew when the unit or the host's systemd has changed."""
    analyze = Path("/usr/bin/systemd-analyze")
    made_of = UNIT.read_bytes() + Path(__file__).read_bytes() + str(analyze.stat().st_mtime_ns).encode()
    kept = BUILD / f"unit-filter-{hashlib.sha256(made_of).hexdigest()[:16]}"
    if not kept.exists():
        families = [word for value in settings()["RestrictAddressFamilies"] for word in value.split()]
        beside = kept.with_suffix(f".{os.getpid()}")
        beside.write_bytes(_compile(allowed(), families))
        beside.rename(kept)
    return kept.read_bytes()


# ---- What the process about to be started does ----

def _must(result, what):
    if result:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def _prctl(what, *numbers):
    return _libc.prctl(what, *(ctypes.c_ulong(number) for number in (*numbers, *[0] * (4 - len(numbers)))))


def entrance(with_filter=True, without=(), as_root=False):
    """A function for the child between fork and exec. Everything that takes time is done here and now.

    without   capabilities that somebody has taken out of the unit
    as_root   as a container starts it that forbids new privileges: the same rights and system calls, no other user
    """
    uid, gid = (0, 0) if as_root else ids()
    taken = [CAPABILITIES[word] for word in without]
    ambient, bounding = ([one for one in _numbers(name) if one not in taken]
                         for name in ("AmbientCapabilities", "CapabilityBoundingSet"))
    drop = [number for number in range(64) if number not in bounding and _prctl(PR_CAPBSET_READ, number) >= 0]
    no_new = _last("NoNewPrivileges") == "yes"
    mask = int(_last("UMask", "0022"), 8)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    files = min(int(_last("LimitNOFILE", "1024")), hard) if hard != resource.RLIM_INFINITY else int(_last("LimitNOFILE", "1024"))
    code = program() if with_filter else b""
    buffer = ctypes.create_string_buffer(code, len(code)) if code else None
    bits = sum(1 << number for number in ambient)
    header = ctypes.create_string_buffer(struct.pack("=Ii", CAPABILITY_VERSION_3, 0))
    low, high = bits & 0xFFFFFFFF, bits >> 32
    sets = ctypes.create_string_buffer(struct.pack("=6I", low, low, low, high, high, high))
    filter_ = struct.pack("@HxxxxxxP", len(code) // 8, ctypes.addressof(buffer)) if code else b""
    filter_buffer = ctypes.create_string_buffer(filter_, len(filter_)) if code else None

    def enter():
        os.umask(mask)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
        for number in drop:
            _prctl(PR_CAPBSET_DROP, number)
        if uid:
            _must(_prctl(PR_SET_KEEPCAPS, 1), "keeping capabilities")
            os.setgroups([])
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
        _must(_libc.capset(header, sets), "setting capabilities")
        if uid:
            for number in ambient:
                _must(_prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number), "handing capabilities on")
        if no_new:
            _must(_prctl(PR_SET_NO_NEW_PRIVS, 1), "refusing new privileges")
        if code:
            _must(_libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, filter_buffer, 0, 0), "filtering system calls")
    enter.keeps, enter.owner = buffer, (uid, gid)  # filter_buffer points to the first
    return enter


def give(*folders, owner=None):
    """What systemd does with RuntimeDirectory= and StateDirectory=: they are the unit's user's, and all that is in them."""
    uid, gid = owner or ids()
    for folder in folders:
        for path in (Path(folder), *Path(folder).rglob("*")):
            os.chown(path, uid, gid, follow_symlinks=False)


def reachable(program, folder):
    """The program, or a copy of it and of those beside it in `folder`, where the unit's user cannot go where it is (a
    working tree in somebody's home)."""
    program = Path(program)
    if all(parent.stat().st_mode & 0o001 for parent in program.parents):
        return program
    folder.mkdir(mode=0o755, exist_ok=True)
    for name in (program.name, "koid-worker", "koid-scout"):
        copy = folder / name
        if not copy.exists() and (program.parent / name).exists():
            shutil.copy2(program.parent / name, copy)
    return folder / program.name


def wanted():
    """Whether programs are started so: by root, unless KOI_AS_ROOT says otherwise."""
    return os.geteuid() == 0 and os.environ.get("KOI_AS_ROOT", "0") in ("", "0")


if __name__ == "__main__":
    if sys.argv[1:] == ["--allowed"]:
        print("\n".join(sorted(allowed())))
        sys.exit(0)
    words = [word for word in sys.argv[1:] if word != "--no-filter"]
    if not words or words[0].startswith("-") or os.geteuid() != 0:
        sys.exit(__doc__)
    entrance(with_filter="--no-filter" not in sys.argv[1:])()
    os.execvp(words[0], words)
