#!/usr/bin/python3
"""What the package brings beside programs: the manual, the journal's texts, the completion, shell scripts, one version.

    packaging_test.py ROOT [KOI]        ROOT: the source tree; KOI: the program koi, whose options are compared
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(sys.argv.pop(1) if len(sys.argv) > 1 else ".").resolve()
KOI = Path(sys.argv.pop(1)).resolve() if len(sys.argv) > 1 else None
PACKAGING = ROOT / "packaging"
PAGES = sorted((PACKAGING / "man").iterdir())
COMPLETION = PACKAGING / "completion/koi"
BASH_COMPLETION = Path("/usr/share/bash-completion/bash_completion")


def needs(*programs):
    missing = [one for one in programs if shutil.which(one) is None]
    return unittest.skipIf(missing, f"without {', '.join(missing)} (sudo ./dev deps lab)")


def run(*command, **more):
    return subprocess.run([str(one) for one in command], text=True, capture_output=True, **more)


def shell_scripts():
    """What is shipped, and the front door."""
    yield ROOT / "dev"
    for file in sorted(PACKAGING.rglob("*")):
        if not file.is_file() or file.is_symlink():
            continue
        first = file.read_bytes().split(b"\n")[0]
        if re.match(rb"#!\s*/(usr/)?bin/(env )?(ba|da)?sh\b", first) or file.suffix == ".sh":
            yield file


class Versions(unittest.TestCase):
    def test_program_package_and_manual_have_the_same(self):
        program = re.search(r"^project\(koi VERSION (\S+)", (ROOT / "CMakeLists.txt").read_text(), re.M)[1]
        package = re.match(r"koi \(([^-)]+)", (PACKAGING / "debian/changelog").read_text())[1]
        self.assertEqual(program, package, "CMakeLists.txt and packaging/debian/changelog")
        for page in PAGES:
            said = re.search(r'^\.TH \S+ \d \S+ "koi (\S+)"', page.read_text(), re.M)
            self.assertIsNotNone(said, page)
            self.assertEqual(said[1], program, page)

    def test_what_a_reader_of_news_is_told_belongs_to_a_version(self):
        news = re.findall(r"^koi \((\S+)\)", (PACKAGING / "debian/NEWS").read_text(), re.M)
        versions = re.findall(r"^koi \((\S+)\)", (PACKAGING / "debian/changelog").read_text(), re.M)
        self.assertTrue(news)
        for version in news:
            self.assertIn(version, versions)


class BuildDependencies(unittest.TestCase):
    def test_dev_installs_what_dpkg_buildpackage_asks_for(self):
        groups = re.findall(r"^    (build|deb)\) echo ((?:.*\\\n)*.*) ;;", (ROOT / "dev").read_text(), re.M)
        self.assertEqual({name for name, _ in groups}, {"build", "deb"})
        installed = {word for _, words in groups for word in words.split()}
        asked = re.search(r"^Build-Depends: ((?:.*\n )*.*)", (PACKAGING / "debian/control").read_text(), re.M)[1]
        for one in ["build-essential", *(part.split("(")[0].strip() for part in asked.split(","))]:  # dpkg asks for it unsaid
            brought_by = "debhelper" if one == "debhelper-compat" or one.startswith("dh-sequence-") else one
            self.assertIn(brought_by, installed, f"{one}: ./dev installs no such package")


class Manual(unittest.TestCase):
    def test_every_page_is_shipped(self):
        shipped = (PACKAGING / "debian/koi.manpages").read_text().split()
        for page in PAGES:
            if page.stem != "koi-templates":
                self.assertIn(str(page.relative_to(ROOT)), shipped)

    @needs("mandoc")
    def test_mandoc_has_no_warning(self):
        for page in PAGES:
            done = run("mandoc", "-Tlint", "-W", "warning", page)
            self.assertEqual((done.returncode, done.stdout), (0, ""), page)

    @needs("man", "groff")
    def test_man_has_no_warning(self):
        environment = {**os.environ, "LC_ALL": "C.UTF-8", "MANROFFSEQ": "", "MANWIDTH": "80"}
        for page in PAGES:
            done = run("man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", page, env=environment)
            self.assertEqual((done.returncode, done.stderr), (0, ""), page)


class Catalog(unittest.TestCase):
    @needs("journalctl")
    def test_journalctl_reads_every_entry(self):
        catalog = PACKAGING / "systemd/koi.catalog"
        with tempfile.TemporaryDirectory() as folder:
            there = Path(folder) / "usr/lib/systemd/catalog"
            there.mkdir(parents=True)
            (Path(folder) / "var/lib/systemd/catalog").mkdir(parents=True)
            shutil.copy(catalog, there)
            done = run("journalctl", "--update-catalog", f"--root={folder}")
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            listed = run("journalctl", "--list-catalog", f"--root={folder}").stdout.splitlines()
        entries = re.findall(r"^-- ([0-9a-f]{32})\n(Subject: \S.*)?", catalog.read_text(), re.M)
        self.assertEqual([number for number, subject in entries if not subject], [], "without a subject")
        self.assertEqual(len(listed), len(entries), "entries that journalctl knows")


@unittest.skipIf(not BASH_COMPLETION.exists(), "without bash-completion (sudo ./dev deps lab)")
class Completion(unittest.TestCase):
    def complete(self, line):
        """What <TAB> offers at the end of a line, where a koid leads vhids 51 and 52."""
        with tempfile.TemporaryDirectory() as folder:
            koi = Path(folder) / "koi"
            koi.write_text('#!/bin/sh\nprintf \'{\\n "roles": [\\n  {\\n   "vhid": 51,\\n  },\\n  {\\n   "vhid": 52\\n  }\\n ]\\n}\\n\'\n')
            koi.chmod(0o755)
            script = (f'. {BASH_COMPLETION}; . {COMPLETION}; COMP_LINE=$1 COMP_POINT=${{#1}}; read -ra COMP_WORDS <<<"$1"; '
                      '[[ $1 != *" " ]] || COMP_WORDS+=(""); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _koi; printf "%s\\n" "${COMPREPLY[@]}"')
            done = run("bash", "--norc", "-c", script, "complete", line, env={"PATH": f"{folder}:/usr/bin:/bin"}, cwd=folder)
        self.assertEqual(done.stderr, "", line)
        return done.stdout.split()

    def test_words(self):
        self.assertEqual(self.complete("koi sta"), ["status"])
        self.assertEqual(self.complete("koi show ro"), ["roles"])
        self.assertEqual(self.complete("koi show roles -o y"), ["yaml"])
        self.assertEqual(self.complete("koi status --w"), ["--watch"])
        self.assertEqual(self.complete("koi plan --conf"), ["--configuration"])

    def test_vhids_are_those_of_the_running_koid(self):
        for word in ("step-down", "step-up", "drill"):
            self.assertEqual([one for one in self.complete(f"koi {word} ") if not one.startswith("-")], ["51", "52"])

    def test_every_command_of_the_manual_is_offered(self):
        page = (PACKAGING / "man/koi.1").read_text()
        part = page[page.index(".SH COMMANDS"):page.index(".SH OPTIONS")]
        commands = {m[1].replace("\\-", "-") for m in re.finditer(r'^\.TP\n(?:\.TQ\n)?\.[BRI]+ "?([a-z][a-z\\-]*)', part, re.M)}
        self.assertIn("reload", commands)
        self.assertLessEqual(commands, set(self.complete("koi ")), "commands that <TAB> does not offer")


    def test_after_an_option_with_a_value_no_other_word_is_offered(self):
        for line in ("koi drill --probe ", "koi drill --probe 192.0.2.1 --seconds ", "koi events -n ", "koi upgrade --wait "):
            self.assertEqual(self.complete(line), [], line)

    @unittest.skipIf(KOI is None, "without a koi to ask")
    def test_what_is_offered_is_what_the_help_lists(self):
        everywhere, commands = Options.of_all(), Options.commands()
        self.assertEqual({one for one in self.complete("koi ") if not one.startswith("-")}, set(commands))
        for command in commands:
            with self.subTest(command):
                offered = {one for one in self.complete(f"koi {command} -") if one.startswith("--")}
                own = {one for one in Options.of(command) if one.startswith("--")}
                if command not in ("version", "help"):
                    self.assertEqual(own - offered, set(), "<TAB> does not offer")
                self.assertEqual(offered - own - everywhere, set(), "<TAB> offers what there is not")
        self.assertEqual({one for one in self.complete("koi --") if one not in everywhere}, set())


class Options:
    """Those that the program itself lists, and how it spells them."""

    @staticmethod
    def of(*words):
        """A command's; without one, those of the summary."""
        done = run(KOI, *words, "--help")
        assert done.returncode == 0, done
        # "  -o,--output FORMAT" of a command, "      --watch[=SECONDS]" of the summary
        lines = re.findall(r"^ {2,6}((?:-\S+ ?)+)", done.stdout, re.M)
        return {one.split("[")[0] for line in lines for one in re.findall(r"[^ ,]+", line)}

    @staticmethod
    def commands():
        return re.findall(r"^  koi ([a-z-]+)", run(KOI, "--help").stdout, re.M)

    @classmethod
    def of_all(cls):
        """What goes with every command, of which only the summary tells; and --version, which is one."""
        of_one = {option for command in cls.commands() for option in cls.of(command)} - {"-h", "--help"}
        return cls.of() - of_one | {"-h", "--help", "--version"}


