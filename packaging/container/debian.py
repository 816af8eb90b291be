"""Debian's packages as material: which ones, fetched by apt, read without installing them.

apt is asked as if nothing were installed, with this machine's own sources, keys and lists: what it proposes is what the
programs need, signatures are checked as ever, and nothing of this machine is changed. Needs no root.
"""

import copy
import functools
import gzip
import io
import re
import subprocess
import tarfile

# What Koi's package needs only to be installed: no maintainer script runs in an image, nor does systemd.
FOR_INSTALLING = ("systemd", "init-system-helpers", "adduser", "debconf", "dpkg", "kmod")


class Trouble(Exception):
    pass


@functools.cache
def control(deb):
    return subprocess.run(["dpkg-deb", "-f", deb], check=True, capture_output=True, text=True).stdout


def field(deb, name):
    found = re.search(rf"^{name}:[ \t]*(.*)$", control(deb), flags=re.M)
    return found[1].strip() if found else ""


def stanza(deb):
    """The package's entry as dpkg's own list would have it."""
    return re.sub(r"^(Package: .*)$", r"\1\nStatus: install ok installed", control(deb), count=1, flags=re.M)


def libraries_of(deb):
    """What the programs of a package need: its dependencies without versions, the first of alternatives."""
    needed = []
    for clause in field(deb, "Depends").split(","):
        name = clause.split("|")[0].split("(")[0].strip()
        if name and not name.startswith(FOR_INSTALLING):
            needed.append(name)
    return needed


def fetch(names, cache):
    """The files of these packages and of all they depend on, sorted by name."""
    cache.mkdir(parents=True, exist_ok=True)
    (cache / "partial").mkdir(exist_ok=True)
    (cache / "nothing-installed").touch()
    folder = cache.resolve()
    apt = ["apt-get", "-q", "-y", "--no-install-recommends", "-o", f"Dir::State::status={folder}/nothing-installed",
           "-o", f"Dir::State::extended_states={folder}/extended", "-o", f"Dir::Cache::archives={folder}",
           "-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache=", "-o", "APT::Sandbox::User=root"]
    told = run(apt + ["--simulate", "install", *names])
    chosen = re.findall(r"^Inst (\S+) \((\S+) .*\[(\S+)\]\)", told, flags=re.M)
    files = sorted(folder / f"{name.split(':')[0]}_{version.replace(':', '%3a')}_{arch}.deb" for name, version, arch in chosen)
    if not all(file.exists() for file in files):
        run(apt + ["--download-only", "install", *names])
    for file in files:
        if not file.exists():
            raise Trouble(f"apt-get fetched no {file.name}; run apt-get update and try again")
    return files


def run(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise Trouble(f"apt cannot provide the packages of the image:\n{done.stderr.strip()}\n"
                      "If its lists are missing or old: sudo apt-get update")
    return done.stdout


def merged(path):
    """/bin, /sbin and /lib are links into /usr, as on every Debian from 12 on."""
    return f"usr/{path}" if path.split("/")[0] in ("bin", "sbin", "lib", "lib64") else path


def files(deb):
    """(tar entry, content) of everything a package brings; no leading "./", folders /bin and so on below /usr."""
    unpacked = subprocess.run(["dpkg-deb", "--fsys-tarfile", deb], check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(unpacked)) as archive:
        for entry in archive:
            path = merged(entry.name.removeprefix("./").rstrip("/"))
            if path in ("", ".", "usr/bin", "usr/sbin", "usr/lib", "usr/lib64") and not entry.isdir():
                continue  # the links themselves
            if path in ("", "."):
                continue
            told = copy.copy(entry)
            told.name = path
            if entry.islnk():
                told.linkname = merged(entry.linkname.removeprefix("./"))
            yield told, archive.extractfile(entry).read() if entry.isreg() else b""


def date_of_changelog(compressed):
    """Seconds since 1970 of a package's last entry."""
    text = gzip.decompress(compressed)
    done = subprocess.run(["dpkg-parsechangelog", "-l", "-", "-S", "Timestamp"], input=text, check=True, capture_output=True)
    return int(done.stdout)
