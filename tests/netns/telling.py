"""Tells stories, whatever the laboratory: finds them, lives through each in a process of its own, writes down what became of
it. A folder of stories has a small program `run` that says, in a Teller, what its laboratory needs, and calls main().

Exit code of a run: 0 all passed, 1 some failed, 77 nothing failed but something is missing here (it says what).
"""

import argparse
import ctypes
import importlib.util
import os
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path

PASSED, BROKEN, SKIPPED = 0, 1, 77
PR_SET_PDEATHSIG = 1
ENGINE = Path(__file__).resolve().parent / "engine/run"


class Story:
    def __init__(self, function):
        self.function = function
        self.name = function.__name__.removeprefix("story_")
        self.about = " ".join((function.__doc__ or "").split())
        self.needs = getattr(function, "needs", set())
        self.timeout = getattr(function, "timeout", 60)
        self.quiet = getattr(function, "quiet", False)

    @property
    def kernel(self):
        return "guest" if "ip_vs" in self.needs else "here"


class Teller:
    """What is particular to one kind of laboratory."""

    def __init__(self, run, results, usage):
        self.run, self.results, self.usage = Path(run).resolve(), results, usage
        self.here = self.run.parent

    def missing(self, story):
        """What this story needs and is not here; empty if nothing."""
        return ""

    def prepare(self, story):
        """Before the story's time begins, in the runner's own process. Returns what could not be had, or nothing."""
        return ""

    def enter(self, story):
        """In the story's own process, before there is a laboratory."""

    def lab(self, story, verbose):
        """The laboratory, a context manager with note() and transcript()."""
        raise NotImplementedError

    def sweep(self):
        """After a story that had to be ended outright."""

    def is_slow(self, story):
        """Whether it is told only when it is named, or with --all."""
        return False

    def engine(self):
        """What engine/run is told about the kernel that stories with ip_vs are taken to: its options, and its environment."""
        return [], {}

    def line(self, story):
        """One line of --list."""
        return f"{story.name};{story.kernel};{story.timeout};{int(story.quiet)};{','.join(sorted(story.needs))}"


def find_stories(here):
    stories = []
    for file in sorted((here / "stories").glob("*.py")):
        spec = importlib.util.spec_from_file_location(f"stories.{file.stem}", file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        stories += [Story(item) for name, item in vars(module).items()
                    if name.startswith("story_") and getattr(item, "__module__", "") == module.__name__]
    names = [story.name for story in stories]
    for name in names:
        if names.count(name) > 1:
            sys.exit(f"two stories are called {name}; each needs a name of its own")
    return stories


def tell(teller, story, transcript, verbose):
    """The child's part: lives through one story, writes the transcript, ends with the exit code."""
    teller.enter(story)
    lab = teller.lab(story, verbose)
    code = PASSED
    try:
        with lab:
            story.function(lab)
    except SystemExit as end:
        code = BROKEN
        lab.note([f"\nended from outside ({end.code})"])
    except BaseException:
        code = BROKEN
        lab.note(["\n" + traceback.format_exc().rstrip()])
    transcript.write_text(f"{story.name}: {story.about}\n\n{lab.transcript()}\n", encoding="utf-8")
    sys.stdout.flush()
    os._exit(code)


def die_with_parent(number):
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)


def live(teller, story, folder, verbose):
    """Runs one story in a process of its own, so that one that hangs or dies spoils nothing. Returns (code, seconds)."""
    transcript = folder / f"{story.name}.transcript"
    transcript.unlink(missing_ok=True)
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        code = BROKEN
        try:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            die_with_parent(signal.SIGTERM)  # if we are killed, it cleans up
            tell(teller, story, transcript, verbose)
        except BaseException:  # before there was a laboratory
            transcript.write_text(f"{story.name}: {story.about}\n\n{traceback.format_exc()}", encoding="utf-8")
        finally:
            os._exit(code)
    try:
        code = wait_for(child, story.timeout)
    except BaseException:
        end(teller, child)
        raise
    if code is None:
        end(teller, child)
        code = BROKEN
        with open(transcript, "a", encoding="utf-8") as file:
            file.write(f"\nnot done after {story.timeout} s\n")
    return code, time.monotonic() - began


def wait_for(child, seconds):
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    return None


def end(teller, child):
    """Politely first: the lab then cleans up and writes its transcript."""
    for number, patience in ((signal.SIGTERM, 10), (signal.SIGKILL, 10)):
        try:
            os.kill(child, number)
            if wait_for(child, patience) is not None:
                break
        except (ProcessLookupError, ChildProcessError):
            break
    if os.geteuid() == 0:
        teller.sweep()


def write_result(folder, story, code, seconds, reason=""):
    text = f"exit {code}\nseconds {seconds:.1f}\n" + (f"reason {reason}\n" if reason else "")
    (folder / f"{story.name}.result").write_text(text, encoding="utf-8")
    for kind in ("transcript", "result"):  # a guest that is ended later must not take them along
        with open(folder / f"{story.name}.{kind}", "rb") as file:
            os.fsync(file.fileno())


