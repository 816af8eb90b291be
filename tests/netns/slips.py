"""How late the machine itself is: a bare loop beside a story that sleeps 5 ms, again and again, and notes by how much each sleep
was too long.

A limit of a tenth of a second is a promise of Koi's, and of a machine that lets Koi run. Where the bare loop, which does
nothing, was late as well, that lateness is the machine's, and a story must not blame Koi for it. It is a process of
its own, or it would measure what Python's threads do to each other.
"""

import ctypes
import mmap
import os
import signal
import struct
import time

BEAT, WORTH_NOTING, ROOM = 0.005, 0.002, 1 << 16
RECORD = struct.Struct("=dd")  # (monotonic seconds at the end of a sleep, by how much it was too long)
COUNT = struct.Struct("=q")
PR_SET_PDEATHSIG = 1


class BareLoop:
    def __init__(self):
        self._memory = mmap.mmap(-1, COUNT.size + ROOM * RECORD.size)
        self.pid = os.fork()
        if self.pid == 0:
            try:
                self._sleep_for_ever()
            finally:
                os._exit(0)

    def _sleep_for_ever(self):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        noted, before = 0, time.monotonic()
        while noted < ROOM:
            time.sleep(BEAT)
            now = time.monotonic()
            if now - before - BEAT > WORTH_NOTING:
                RECORD.pack_into(self._memory, COUNT.size + noted * RECORD.size, now, now - before - BEAT)
                noted += 1
                COUNT.pack_into(self._memory, 0, noted)
            before = now

    def longest(self, since):
        """By how many seconds it was late at most, since an instant; what it sleeps now counts, too."""
        noted = COUNT.unpack_from(self._memory)[0]
        if noted >= ROOM:
            return 0.0  # full: nothing is known any more, and nothing is excused
        worst = 0.0
        for n in reversed(range(noted)):
            when, late = RECORD.unpack_from(self._memory, COUNT.size + n * RECORD.size)
            if when < since:
                break
            worst = max(worst, late)
        return worst

    def end(self):
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = 0
