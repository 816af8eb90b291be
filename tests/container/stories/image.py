"""What is in the image, and that it is always the same."""

import json
import subprocess
import tempfile
from pathlib import Path

from lab import story
from podman import IMAGE

ROOT = Path(__file__).resolve().parents[3]
MEGABYTE = 1_000_000


def layout(folder):
    index = json.loads((folder / "index.json").read_text())
    manifest = json.loads(blob(folder, index["manifests"][0]["digest"]).read_text())
    return index["manifests"][0]["digest"], manifest


def blob(folder, digest):
    return folder / "blobs/sha256" / digest.removeprefix("sha256:")


@story(timeout=300)
def story_the_same_package_elsewhere_makes_the_same_image(lab):
    """The same .deb makes the same digest from another copy of the tree in another folder; at most 20 MB, and nobody can become root."""
    deb, first = lab.podman.package, lab.podman.archive.with_suffix("")
    with tempfile.TemporaryDirectory(prefix="koi-image-", dir="/var/tmp") as folder:
        copy, second = Path(folder) / "copy", Path(folder) / "another"
        subprocess.run(["cp", "-r", ROOT / "packaging/container", copy], check=True)
        done = subprocess.run(["sh", "-c", 'umask 077; exec "$@"', "sh", copy / "image", deb, second, "--cache",
                               ROOT / "build/packages"], check=True, capture_output=True, text=True)
        lab.say(done.stdout.splitlines()[0])
        lab.check(layout(first)[0] == layout(second)[0], f"one digest: {layout(second)[0]}")

    lab.podman.load()
    digest, manifest = layout(first)
    size = sum(layer["size"] for layer in manifest["layers"])
    lab.check(size <= 20 * MEGABYTE, f"{size / MEGABYTE:.1f} MB")
    lab.check(digest == lab.podman.run("image", "inspect", "-f", "{{.Digest}}", IMAGE).stdout.strip(),
              "podman has it under the same digest")


@story(timeout=120)
def story_the_image_says_what_is_in_it(lab):
    """A list of packages for people, a file for each where scanners look, every library there, nothing set-uid."""
    host = lab.host("lb1")
    lab.podman.load()

    def ask(*words):
        return lab.podman.run("run", "--rm", "--pull=never", "--network=none", "--entrypoint", words[0], IMAGE, *words[1:], host=host).stdout

    listed = ask("cat", "/usr/share/koi/packages").splitlines()
    names = [line.split()[0] for line in listed]
    lab.check(names == sorted(names) and {"koi", "libc6", "busybox-static", "ipvsadm"} <= set(names),
              f"{len(names)} packages are listed")
    status = ask("sh", "-c", "cat /var/lib/dpkg/status.d/*")
    lab.check([line.split()[1] for line in status.splitlines() if line.startswith("Package:")] == sorted(names),
              "and there is an entry for each")
    lab.check(status.count("Status: install ok installed") == len(names), "as dpkg has them")
    for program in ("koid", "koi"):
        lab.check(ask(program, "--version").startswith(program), f"{program} finds its libraries")
    for program in ("koid-worker", "koid-scout"):
        missing = ask("sh", "-c", f"LD_TRACE_LOADED_OBJECTS=1 /usr/lib/koi/{program} | grep 'not found' || true")
        lab.check(missing == "", f"{program}, too")
    lab.check(ask("find", "/", "-xdev", "-perm", "/6000") == "", "nothing is set-uid")
    version = next(line.split()[1] for line in listed if line.startswith("koi "))
    label = lab.podman.run("image", "inspect", "-f", '{{index .Labels "org.opencontainers.image.version"}}', IMAGE).stdout.strip()
    lab.check(label == version, f"its label says version {label}")
    lab.check("vips:" in ask("cat", "/usr/share/doc/koi/examples/koi.yaml"), "the example is there")
