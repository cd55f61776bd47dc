"""A stream through SSM: pieces that a host puts together only if all have come, and no more than a run may send."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from switchproof.deploy.errors import Inconclusive
from switchproof.deploy.providers.aws import sending

CONTENT = os.urandom(60_000)
"""Three pieces, as it cannot be packed any smaller."""


@pytest.fixture(autouse=True)
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for pieces."""
    monkeypatch.setattr(sending, "_SHELF", str(tmp_path / "sent"))
    return tmp_path / "sent"


def run(program: bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["/bin/sh"], input=program, capture_output=True, timeout=20, check=False)


@pytest.mark.parametrize("content", [CONTENT, b"x", b""])
def test_a_stream_comes_whole_whatever_piece_comes_first(tmp_path: Path, shelf: Path, content: bytes) -> None:
    """The command gets it as its input, its status comes back, and nothing of it stays."""
    packed = sending.pack("a", [content[:7], content[7:]])
    pieces = sending.pieces("one", packed)
    assert len(pieces) == (3 if content == CONTENT else 1)
    for piece in reversed(pieces):
        assert run(piece).returncode == 0
    done = run(sending.last("one", packed, f"sh -c 'cat >{tmp_path}/got; exit 7'"))
    assert (done.returncode, (tmp_path / "got").read_bytes()) == (7, content)
    assert list(shelf.iterdir()) == []


def test_a_stream_that_lacks_a_piece_reaches_no_command(tmp_path: Path) -> None:
    """Nor does one of which no piece has come."""
    packed = sending.pack("a", [CONTENT])
    pieces = sending.pieces("one", packed)
    last = sending.last("one", packed, f"tee {tmp_path}/got")
    assert run(last).returncode != 0
    for piece in pieces[:-1]:
        run(piece)
    done = run(last)
    assert (done.returncode, done.stderr) == (1, b"the pieces did not come whole\n")
    assert not (tmp_path / "got").exists()


def test_a_stream_has_a_limit() -> None:
    """It is that of what is packed; no more is read than shows that it is exceeded."""
    assert len(sending.pack("a", [bytes(2**20)] * 20)) < sending.MOST
    rest = iter([os.urandom(2**19)] * 4)
    said = r"a: more than 1\.0 MB, packed, would have to be sent through SSM"
    with pytest.raises(Inconclusive, match=said) as raised:
        sending.pack("a", rest)
    assert len(list(rest)) == 1
    assert "without --source" in raised.value.remedy
