"""The packages that machines install: those that are shipped, and a repository that apt in the machines reads."""

import filecmp
import hashlib
import os
import shutil
import subprocess
import threading
from pathlib import Path

from processes import BUILD, Failed


def release_here():
    """The code name of the Debian we run on."""
    for line in Path("/etc/os-release").read_text().splitlines():
        name, _, value = line.partition("=")
        if name == "VERSION_CODENAME":
            return value.strip('"')
    return ""


def shipped(release):
    """The .debs built for a release: build/koi_*.deb for the one we run on, build/RELEASE/koi_*.deb for others. KOI_DEB, or
    KOI_DEB_RELEASE in capitals (KOI_DEB_TRIXIE), names others, with blanks between them."""
    named = os.environ.get(f"KOI_DEB_{release.upper()}") or (os.environ.get("KOI_DEB") if release == release_here() else None)
    if named:
        return [Path(one).resolve() for one in named.split()]
    folder = BUILD if release == release_here() else BUILD / release
    return sorted(one for one in folder.glob("koi*_*.deb") if "-dbgsym_" not in one.name)


class Repository:
    """A flat one, at /repo in every machine: `deb [trusted=yes] file:/repo ./`."""

    def __init__(self, folder):
        self.folder, self._entries, self._lock = folder, {}, threading.Lock()
        folder.mkdir(mode=0o755)
        self._write()

    def add(self, deb):
        """Returns where it lies now."""
        deb, there = Path(deb), self.folder / Path(deb).name
        if not deb.exists():
            raise Failed(f"there is no package {deb}")
        with self._lock:  # two machines may be served at once
            if there.name in self._entries and filecmp.cmp(deb, there, shallow=False):
                return there
            beside = there.with_suffix(".new")
            shutil.copyfile(deb, beside)
            beside.rename(there)
            control = subprocess.run(["dpkg-deb", "-f", there], capture_output=True, text=True, check=True).stdout.rstrip()
            self._entries[there.name] = (f"{control}\nFilename: ./{there.name}\nSize: {there.stat().st_size}\n"
                                         f"SHA256: {hashlib.sha256(there.read_bytes()).hexdigest()}\n")
            self._write()
        return there

    def _write(self):
        (self.folder / "Packages").write_text("\n".join(self._entries.values()))
