"""Programs that run on hosts of the lab: any program, koid with its notifications, a watching client.

Every program is the head of its own process group and writes to a log file of its own; the logs'
ends are part of the transcript when a story fails.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import under_unit

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("KOI_BUILD", ROOT / "build")).resolve()


class Failed(AssertionError):
    """A story did not go as it says."""


class Process:
    """A program on a host. It has begun when the object exists."""

    def __init__(self, host, command, name=None, environment=None, stdin=subprocess.DEVNULL, stdout=None, cwd=None,
                 entrance=None):
        self.host, self.lab = host, host.lab
        self.name = name or Path(str(command[0])).name
        self.log = host.new_file(self.name, ".log")
        self.began = time.monotonic()
        with open(self.log, "wb") as log, host.inside():
            self.popen = subprocess.Popen(
                [str(word) for word in command], stdin=stdin, stdout=stdout or log, stderr=log, cwd=cwd or host.folder,
                env={**os.environ, **host.environment, **(environment or {})}, start_new_session=True, preexec_fn=entrance)
        host.processes.append(self)

    @property
    def pid(self):
        return self.popen.pid

    def alive(self):
        return self.popen.poll() is None

    def text(self):
        """Everything it has written so far."""
        return self.log.read_text(errors="replace")

    def signal(self, number):
        """To the program itself, not to its children."""
        if self.alive():
            os.kill(self.pid, number)

    def wait(self, timeout=10):
        """Its exit code (negative: the signal that ended it)."""
        try:
            return self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.name} on {self.host.name} did not end within {timeout} s") from None

    def stop(self, timeout=10):
        """Asks it to end (SIGTERM) and waits. Returns its exit code."""
        self.signal(signal.SIGTERM)
        return self.wait(timeout)

    def kill(self):
        """SIGKILL for it and every child in its group. Nothing is said to anybody."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.popen.wait(10)

    def wait_for_text(self, text, timeout=10):
        """Waits until its log contains the text."""
        self.lab.wait_until(lambda: text in self.text() or not self.alive(), timeout, f"{self.name} says '{text}'")
        if text not in self.text():
            raise Failed(f"{self.name} on {self.host.name} ended with {self.popen.returncode} and never said '{text}'")


AUTH_KEY = "koi-lab-" * 5  # of the trailer; every node has the same unless a story says otherwise


