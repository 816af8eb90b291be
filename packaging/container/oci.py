"""An OCI image layout: layers, configuration, manifest, index. The same content makes the same bytes.

Within a layer paths are sorted, everything is root's, nothing is newer than the image's date, no file is set-uid.
"""

import gzip
import hashlib
import io
import json
import tarfile
from datetime import datetime, timezone

MEDIA = "application/vnd.oci.image."
# Debian's word for a processor → OCI's
ARCHITECTURES = {"amd64": ("amd64", None), "arm64": ("arm64", None), "armhf": ("arm", "v7"), "i386": ("386", None),
                 "ppc64el": ("ppc64le", None), "s390x": ("s390x", None), "riscv64": ("riscv64", None)}


class Tree:
    """What a layer will contain, by path."""

    def __init__(self, epoch):
        self.epoch, self.entries = epoch, {}

    def __contains__(self, path):
        return path in self.entries

    def add(self, entry, content=b""):
        """A tar entry as some package has it."""
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        entry.mtime = min(int(entry.mtime), self.epoch)
        entry.mode &= 0o1777
        entry.pax_headers = {}
        known = self.entries.get(entry.name)
        if known and known[0].isdir() and entry.isdir():
            return
        for parent in parents(entry.name):
            if parent not in self.entries:
                self.folder(parent)
        self.entries[entry.name] = (entry, content)

    def _new(self, path, kind, mode):
        entry = tarfile.TarInfo(path)
        entry.type, entry.mode, entry.mtime = kind, mode, self.epoch
        return entry

    def folder(self, path, mode=0o755):
        self.entries.pop(path, None)
        self.add(self._new(path, tarfile.DIRTYPE, mode))

    def link(self, path, to):
        entry = self._new(path, tarfile.SYMTYPE, 0o777)
        entry.linkname = to
        self.add(entry)

    def file(self, path, content, mode=0o644):
        entry, content = self._new(path, tarfile.REGTYPE, mode), content.encode() if isinstance(content, str) else content
        entry.size = len(content)
        self.add(entry, content)

    def folders(self):
        return [path for path, (entry, _) in self.entries.items() if entry.isdir()]

    def remove(self, path):
        del self.entries[path]

    def tar(self):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
            # A hard link must come after what it leads to.
            for path in sorted(self.entries, key=lambda path: (self.entries[path][0].islnk(), path)):
                entry, content = self.entries[path]
                archive.addfile(entry, io.BytesIO(content) if entry.isreg() else None)
        return buffer.getvalue()


def parents(path):
    parts = path.split("/")[:-1]
    return ["/".join(parts[:n]) for n in range(1, len(parts) + 1)]


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def as_json(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


class Image:
    def __init__(self, folder, epoch, architecture):
        self.folder = folder
        self.created = datetime.fromtimestamp(epoch, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.architecture, self.variant = ARCHITECTURES.get(architecture, (architecture, None))
        self.layers, self.diff_ids, self.history = [], [], []
        (folder / "blobs/sha256").mkdir(parents=True)

    def _keep(self, data, kind):
        digest = digest_of(data)
        (self.folder / "blobs/sha256" / digest.removeprefix("sha256:")).write_bytes(data)
        return {"mediaType": MEDIA + kind, "digest": digest, "size": len(data)}

    def add_layer(self, tree, about):
        plain = tree.tar()
        buffer = io.BytesIO()
        with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=buffer, mtime=0) as packed:
            packed.write(plain)
        self.layers.append(self._keep(buffer.getvalue(), "layer.v1.tar+gzip"))
        self.diff_ids.append(digest_of(plain))
        self.history.append({"created": self.created, "created_by": about})

    def finish(self, name, config):
        """Writes the rest. Returns the image's digest and how many bytes a download of it is."""
        about = {"architecture": self.architecture, "os": "linux", "created": self.created, "config": config,
                 "rootfs": {"type": "layers", "diff_ids": self.diff_ids}, "history": self.history}
        if self.variant:
            about["variant"] = self.variant
        kept = self._keep(as_json(about), "config.v1+json")
        manifest = self._keep(as_json({"schemaVersion": 2, "mediaType": MEDIA + "manifest.v1+json", "config": kept,
                                       "layers": self.layers}), "manifest.v1+json")
        manifest["annotations"] = {"org.opencontainers.image.ref.name": name}
        (self.folder / "index.json").write_bytes(as_json({"schemaVersion": 2, "manifests": [manifest]}))
        (self.folder / "oci-layout").write_bytes(as_json({"imageLayoutVersion": "1.0.0"}))
        return manifest["digest"], kept["size"] + sum(layer["size"] for layer in self.layers)


def archive(folder, epoch):
    """The layout as one file, which podman load takes. Returns its path."""
    tree = Tree(epoch)
    for path in folder.rglob("*"):
        if path.is_file():
            tree.file(str(path.relative_to(folder)), path.read_bytes())
    file = folder.with_name(folder.name + ".tar")
    file.write_bytes(tree.tar())
    return file
