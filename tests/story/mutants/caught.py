#!/usr/bin/env python3
"""caught.py PROGRAM SEEDS: a broken Koi, which random lives must catch within so many seeds; prints the first."""
import os
import re
import subprocess
import sys

program, seeds = sys.argv[1:]
life = {name: value for name, value in os.environ.items() if not name.startswith("KOI_")}
run = subprocess.run([program, "--gtest_filter=RandomSchedules.*"], env=life | {"KOI_SEEDS": seeds}, capture_output=True, text=True)
caught = re.search(r"^KOI_SEED=(\d+) breaks a law.*?: (.*)", run.stdout, re.M)
if run.returncode == 0 or not caught:
    sys.exit(f"{program} lives: {seeds} seeds did not catch it (it ended with {run.returncode})\n{run.stdout[-2000:]}{run.stderr[-2000:]}")
print(f"caught by seed {caught[1]}: {caught[2]}")
