#!/usr/bin/python3
"""The journal's catalog beside the code: every event word that is logged has an entry, every entry a word, and every id
is made from its word as supervisor/base/log.cpp makes it. journalctl -x shows a text only if all three agree.

    catalog_test.py ROOT        ROOT: the source tree
"""

import re
import sys
import unittest
from pathlib import Path

ROOT = Path(sys.argv.pop(1) if len(sys.argv) > 1 else ".").resolve()
CATALOG = ROOT / "packaging/systemd/koi.catalog"
PARTS = ["supervisor", "carp", "ipvs", "discovery"]

# note(Level::warning, "word", … and its relatives; a word may also be chosen: down ? "step_down" : "step_up".
SAYS = re.compile(r'\b(?:note|tell_?|happened)\(\s*(?P<first>[^"();]*?(?:\([^()"]*\))?[^"();]*?),\s*(?P<word>"[a-z_]+"|[^",;]*\?\s*"[a-z_]+"\s*:\s*"[a-z_]+")\s*,')
CALL = re.compile(r'\b(?:note|tell_?|happened)\(\s*(?:log::)?(?:Level::|[0-9]|[a-z_.:>-]* ?[?]|[a-z]+ ?[=!]=)')


def message_id(word):
    """FNV-1a with 64 bits, twice, from two beginnings."""
    out = ""
    for half in (0xCBF29CE484222325, 0x84222325CBF29CE4):
        for byte in word.encode():
            half = (half ^ byte) * 0x100000001B3 % 2**64
        out += f"{half:016x}"
    return out


def sources():
    for part in PARTS:
        yield from sorted((ROOT / part).rglob("*.cpp"))


def words_of_code():
    words = {}
    for source in sources():
        text = re.sub(r"//[^\n]*", "", source.read_text())
        for said in SAYS.finditer(text):
            for word in re.findall(r'"([a-z_]+)"', said["word"]):
                words.setdefault(word, source.relative_to(ROOT))
    return words


def entries_of_catalog():
    """[(word, id, text)]"""
    text = CATALOG.read_text()
    return [(m[1], m[2], m[3]) for m in re.finditer(r"^# ([a-z_]+)\n-- ([0-9a-f]{32})\n(.*?)(?=^# |\Z)", text, re.M | re.S)]


WHAT_NEXT = re.compile(r"`|\b(koid? -?\w|journalctl|ip |nft |systemctl|coredumpctl)")


class Catalog(unittest.TestCase):
    def test_the_code_is_read_as_it_is_written(self):
        words = words_of_code()
        for word in ("role", "advert_refused", "reload", "step_down", "step_up", "trouble", "host", "source"):
            self.assertIn(word, words)
        for source in sources():
            text = re.sub(r"//[^\n]*", "", source.read_text())
            said = [m.start() for m in SAYS.finditer(text)]
            for call in CALL.finditer(text):
                line = text.count("\n", 0, call.start()) + 1
                self.assertIn(call.start(), said, f"{source}:{line}: which event word is this?")

    def test_every_word_of_the_code_has_an_entry(self):
        known = {word for word, _, _ in entries_of_catalog()}
        for word, source in words_of_code().items():
            self.assertIn(word, known, f"{source} logs it; {CATALOG.name} needs: # {word} / -- {message_id(word)}")

    def test_every_entry_is_a_word_of_the_code(self):
        words = words_of_code()
        for word, _, _ in entries_of_catalog():
            self.assertIn(word, words, "nobody logs it any more")

    def test_the_ids_are_those_of_log_cpp(self):
        for word, number, _ in entries_of_catalog():
            self.assertEqual(number, message_id(word), word)
        code = (ROOT / "supervisor/base/log.cpp").read_text()
        for constant in ("0xcbf29ce484222325", "0x84222325cbf29ce4", "0x100000001b3"):
            self.assertIn(constant, code, "log.cpp makes ids in another way now")

    def test_every_id_stands_under_its_word_and_once(self):
        numbers = re.findall(r"^-- ([0-9a-f]+)", CATALOG.read_text(), re.M)
        self.assertEqual(numbers, [number for _, number, _ in entries_of_catalog()])
        self.assertEqual(len(numbers), len(set(numbers)))

    def test_every_entry_has_a_subject_and_a_command(self):
        for word, _, text in entries_of_catalog():
            self.assertRegex(text, r"\ASubject: \S.*\nDefined-By: Koi\nDocumentation: man:koid\(8\)\n\n\S", word)
            self.assertRegex(text.partition("\n\n")[2], WHAT_NEXT, f"{word}: which command comes next?")


if __name__ == "__main__":
    unittest.main(verbosity=1)
