"""Another release's package: made of the shipped one, with other programs, another version, the same everything else; or built
from the history."""

import re
import shutil
import subprocess
from pathlib import Path

from processes import BUILD, Failed

# Where the programs of a build tree lie in a package.
PLACES = {"koid": "usr/sbin", "koi": "usr/bin", "koid-worker": "usr/lib/koi", "koid-scout": "usr/lib/koi", "version": "usr/lib/koi"}


def another(deb, folder, version, programs=None):
    """A copy of a .deb in `folder` with another version; `programs`: a build tree whose programs it has instead."""
    tree = folder / f"koi-{version}"
    subprocess.run(["dpkg-deb", "-R", deb, tree], check=True)
    control = tree / "DEBIAN" / "control"
    control.write_text(re.sub(r"(?m)^Version: .*$", f"Version: {version}", control.read_text()))
    for program, place in PLACES.items() if programs else ():
        shutil.copy(Path(programs) / program, tree / place / program)
        if program != "version":
            subprocess.run(["strip", "--strip-unneeded", tree / place / program], check=True)
    made = folder / f"koi_{version}_amd64.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Zgzip", "-b", tree, made], check=True, capture_output=True)
    shutil.rmtree(tree)
    return made


def later(deb, folder, releases=1):
    """The package of the N-th release after this one (tests/later_release has built it)."""
    programs = BUILD.with_name(f"{BUILD.name}-later-{releases}")
    if not (programs / "koid").exists():
        raise Failed(f"{programs} is not there; tests/later_release {BUILD} {releases} makes it")
    was = subprocess.run(["dpkg-deb", "-f", deb, "Version"], capture_output=True, text=True, check=True).stdout.strip()
    return another(deb, folder, f"{was}+later{releases}", programs)


def earlier():
    """The package of the release before this one, as it was (tests/earlier_release has built it)."""
    found = sorted((BUILD / "earlier_release").glob("koi_*.deb"))
    if not found:
        raise Failed(f"there is no {BUILD}/earlier_release/koi_*.deb; tests/earlier_release {BUILD} makes it")
    return found[-1]