class Koid(Process):
    """koid on a host, in a folder of its own, with somebody listening to what it tells its service manager.

    It is the user and has the capabilities and the system calls that its unit gives it (under_unit.py), or what an
    `entrance` of the story's says. `watcher`: a program in front of it that becomes it in the end (strace -D) and is not
    restricted itself.
    """

    def __init__(self, host, config, key, name="koid", environment=None, arguments=(), program=BUILD / "koid", watcher=(),
                 entrance=None):
        self.folder = host.folder / name
        for folder in ("run", "state"):
            (self.folder / folder).mkdir(parents=True, exist_ok=True)
        self.config_file, self.key_file = self.folder / "koi.yaml", self.folder / "koi.key"
        self.socket = self.folder / "run" / "koi.sock"
        self.key_file.touch(mode=0o600)
        self.key_file.write_text(key)
        self.auth_key = self.folder / "auth.key"  # {dir}/auth.key, of the trailer
        if not self.auth_key.exists():
            self.auth_key.touch(mode=0o600)
            self.auth_key.write_text(AUTH_KEY)
        self.node_name = host.name
        self.write_config(config)
        self.notices = []  # (seconds since start, {"READY": "1", "STATUS": "…"})
        where = self.folder / "notify"
        where.unlink(missing_ok=True)
        self.ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.ear.bind(str(where))
        where.chmod(0o777)
        host.lab.listen(self.ear, self.hear)
        if not Path(program).exists():
            raise Failed(f"{program} is not there; ./dev build makes it")
        if under_unit.wanted():
            self.owner = getattr(entrance, "owner", None)
            self._give(self.folder / "run", self.folder / "state", self.key_file, self.auth_key)
            program = under_unit.reachable(program, host.lab.folder / "programs")
            entrance = entrance or (None if watcher else under_unit.entrance())
        self.program = program
        super().__init__(host, [*watcher, program, *(["-c", self.config_file] if config is not None else []), *arguments],
                         name, {"RUNTIME_DIRECTORY": str(self.folder / "run"), "STATE_DIRECTORY": str(self.folder / "state"),
                                "NOTIFY_SOCKET": str(where), **(environment or {})}, cwd=self.folder, entrance=entrance)
        host.say(f"{name} started")

    def write_config(self, config):
        """A dict gets `node` and `carp.key_file` if it lacks them; in text, {dir} and {key_file} are replaced."""
        if config is None:
            return
        if isinstance(config, dict):
            config = json.loads(json.dumps(config))
            config.setdefault("node", self.node_name)
            config.setdefault("carp", {}).setdefault("key_file", str(self.key_file))
            config = json.dumps(config, indent=2, ensure_ascii=False) + "\n"  # JSON is YAML
        config = config.replace("{dir}", str(self.folder)).replace("{key_file}", str(self.key_file))
        beside = self.config_file.with_suffix(".new")
        beside.write_text(config)
        beside.rename(self.config_file)

    def write(self, name, text, mode=0o644):
        """A file in koid's folder ({dir}), replaced in one step as careful programs do. Returns its path."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(path.name + ".new")
        beside.write_text(text)
        beside.chmod(mode)
        if mode & 0o077 == 0 and under_unit.wanted():
            self._give(beside)  # a secret is its reader's
        beside.rename(path)
        return path

    def _give(self, *paths):
        try:
            under_unit.give(*paths, owner=self.owner)
        except OSError as problem:
            raise Failed(f"koid's files cannot be given to its unit's user: {problem}; KOI_AS_ROOT=1 starts it as root") from None

    # What it told its service manager

    def hear(self):
        try:
            data, files, _, _ = socket.recv_fds(self.ear, 8192, 4)
        except BlockingIOError:
            return
        for number in files:  # sd_notify_barrier: closing is the answer
            os.close(number)
        notice = dict(line.split("=", 1) for line in data.decode(errors="replace").splitlines() if "=" in line)
        self.notices.append((time.monotonic() - self.began, notice))
        for word in ("READY", "RELOADING", "STOPPING", "STATUS"):
            if word in notice:
                self.host.say(f"{self.name} {word}" + (f": {notice[word]}" if word == "STATUS" else ""))

    def noticed(self, word):
        """Seconds after the start at which it first said READY=1, RELOADING=1, …; None if it never did."""
        return next((when for when, notice in list(self.notices) if word in notice), None)

    @property
    def status_line(self):
        return next((notice["STATUS"] for _, notice in reversed(self.notices) if "STATUS" in notice), None)

    def wait_ready(self, timeout=10):
        """Waits for READY=1; returns how many seconds after its start that was."""
        self.lab.wait_until(lambda: self.noticed("READY") is not None or not self.alive(), timeout,
                            f"{self.name} on {self.host.name} is ready", every=0.002)
        if self.noticed("READY") is None:
            raise Failed(f"{self.name} on {self.host.name} ended with {self.popen.returncode} before it was ready")
        return self.noticed("READY")

    def test(self, how, check=True):
        """Runs `koid -t` or -T on its configuration, as the user koid is: nobody else but root's koid may read its keys."""
        watcher = ["/usr/bin/python3", under_unit.__file__] if under_unit.wanted() else []
        return self.host.run([*watcher, self.program, how, "-c", self.config_file], check=check)

    # The operator's end

    def koi(self, *arguments, check=True, timeout=20):
        """Runs `koi ARGUMENTS` against this daemon. Returns its finished process (stdout, stderr, returncode)."""
        return self.host.run([BUILD / "koi", *arguments], check=check, timeout=timeout,
                             environment={"KOI_SOCKET": str(self.socket)})

    def koi_json(self, *arguments):
        """The same with -o json, parsed."""
        return json.loads(self.koi(*arguments, "-o", "json").stdout)

    def reload(self):
        """SIGHUP; returns at once. `koi("reload")` waits for the outcome."""
        self.host.say(f"{self.name} told to read its configuration again")
        self.signal(signal.SIGHUP)

    def stop(self, timeout=10):
        self.host.say(f"{self.name} asked to end")
        code = super().stop(timeout)
        self.host.say(f"{self.name} ended with {code}")
        return code

    def kill(self):
        """The speaker and everything it started, at once. `host.kill_power()` also cuts the wire."""
        self.host.say(f"{self.name} killed")
        members = {self.pid} | set(descendants(self.pid))
        for member in members:
            try:
                os.kill(member, signal.SIGKILL)
            except ProcessLookupError:
                pass
        super().kill()


