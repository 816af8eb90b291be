"""Pristine Debian roots for machines: made once by mmdebstrap, kept, and shared by everybody as the lower layer of overlays.

A root is called ROOT-<release>-<hash of its list of packages> and lies in /var/cache/koi-lab (KOI_LAB_CACHE: elsewhere). Whoever
needs it first makes it, under a lock; the others wait. Nobody ever writes into a finished one.

    roots.py [--release R] [PACKAGE...]       makes one if it is not there, and prints where it is
"""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

CACHE = Path(os.environ.get("KOI_LAB_CACHE", "/var/cache/koi-lab"))
MAKER = Path(__file__).resolve().parents[1] / "debian-root"
# A small server: what an operator uses, and needrestart, which restarts what it should not.
BASE = ("dbus", "ipvsadm", "iproute2", "iputils-ping", "kmod", "man-db", "needrestart", "nftables", "procps", "sudo", "systemd",
        "systemd-sysv")
# What Koi links, so that installing it needs no network. What a package depends on beyond that is added (needed_by).
LIBRARIES = {
    "bookworm": ("libc6", "libcap2", "libcurl4", "libgcc-s1", "libgcrypt20", "libmicrohttpd12", "libmnl0", "libnftnl11",
                 "libnl-3-200", "libnl-genl-3-200", "libnl-route-3-200", "libstdc++6", "libsystemd0", "libyaml-cpp0.7"),
    "trixie": ("libc6", "libcap2", "libcurl4t64", "libgcc-s1", "libgcrypt20", "libmicrohttpd12t64", "libmnl0", "libnftnl11",
               "libnl-3-200", "libnl-genl-3-200", "libnl-route-3-200", "libstdc++6", "libsystemd0", "libyaml-cpp0.8"),
}
UNUSED_FOR = 30 * 86400  # after that a root is removed when another one is made


def needed_by(debs):
    """The names of the packages that some .debs depend on, except each other."""
    own, names = set(), set()
    for deb in debs:
        fields = subprocess.run(["dpkg-deb", "-f", deb, "Package", "Depends", "Pre-Depends"], capture_output=True, text=True,
                                check=True).stdout
        for line in fields.splitlines():
            field, _, value = line.partition(": ")
            if field == "Package":
                own.add(value.strip())
            else:
                names |= {re.split(r"[ (:|]", one.strip())[0] for one in value.split(",") if one.strip()}
    return names - own - {"init-system-helpers"}


def packages_of(release, more=()):
    return sorted({*BASE, *LIBRARIES[release], *more})


def place_of(release, packages):
    digest = hashlib.sha256("\n".join([release, *packages]).encode()).hexdigest()[:12]
    return CACHE / f"ROOT-{release}-{digest}"


@contextlib.contextmanager
def locked(path, how=fcntl.LOCK_EX):
    with open(path, "a") as lock:
        fcntl.flock(lock, how)
        yield lock


def root(release, more=()):
    """Where the root is; it is made if need be. What is wrong if it cannot be made is a RuntimeError."""
    if release not in LIBRARIES:
        raise RuntimeError(f"there are no machines of Debian '{release}'; there are {' and '.join(LIBRARIES)}")
    packages = packages_of(release, more)
    place = place_of(release, packages)
    if not (place / "ready").exists():
        CACHE.mkdir(mode=0o755, parents=True, exist_ok=True)
        with locked(place.with_suffix(".lock")):
            if not (place / "ready").exists():
                make(release, packages, place)
                forget_old()
    with contextlib.suppress(OSError):  # in a guest it may be read-only
        os.utime(place / "ready")
    return place / "root"


def make(release, packages, place):
    if shutil.which("mmdebstrap") is None:
        raise RuntimeError("a root of Debian, and mmdebstrap to make it is missing (sudo ./dev deps root)")
    print(f"machines: making a root of Debian {release} in {place} (once)", file=sys.stderr, flush=True)
    began = time.monotonic()
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(mode=0o755)
    done = subprocess.run([MAKER, release, place / "root", *packages], text=True, capture_output=True)
    if done.returncode:
        shutil.rmtree(place, ignore_errors=True)
        raise RuntimeError(f"a root of Debian {release}, which could not be made:\n{done.stderr.strip()}")
    prepare(place / "root")
    (place / "packages").write_text("\n".join(packages) + "\n")
    (place / "ready").touch()
    print(f"machines: made in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)


def prepare(tree):
    """What an installer would have done: a network that comes up, a journal that is kept, packages from the lab alone."""
    for file in list((tree / "etc/apt").rglob("*")):
        if file.suffix in (".list", ".sources"):
            file.unlink()
    (tree / "etc/apt/sources.list").write_text("deb [trusted=yes] file:/repo ./\n")
    (tree / "var/log/journal").mkdir(exist_ok=True)
    (tree / "etc/resolv.conf").unlink(missing_ok=True)
    (tree / "etc/resolv.conf").write_text("")
    wants = tree / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True, exist_ok=True)
    service = tree / "lib/systemd/system/systemd-networkd.service"
    if service.exists() and not (wants / service.name).is_symlink():
        (wants / service.name).symlink_to("/lib/systemd/system/systemd-networkd.service")


def forget_old():
    for ready in CACHE.glob("ROOT-*/ready"):
        if time.time() - ready.stat().st_mtime > UNUSED_FOR:
            shutil.rmtree(ready.parent, ignore_errors=True)


def main():
    words = sys.argv[1:]
    release = "bookworm"
    if words[:1] == ["--release"]:
        release, words = words[1], words[2:]
    try:
        print(root(release, words))
    except RuntimeError as problem:
        sys.exit(f"roots.py: {problem}")


if __name__ == "__main__":
    main()
