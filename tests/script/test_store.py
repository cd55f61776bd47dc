"""What nix tells of the running system: its hash, and what belongs to it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.host_functions import run

HASH = f"sha256:{'1' * 52}"
SYSTEM, SHORT = f"/nix/store/{'s' * 32}-system", f"/nix/store/{'a' * 32}-x"
LONG = [SHORT + "y" * more for more in range(1, 168)]
"""Paths of all lengths, up to the longest that there are: 64 needs no filling, and bash treats the byte 127 apart."""

SERVER = f"""#!/usr/bin/env python3
import struct, sys
def number():
    word = sys.stdin.buffer.read(8)
    if not word: raise EOFError
    return struct.unpack("<Q", word)[0]
def text():
    length = number()
    content, rest = sys.stdin.buffer.read(length), sys.stdin.buffer.read(-length % 8)
    assert rest == bytes(-length % 8)
    return content.decode()
def tell(*items):
    for item in items:
        if isinstance(item, list): tell(len(item), *item)
        elif isinstance(item, int): sys.stdout.buffer.write(struct.pack("<Q", item))
        else: sys.stdout.buffer.write(struct.pack("<Q", len(item)) + item.encode() + bytes(-len(item) % 8))
    sys.stdout.buffer.flush()
def closure(paths):
    for path in paths:
        if path not in {[SYSTEM, *LONG]!r}: sys.exit(f"error: path '{{path}}' is not valid")
    return {LONG!r} + [path for path in paths if path == {SYSTEM!r}]
if "-qR" in sys.argv:
    print(*closure(sys.argv[2:]), sep="\\n")
    sys.exit()
assert sys.argv[1:] == ["--serve"]
assert (number(), number()) == (0x390C9DEB, 0x205)
tell(0x5452EECB, 0x207)
try:
    while True:
        match number():
            case 2:
                for path in [text() for _ in range(number())]:
                    if path == {SYSTEM!r}:
                        tell(path, {SHORT + ".drv"!r}, [{SHORT!r}], 7, 10, {HASH!r}, "", ["key-1:c2lnbmVk"])
                tell("")
            case 7:
                assert number() == 0
                tell(closure([text() for _ in range(number())]))
except EOFError:
    pass
"""


@pytest.fixture
def asked(tmp_path: Path) -> str:
    """A text that puts a program in the place of nix-store, which answers as nix does."""
    program = tmp_path / "nix-store"
    program.write_text(SERVER, encoding="utf-8")
    program.chmod(0o755)
    return f'PATH="{tmp_path}:$PATH"; SCRATCH={tmp_path}\n'


def test_one_start_of_nix_tells_hash_and_closure(asked: str) -> None:
    """A path of any length is told from those that begin or end like it, and from those that are only mentioned."""
    others = [f"{LONG[-1]}y", f"{SHORT}.drv", SHORT, SYSTEM[:-1], SYSTEM[1:]]
    text = f"""{asked}
      ask_store {SYSTEM} {LONG[3]} || echo failed
      echo "$nar_hash"
      for path in {" ".join([SYSTEM, *LONG])}; do in_closure "$path" || echo "lacks $path"; done
      for path in {" ".join(others)}; do ! in_closure "$path" || echo "has $path"; done
    """
    assert run(text, "clock", "numbers", "files", "system") == f"{HASH}\n"


@pytest.mark.parametrize("path", [SHORT, f"{SYSTEM} {SHORT}"], ids=["system", "program"])
def test_nix_s_own_words_tell_why_a_closure_is_unknown(asked: str, path: str) -> None:
    """Of a path that is not valid there is neither hash nor closure."""
    text = f'{asked}\nask_store {path} || echo "<$nar_hash> $closure"'
    assert run(text, "clock", "numbers", "files", "system") == f"<> error: path '{SHORT}' is not valid\n"


def test_an_answer_that_is_cut_is_none(asked: str, tmp_path: Path) -> None:
    """Where nix ends well without the whole answer, nothing is known to belong to the system."""
    whole = tmp_path / "whole"
    (tmp_path / "nix-store").rename(whole)
    for cut in (0, 100, 400):
        text = f'#!/bin/sh\n[ "$1" = --serve ] || exit 0\n{whole} --serve | head -c {cut}\n'
        (tmp_path / "nix-store").write_text(text, encoding="utf-8")
        (tmp_path / "nix-store").chmod(0o755)
        text = f'{asked}\nask_store {SYSTEM} || echo "<$nar_hash> $closure"'
        assert run(text, "clock", "numbers", "files", "system") == "<> nix-store --serve gave no whole answer\n"


@pytest.mark.parametrize(
    ("since", "asked_again"),
    [
        ("", False),
        ("touch -d '+1 second' {db}", True),
        ("touch -d '+1 second' {db}-wal", True),
        ("touch -d '-1 hour' {db}-wal", False),
        ("rm {db}", True),
        ("touch -d '+1 second' {program}", True),
        ("mkdir {tmp}/first && ln {program} {tmp}/first/ && hash -r && PATH={tmp}/first:$PATH", True),
        ('uptime_to() {{ printf -v "$1" 5.00; }}', True),
        ("printf '%s' \"$(head -c 40 $RECALLED)\" >$RECALLED", True),
        ("SYSTEM=$OTHER", True),
    ],
    ids=["nothing", "database", "log", "older", "gone", "program", "another", "clock", "cut", "question"],
)
def test_nix_is_asked_again_only_after_something_was_written(
    asked: str, tmp_path: Path, since: str, asked_again: bool
) -> None:
    """What nix said holds as long as its database, its program and the clock are the same, and for the same paths."""
    server, program = tmp_path / "server", tmp_path / "nix-store"
    program.rename(server)
    program.write_text(f'#!/bin/sh\necho asked >>{tmp_path}/count\nexec {server} "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    db = tmp_path / "db.sqlite"
    for file in (db, program):
        file.touch()
        os.utime(file, (1, 1))
    between = since.format(db=db, program=program, tmp=tmp_path)
    text = f"""{asked}
      RECALLED={tmp_path}/recalled STORE_DB={db} SYSTEM={SYSTEM} OTHER="{SYSTEM} {LONG[1]}"
      again() {{ nar_hash='' closure='' SCRATCH=$(mktemp -d -p {tmp_path}); ask_store $SYSTEM; echo "$nar_hash"; }}
      again
      {between}
      again
      for path in {" ".join([SYSTEM, *LONG])}; do in_closure "$path" || echo "lacks $path"; done
    """
    assert run(text, "clock", "numbers", "files", "system") == f"{HASH}\n{HASH}\n"
    assert (tmp_path / "count").read_text().split() == ["asked"] * (2 if asked_again else 1)
