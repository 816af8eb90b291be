#!/usr/bin/env python3
"""mutate.py SOURCE COPY OLD NEW: writes COPY, which is SOURCE with its only OLD replaced by NEW.

Fails unless SOURCE has OLD exactly once: a mutant that changes nothing would live for ever.
"""
import sys
from pathlib import Path

source, copy, old, new = sys.argv[1:]
text = Path(source).read_text()
if text.count(old) != 1:
    sys.exit(f"{source} has {old!r} {text.count(old)} times, and not once; say in tests/CMakeLists.txt what to break instead")
Path(copy).parent.mkdir(parents=True, exist_ok=True)
Path(copy).write_text(text.replace(old, new))
