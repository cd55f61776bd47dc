"""What the script says is what the frame's reader reads."""

from __future__ import annotations

import shlex

import pytest

from switchproof.deploy.host.frame import FrameError, parse
from tests.answers import NONCE
from tests.host_functions import run

TEXTS = [
    "",
    "a word",
    "a\nb\n\n",
    "\n",
    "é → 漢字 🚀",
    "x 3\nabc\n",
    "\x1f\x1e\t\x01",
    "SWITCHPROOF/1 x end",
    "%s %d \\n",
]


def answered(*parts: tuple[str, str]) -> bytes:
    said = "".join(f"say {shlex.quote(name)} {shlex.quote(text)}\n" for name, text in parts)
    return run(f"{said}answer observe", "answer", values={"SWITCHPROOF_NONCE": NONCE}).encode()


def test_each_text_arrives_as_it_was_said() -> None:
    """Lengths are bytes, and nothing in a text is taken for the next part or the end."""
    parts = [(f"part.{number}", text) for number, text in enumerate(TEXTS)]
    frame = parse(b"a banner\n" + answered(*parts), nonce=NONCE, verb="observe")
    assert [(name, frame.text(name)) for name in frame.sections] == parts


def test_a_part_that_is_said_twice_is_no_answer() -> None:
    """Of two texts with one name neither counts."""
    with pytest.raises(FrameError, match="occurs twice"):
        parse(answered(("a", "1"), ("a", "2")), nonce=NONCE, verb="observe")


def test_a_refusal_says_how_and_why() -> None:
    """An outcome comes with its detail, for the frame and for a person alike."""
    text = 'refuse gone "it is not there"; echo "${said[outcome]}: ${said[detail]}"; printf "%s" "$payload"'
    assert run(text, "answer") == "gone: it is not there\noutcome 4\ngone\ndetail 15\nit is not there\n"
