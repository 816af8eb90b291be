#!/usr/bin/python3
"""Says prepared frames over and over, as fast as one process can, and how long that took.

    flood.py INTERFACE FILE COUNT    FILE: one frame per line, in hexadecimal
"""

import itertools
import json
import socket
import sys
import time
from pathlib import Path


def main(interface, file, count):
    frames = [bytes.fromhex(line) for line in Path(file).read_text().split()]
    mouth = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    mouth.bind((interface, 0))
    began, say, lost = time.monotonic(), mouth.send, 0
    for one in itertools.islice(itertools.cycle(frames), int(count)):
        try:
            say(one)
        except OSError:  # no room in the interface's queue
            lost += 1
    print(json.dumps({"said": int(count) - lost, "seconds": time.monotonic() - began}))


if __name__ == "__main__":
    main(*sys.argv[1:])