@unittest.skipIf(KOI is None, "without a koi to ask")
class OptionsInTheManual(unittest.TestCase):
    def setUp(self):
        page = (PACKAGING / "man/koi.1").read_text()
        page = page[page.index(".SH COMMANDS"):page.index(".SH EXIT STATUS")]
        self.page = re.sub(r"\\f[BIRP]", "", page).replace("\\-", "-")

    def test_it_has_every_option_of_the_program_and_no_other(self):
        there = {option for command in Options.commands() for option in Options.of(command)} | Options.of_all()
        self.assertLessEqual({"-o", "--output", "--probe", "--adopt", "--no-colour", "--watch"}, there)
        written = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", self.page))
        self.assertEqual(there - written, set(), "options of koi that koi.1 does not have")
        self.assertEqual(written - there, {"--no-color"}, "options that koi.1 has and koi does not list")


class Shell(unittest.TestCase):
    @needs("shellcheck")
    def test_no_script_has_a_warning(self):
        scripts = list(shell_scripts())
        self.assertIn(PACKAGING / "sysctl/koi-host-setup", scripts)
        self.assertIn(PACKAGING / "debian/tests/watchdog", scripts)
        done = run("shellcheck", "-x", "-P", "SCRIPTDIR", "-S", "warning", *scripts)
        self.assertEqual(done.returncode, 0, done.stdout)
        done = run("shellcheck", "-s", "bash", "-S", "warning", COMPLETION)
        self.assertEqual(done.returncode, 0, done.stdout)


if __name__ == "__main__":
    unittest.main(verbosity=1)
