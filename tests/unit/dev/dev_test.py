#!/usr/bin/python3
"""./dev refuses what it does not understand, before it installs, compiles or starts anything; and what can be told to it,
and to tests and benches, by variables is documented.

    dev_test.py ROOT        ROOT: the source tree

A copy of ./dev in an empty folder is asked, with a PATH on which nothing lies that installs or compiles: where it does not
refuse, it cannot do any harm either.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(sys.argv.pop(1) if len(sys.argv) > 1 else ".").resolve()
# How a variable of ours is read, in each language.
READS = {"shell": r"\$\{?(KOI_[A-Z_]+)", "cpp": r"(?:getenv|number_from)\(\"(KOI_[A-Z_]+)",
         "py": r"environ(?:\.get\(|\[)f?[\"'](KOI_[A-Z_]+)|[\"'](KOI_[A-Z_]+)[\"'] (?:not )?in os\.environ"}
NOT_OF_THE_TESTS = {"KOI_SOCKET"}  # koi(1) has it

PROGRAMS = ("bash", "cat", "dirname", "dpkg", "head", "id", "readlink", "sed", "sort")
COMMANDS = ("help", "deps", "build", "test", "demo", "deb", "install", "image", "bench", "sim", "fuzz", "clean-root")


class Dev(unittest.TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="koi-dev-"))
        self.addCleanup(shutil.rmtree, self.folder)
        for name in ("dev", "tests/clean-root", "bench/run"):
            (self.folder / name).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, self.folder / name)
        (self.folder / "bin").mkdir()
        for name in PROGRAMS:
            (self.folder / "bin" / name).symlink_to(shutil.which(name))

    def dev(self, *words, program="dev"):
        return subprocess.run([self.folder / "bin/bash", self.folder / program, *words], text=True, capture_output=True,
                              stdin=subprocess.DEVNULL, env={"PATH": f"{self.folder}/bin"}, timeout=60)

    def refused(self, *words, because, program="dev"):
        done = self.dev(*words, program=program)
        told = f"{program} {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}"
        self.assertEqual((done.returncode, done.stdout), (2, ""), told)
        self.assertIn(because, done.stderr, told)
        self.assertEqual(done.stderr.count("\n"), 1, f"not one sentence\n{told}")

    def test_every_command_refuses_what_it_does_not_know(self):
        for command in COMMANDS:
            for words in (("--extra",), ("ok", "extra")):
                if command == "clean-root" and words != ("--extra",):  # a folder to make
                    continue
                with self.subTest(command=command, words=words):
                    self.refused(command, *words, because=words[0])

    def test_every_command_of_the_help_is_tried_here(self):
        page = self.dev("help").stdout
        listed = [line.split()[0] for line in page.splitlines() if line.startswith("  ") and line[2] not in " -"]
        self.assertEqual(sorted(listed), sorted([*COMMANDS, "lab"]))

    def test_what_is_wrong_is_said(self):
        for words, because in [
            (("install", "extra"), "install takes no argument, and here is 'extra'"),
            (("demo", "extra", "more"), "demo takes no argument, and here is 'extra more'"),
            (("test", "--all", "more"), "test knows --all, not '--all more'"),
            (("build", "--debug", "--clang"), "build takes one of its options, not '--debug --clang'"),
            (("build", "--sanitize", "-DKOI_TOGETHER=ON", "KOI_BENCH=ON"), "like -DKOI_NAME=ON"),
            (("deb", "--version"), "--version wants a version"),
            (("image", "--output"), "--output wants a name"),
            (("image", "--deb", ""), "--deb wants a name"),
            (("bench", "pure", "kernel"), "not 'pure kernel'"),
            (("sim", "--seeds", "many"), "--seeds needs a number"),
            (("fuzz", "--seconds"), "fuzz knows --seconds N"),
            (("fuzz", "--seconds", "3", "4"), "fuzz knows --seconds N"),
            (("lab",), "a shell needs a terminal"),
            (("clean-root", "--release"), "--release wants a name"),
            (("clean-root", "one", "two"), "one folder"),
        ]:
            with self.subTest(words=words):
                self.refused(*words, because=because)
        self.refused("--build", program="bench/run", because="--build wants a folder")

    def test_what_is_right_gets_as_far_as_it_can_here(self):
        for words in [("install",), ("demo",), ("test",), ("test", "--all"), ("build",), ("build", "--debug"), ("deb",),
                      ("build", "--sanitize", "-DKOI_TOGETHER=ON", "-DKOI_BENCH=ON"), ("image", "--output", "x"), ("bench",),
                      ("bench", "pure"), ("sim", "--seeds", "3", "--from", "4"), ("fuzz", "--seconds", "3"), ("lab", "true"),
                      ("clean-root", "folder"), ("deps", "build", "lab"), ("deb", "--version", "1.2.3", "-DKOI_X=ON")]:
            with self.subTest(words=words):
                self.assertNotEqual(self.dev(*words).returncode, 2)

    def test_every_variable_is_in_the_table(self):
        read = {}
        for file in [ROOT / "dev", *(ROOT / "bench").rglob("*"), *(ROOT / "tests").rglob("*")]:
            if not file.is_file() or "corpus" in file.parts or "__pycache__" in file.parts:
                continue
            text = file.read_bytes().decode(errors="replace")
            kind = "shell" if re.match(r"#!\S*/(ba|da)?sh\b", text) else "py" if re.match(r"#!\S*python", text) else file.suffix[1:]
            for found in re.finditer(READS.get({"sh": "shell", "h": "cpp"}.get(kind, kind), "$^"), text):
                read.setdefault(found[1] or found[2], str(file.relative_to(ROOT)))
        table = set(re.findall(r"KOI_[A-Z_]+", (ROOT / "tests/README.md").read_text().split("## Variables")[1]))
        for name in [one for one in read if one.endswith("_")]:  # the rest is put together: KOI_DEB_TRIXIE
            file = read.pop(name)
            read.update({whole: file for whole in table if whole.startswith(name)} or {name: file})
        self.assertEqual({name: file for name, file in read.items() if name not in table | NOT_OF_THE_TESTS}, {},
                         "read, and not in the table of tests/README.md")
        self.assertEqual(table - set(read), set(), "in the table of tests/README.md, and read nowhere")


if __name__ == "__main__":
    unittest.main(verbosity=1)