def run_here(teller, stories, folder, verbose):
    """Runs the stories on the kernel we are on. Returns their exit codes."""
    codes = []
    for story in stories:
        reason = teller.missing(story) or teller.prepare(story)
        if reason:
            code, seconds = SKIPPED, 0
            (folder / f"{story.name}.transcript").write_text(f"{story.name}: {story.about}\nnot told: it needs {reason}\n")
        else:
            code, seconds = live(teller, story, folder, verbose)
        write_result(folder, story, code, seconds, reason)
        word = {PASSED: "held", SKIPPED: "not told"}.get(code, "BROKEN")
        print(f"{word:8} {seconds:5.1f} s  {story.name}: {f'it needs {reason}' if reason else story.about}", flush=True)
        if code not in (PASSED, SKIPPED) and not verbose:
            print((folder / f"{story.name}.transcript").read_text(encoding="utf-8"), flush=True)
        codes.append(code)
    return codes


def run_in_guest(teller, stories, folder, verbose):
    """Takes the stories to a kernel with ip_vs, all in one guest."""
    limit = 60 + sum(story.timeout for story in stories)
    for story in stories:
        (folder / f"{story.name}.result").unlink(missing_ok=True)
        teller.prepare(story)
    options, environment = teller.engine()
    done = subprocess.run([ENGINE, *options, "--timeout", str(limit), "--", teller.run, "--kernel", "guest",
                           "--results", folder, "--exactly", *(["-v"] if verbose else []), *(s.name for s in stories)],
                          env={**os.environ, **environment})
    codes = []
    for story in stories:
        if not (folder / f"{story.name}.result").exists():
            # Not "not told": whoever runs this expects to have seen it hold.
            reason = ("it needs a kernel with ip_vs, and no guest has booted here; remedy: sudo ./dev deps lab qemu, or a running "
                      "kernel with ip_vs (engine/run says what it tried)" if done.returncode == 125 else
                      f"the guest ended ({done.returncode}) before this story was told")
            (folder / f"{story.name}.transcript").write_text(f"{story.name}: {story.about}\nnot told: {reason}\n")
            write_result(folder, story, BROKEN, 0, reason)
            print(f"BROKEN     0.0 s  {story.name}: {reason}", flush=True)
        codes.append(read_result(folder, story.name)[0])
    return codes


def read_result(folder, name):
    lines = dict(line.split(" ", 1) for line in (folder / f"{name}.result").read_text().splitlines())
    return int(lines["exit"]), lines.get("reason", "")


def report(name, folder):
    try:
        code, _ = read_result(folder, name)
    except FileNotFoundError:
        print(f"{name} was not told: there is no {folder / name}.result")
        return BROKEN
    print((folder / f"{name}.transcript").read_text(encoding="utf-8"))
    return code


def tell_all(teller):
    parser = argparse.ArgumentParser(usage=teller.usage)
    parser.add_argument("patterns", nargs="*")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--kernel", choices=("here", "guest"))
    parser.add_argument("--take-to-guest", action="store_true")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--exactly", action="store_true")
    parser.add_argument("--prepare", action="store_true")
    parser.add_argument("--results", type=Path)
    parser.add_argument("--judge-later", action="store_true")
    parser.add_argument("--report")
    parser.add_argument("-v", "--verbose", action="store_true")
    told = parser.parse_args()

    folder = (told.results or teller.results).absolute()
    if told.report:
        return report(told.report, folder)
    stories = [story for story in find_stories(teller.here) if not told.patterns
               or any(pattern == story.name if told.exactly else pattern in story.name for pattern in told.patterns)]
    if not (told.all or told.list or told.patterns or told.take_to_guest):
        stories = [story for story in stories if not teller.is_slow(story)]
    wanted_kernel = "guest" if told.take_to_guest else told.kernel
    if wanted_kernel:
        stories = [story for story in stories if story.kernel == wanted_kernel]
    if told.list:
        for story in stories:
            print(teller.line(story))
        return PASSED
    if not stories:
        print("no story is called so; --list shows them")
        return 2
    if told.prepare:  # what is wrong is said by the stories themselves
        for story in stories:
            if not teller.missing(story):
                teller.prepare(story)
        return PASSED
    folder.mkdir(parents=True, exist_ok=True)
    if told.kernel:
        codes = run_here(teller, stories, folder, told.verbose)
    else:
        here, guest = ([s for s in stories if s.kernel == kernel] for kernel in ("here", "guest"))
        codes = run_here(teller, here, folder, told.verbose)
        if guest:
            codes += run_in_guest(teller, guest, folder, told.verbose)
    if told.judge_later:
        return PASSED
    return BROKEN if any(code not in (PASSED, SKIPPED) for code in codes) else SKIPPED if SKIPPED in codes else PASSED


def main(teller):
    sys.stdout.reconfigure(encoding="utf-8", errors="replace")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        sys.exit(tell_all(teller))
    except KeyboardInterrupt:
        sys.exit(130)