def descendants(pid):
    """Process ids of all children, their children, …"""
    found = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split():
                found += [int(child), *descendants(int(child))]
    except (FileNotFoundError, ProcessLookupError):
        pass
    return found


class Busy:
    """with Busy(): …   as many programs as there are processors, or so many, do nothing but compute."""

    SPIN = "import os\nwhile os.getppid() == {}:\n    for _ in range(100_000): pass"  # ends by itself if we are killed

    def __init__(self, programs=None):
        self.number = programs or os.cpu_count()

    def __enter__(self):
        self.programs = [subprocess.Popen([sys.executable, "-c", self.SPIN.format(os.getpid())]) for _ in range(self.number)]

    def __exit__(self, *_):
        for program in self.programs:
            program.kill()
            program.wait()


class Watching(Process):
    """A client that asks one place at a steady beat. `end()` and then look at what it saw."""

    def __init__(self, host, protocol, address, port, every_ms, timeout_ms):
        self.answers_file = host.new_file("watch", ".json")
        self.seen = None
        with open(self.answers_file, "wb") as answers:
            super().__init__(host, ["/usr/bin/python3", Path(__file__).with_name("probe.py"), "watch", protocol, address,
                                    port, every_ms, timeout_ms], "watch", stdout=answers)
        self.wait_for_text("watching")  # a busy machine may need a second to start a program

    def end(self, timeout=15):
        """Stops asking. Returns itself."""
        if self.seen is None:
            self.stop(timeout)
            told = json.loads(self.answers_file.read_text())
            self.seen, self.reasons, self.failed = told["seen"], Counter(told["reasons"]), told["failed"]
            dark = ", ".join(f"{(until - since) * 1000:.0f} ms at {self.lab.relative(since):.3f}"
                             for since, until, _ in self.darkness) or "never dark"
            why = ", ".join(f"{word} {count}" for word, count in self.reasons.items())
            self.host.say(f"watched: {len(self.seen)} questions, {self.failures} without answer"
                          + (f" ({why})" if why else "") + f"; {dark}")
        return self

    @property
    def probes(self):
        return len(self.seen)

    @property
    def failures(self):
        return sum(answer is None for _, _, answer in self.seen)

    @property
    def answers(self):
        return Counter(answer for _, _, answer in self.seen if answer is not None)

    @property
    def darkness(self):
        """Dark stretches as (since, until, failed questions): from the last answer before to the first one after.

        Seconds of the monotonic clock. A stretch that never ended, or began before the first answer, counts up to
        the last question (from the first question).
        """
        found, last_answer, failed = [], None, 0
        for sent, ended, answer in self.seen:
            if answer is None:
                if not failed and last_answer is None:
                    last_answer = sent
                failed += 1
                continue
            if failed and ended > last_answer:
                found.append((last_answer, ended, failed))
            failed, last_answer = 0, max(ended, last_answer or ended)
        if failed:
            found.append((last_answer, self.seen[-1][0], failed))
        return found

    @property
    def longest_dark(self):
        """Seconds; 0.0 if every question was answered."""
        return max((until - since for since, until, _ in self.darkness), default=0.0)

    def between(self, since, until):
        """(questions asked in that time that failed, the longest dark stretch in it, or on from it)"""
        return (sum(answer is None for sent, _, answer in self.seen if since <= sent < until),
                max((to - max(start, since) for start, to, _ in self.darkness if start < until and since < to), default=0.0))
