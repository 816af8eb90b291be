#!/usr/bin/env python3
"""The arrows of Koi: a part may include what CMakeLists.txt names after USES, and nothing else.

Reads the koi_part() lines and every #include "..." of the tree, prints the picture, and fails on an include that no
arrow allows. Standard library only.
"""
import re
import sys
from pathlib import Path

root = Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
LINE = re.compile(r"^koi_part\((\w+)\s+IN\s+(.*?)(?:\s+USES\s+(.*?))?(?:\s+LIBS\s+(.*?))?\)", re.M)

folders, uses = {}, {}
for name, where, used, _ in LINE.findall((root / "CMakeLists.txt").read_text()):
    uses[name] = set(used.split())
    for folder in where.split():
        folders[folder] = name


def reach(part, seen=()):
    """Everything a part may include: itself and whatever its arrows lead to."""
    out = {part}
    for other in uses[part]:
        if other in seen:
            sys.exit(f"arrows go in a circle: {' -> '.join((*seen, part, other))}")
        out |= reach(other, (*seen, part))
    return out


def part_of(path):
    return folders.get(str(Path(path).parent))


wrong = []
seen = {}
for source in sorted(root.rglob("*")):
    relative = source.relative_to(root)
    if source.suffix not in {".h", ".cpp"} or relative.parts[0] in {"tests", "bench"} or relative.parts[0].startswith("build"):
        continue
    part = part_of(relative)
    if part is None:
        continue  # the programs in supervisor/main may use what they link
    for number, line in enumerate(source.read_text().splitlines(), 1):
        found = re.match(r'\s*#include "([^"]+)"', line)
        if not found:
            continue
        target = part_of(found.group(1))
        if target is None:
            wrong.append(f"{relative}:{number}: {found.group(1)} is in no part")
        elif target not in reach(part):
            wrong.append(f"{relative}:{number}: {part} may not use {target} ({found.group(1)})")
        elif target != part:
            seen.setdefault(part, set()).add(target)

if not uses:
    wrong.append("no koi_part() line was found")
for part in uses:
    print(f"{part:12} -> {' '.join(sorted(seen.get(part, []))) or '-'}")
print("\n".join(wrong) or f"{len(uses)} parts, every arrow points down")
sys.exit(1 if wrong else 0)
