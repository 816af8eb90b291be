"""The package, installed once: a layer between the pristine root and a machine's own.

A layer is made by a machine on which apt installs the packages, as an operator does it, and which is then shut down; what it wrote is
kept in the cache of the roots, without what is that machine's own. Machines that begin with it have Koi installed, not configured
and not running, and begin in two seconds also where installing takes ten. Stories about the installation itself
install by themselves: lab.pair(fresh=True), machine.apt_install().
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import roots

OWN = ("etc/hostname", "etc/hosts", "etc/machine-id", "etc/systemd/network", "var/log", "var/tmp", "tmp", "run", "repo",
       "var/lib/systemd/random-seed", "var/lib/apt/lists", "var/cache/apt")
UNUSED_FOR = 2 * 86400


def place_of(root, debs):
    digest = hashlib.sha256(str(root).encode())
    for deb in debs:
        digest.update(Path(deb).read_bytes())
    return roots.CACHE / f"KOI-{digest.hexdigest()[:16]}"


def layer(root, debs, make):
    """The folder of the layer. `make(upper)` installs on a machine and copies what it wrote; it is called if there is none yet."""
    place = place_of(root, debs)
    if not (place / "ready").exists():
        with roots.locked(place.with_suffix(".lock")):
            if not (place / "ready").exists():
                began = time.monotonic()
                shutil.rmtree(place, ignore_errors=True)
                place.mkdir(mode=0o755)
                make(place / "upper")
                (place / "ready").touch()
                print(f"machines: installed {' '.join(Path(deb).name for deb in debs)} once, in "
                      f"{time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
                forget_old()
    return place / "upper"


def keep(upper, place):
    """Copies what a machine wrote, with whiteouts and attributes, less what is its own."""
    subprocess.run(["cp", "-a", upper, place], check=True)
    place.chmod(0o755)
    for own in OWN:
        path = place / own
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)


def forget_old():
    for ready in roots.CACHE.glob("KOI-*/ready"):
        if time.time() - ready.stat().st_mtime > UNUSED_FOR:
            shutil.rmtree(ready.parent, ignore_errors=True)
