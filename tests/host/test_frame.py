"""Bytes from a host are one whole frame, or no answer at all."""

from __future__ import annotations

import base64
import gzip
import hashlib
import time
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchproof.deploy.host import limits
from switchproof.deploy.host.frame import Frame, FrameError, parse, read_sections
from tests.answers import NONCE, packed, payload

SECTIONS = {
    "outcome": b"ok",
    "detail": b"",
    "status/foo\\x2dbar@1.service": b"\x00\xff\nSWITCHPROOF/1 x\n",
    "log": b"l\n" * 90,
}
WHOLE = packed(payload(SECTIONS))
names = st.from_regex(r"[a-z][A-Za-z0-9_.@:\\-]{0,12}(/[A-Za-z0-9_@:\\-]{1,8})?", fullmatch=True)


def read(output: bytes, verb: str = "observe") -> Frame:
    return parse(output, nonce=NONCE, verb=verb)


def is_frame(text: bytes) -> bool:
    """Whether the text is read as a frame."""
    try:
        read(text)
    except FrameError:
        return False
    return True


@given(st.dictionaries(names, st.binary(max_size=300), max_size=6), st.binary(max_size=60), st.binary(max_size=60))
def test_what_is_said_is_read(sections: dict[str, bytes], before: bytes, after: bytes) -> None:
    """Whatever bytes a host says, and whatever is printed around them, the frame is read as it was said."""
    found = read(before + packed(payload(sections)) + after)
    assert found.sections == sections


def test_frame_cut_short_is_no_answer() -> None:
    """A frame that ends anywhere before its end is an error, never a part of an answer."""
    assert [end for end in range(len(WHOLE) - 1) if is_frame(WHOLE[:end])] == []


def test_frame_without_its_beginning_is_no_answer() -> None:
    """A frame whose beginning is lost is an error."""
    assert [start for start in range(2, len(WHOLE)) if is_frame(WHOLE[start:])] == []


@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
def test_altered_byte_changes_no_answer(at: int, flip: int) -> None:
    """A frame with any byte altered is an error, or still says exactly the same."""
    altered = WHOLE[:at] + bytes([WHOLE[at] ^ flip]) + WHOLE[at + 1 :]
    try:
        found = read(altered)
    except FrameError:
        return
    assert found.sections == SECTIONS


@given(st.integers(0, len(WHOLE)), st.integers(0, len(WHOLE)))
def test_lost_stretch_changes_no_answer(one: int, other: int) -> None:
    """A frame that lost a stretch of bytes is an error, or still says exactly the same."""
    start, end = sorted((one, other))
    try:
        found = read(WHOLE[:start] + WHOLE[end:])
    except FrameError:
        return
    assert found.sections == SECTIONS


@given(st.binary(max_size=2000))
def test_noise_is_no_answer(noise: bytes) -> None:
    """Bytes that are no frame are an error and nothing else."""
    with pytest.raises(FrameError):
        read(noise)


@given(st.binary(max_size=300))
def test_payload_that_is_no_row_of_sections_is_refused(content: bytes) -> None:
    """A payload with a right digest is read whole or refused; what was read says the same when written again."""
    try:
        found = read(packed(content))
    except FrameError:
        return
    assert payload(found.sections) == content


def test_terminal_line_ends_are_no_harm() -> None:
    """A frame whose lines a terminal ended with CR LF is the same frame."""
    assert read(WHOLE.replace(b"\n", b"\r\n")).sections == SECTIONS


@pytest.mark.parametrize(
    ("output", "why"),
    [
        (b"", "did not answer 'observe' with anything"),
        (b"sh: 1: bash: not found\n", "it said: sh: 1: bash: not found"),
        (packed(payload(SECTIONS), nonce="ffffffffffffffff"), "did not answer"),
        (packed(payload(SECTIONS), nonce=NONCE[:-1]), "did not answer"),
        (packed(payload(SECTIONS), nonce=NONCE + "0"), "did not answer"),
        (packed(payload(SECTIONS), verb="resolve"), "answered 'resolve' when asked 'observe'"),
        (WHOLE.replace(b"SWITCHPROOF/1", b"SWITCHPROOF/2"), "did not answer"),
        (b"x" + WHOLE[1:], "did not answer"),
        (WHOLE + packed(payload({"outcome": b"other"})), "2 times, with different answers"),
        (packed(payload({})) + WHOLE, "2 times, with different answers"),
        (WHOLE[:-60] + WHOLE, "cut short by another one"),
        (WHOLE * 9, "more than 8 times"),
        (WHOLE.replace(b"\nH4sI", b"\n# motd\nH4sI"), "damaged"),
        (WHOLE.replace(b"\nH4sI", b"\n!!!\nH4sI"), "damaged"),
        (packed(b"outcome 2\nokoutcome 2\nok\n"), "announced length"),
        (packed(b"outcome 2\nok\noutcome 2\nok\n"), "occurs twice"),
        (packed(b"outcome 99\nok\n"), "announced length"),
        (packed(b"Outcome 2\nok\n"), "cannot be read after 0 bytes"),
        (packed(b"outcome 2\nok\n\n"), "cannot be read after 13 bytes"),
        (packed(b"outcome -1\n\n"), "cannot be read"),
    ],
)
def test_what_is_no_answer_is_told(output: bytes, why: str) -> None:
    """Another question's, verb's or version's frame, and one that is polluted, doubled or ill-made, is refused."""
    with pytest.raises(FrameError, match=why):
        read(output)


def test_same_answer_twice_is_one_answer() -> None:
    """A frame that a terminal repeats is the same answer."""
    assert read(WHOLE + WHOLE).sections == SECTIONS


@pytest.mark.parametrize("name", ["a/../b", "status/../../../../etc/cron.d/x", "a/./b"])
def test_name_of_a_part_leads_nowhere_else(name: str) -> None:
    """Names of parts become paths of evidence, so one that leads out of its folder is refused."""
    with pytest.raises(FrameError, match="cannot be read"):
        read_sections("diagnose", payload({name: b"x"}))


@pytest.mark.parametrize(
    "name", ["journal/dev-disk-by\\x2duuid-0..1.swap", "status/a..b.service", "journal/..service"]
)
def test_name_of_any_unit_is_a_name_of_a_part(name: str) -> None:
    """Every name that systemd gives a unit, escapes included, can name a part."""
    assert read_sections("diagnose", payload({name: b"x"})) == {name: b"x"}


@pytest.mark.parametrize("announced", [10, limits.PAYLOAD + 1, 999_999_999])
def test_decompression_bomb_is_not_inflated(announced: int) -> None:
    """A small answer that would inflate to far more than it announces, or announces too much, is not inflated."""
    bomb = gzip.compress(bytes(40 * 2**20))
    content = f"\nSWITCHPROOF/1 {NONCE} observe {announced} {hashlib.sha256(b'').hexdigest()}\n".encode()
    output = content + base64.encodebytes(bomb) + f"SWITCHPROOF/1 {NONCE} end\n".encode()
    tracemalloc.start()
    try:
        with pytest.raises(FrameError):
            read(output)
        assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    finally:
        tracemalloc.stop()


def test_openings_within_openings_cost_no_more_than_their_length() -> None:
    """An answer that begins again and again is refused at the second beginning, not read once for each."""
    line = f"SWITCHPROOF/1 {NONCE} observe 9 {hashlib.sha256(b'').hexdigest()}\n".encode()
    end = f"SWITCHPROOF/1 {NONCE} end\n".encode()
    began = time.process_time()
    with pytest.raises(FrameError, match="cut short by another one"):
        read(line * 20_000 + end)
    assert time.process_time() - began < 5.0  # it were minutes


def test_an_answer_of_crumbs_takes_little_memory() -> None:
    """Lines of one character, and parts of none, become no lists of as many."""
    parts = b"".join(b"a%d 0\n\n" % number for number in range(limits.PARTS + 1))
    with pytest.raises(FrameError, match="more than 10000 parts"):
        read_sections("observe", parts)
    opening = f"SWITCHPROOF/1 {NONCE} observe 9 {hashlib.sha256(b'').hexdigest()}\n".encode()
    output = opening + b"A\n" * 1_000_000 + f"SWITCHPROOF/1 {NONCE} end\n".encode()
    tracemalloc.start()
    try:
        with pytest.raises(FrameError, match="damaged"):
            read(output)
        assert tracemalloc.get_traced_memory()[1] < 6 * len(output)
    finally:
        tracemalloc.stop()


def test_length_and_digest_must_both_agree() -> None:
    """A payload of the announced length and another digest, or the reverse, is damaged."""
    content = payload(SECTIONS)
    size, digest = str(len(content)).encode(), hashlib.sha256(content).hexdigest().encode()
    for old, new in {
        b" %s " % size: b" %d " % (len(content) - 1),
        digest: hashlib.sha256(b"").hexdigest().encode(),
    }.items():
        with pytest.raises(FrameError, match="damaged"):
            read(WHOLE.replace(old, new))


def test_missing_part_is_told() -> None:
    """A part that the host did not say is an error by its name, unless a default is asked for."""
    found = Frame("observe", {"binary": b"\xff"})
    with pytest.raises(FrameError, match="'observe' lacks the part 'outcome'"):
        found.text("outcome")
    assert found.get("outcome", "none") == "none"
    assert found.text("binary") == "\N{REPLACEMENT CHARACTER}"


def test_as_many_answers_as_may_be_are_one_answer() -> None:
    """Eight times the same answer is that answer; only the ninth is too much."""
    assert read(WHOLE * limits.ANSWERS).sections == SECTIONS


def test_answer_of_the_greatest_length_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is the last length that is read."""
    monkeypatch.setattr(limits, "PAYLOAD", len(payload(SECTIONS)))
    assert read(WHOLE).sections == SECTIONS
    monkeypatch.setattr(limits, "PAYLOAD", len(payload(SECTIONS)) - 1)
    with pytest.raises(FrameError, match=r"announces \d+ bytes; at most \d+ are read"):
        read(WHOLE)


def test_answer_that_repeats_itself_from_afar_is_read() -> None:
    """gzip refers to what it packed up to 32 KiB before."""
    sections = {"log": hashlib.shake_256(b"log").digest(30_000) * 3}
    assert len(packed(payload(sections))) < 60_000
    assert read(packed(payload(sections))).sections == sections


def test_answer_that_is_packed_another_way_is_damaged() -> None:
    """A host packs with gzip and nothing else, so another format was not written by its script."""
    whole = packed(payload(SECTIONS)).splitlines(keepends=True)
    other = base64.encodebytes(zlib.compress(payload(SECTIONS)))
    with pytest.raises(FrameError, match="damaged"):
        read(b"".join((*whole[:2], other, whole[-1])))


def test_answer_that_goes_on_after_what_it_announced_is_damaged() -> None:
    """Its beginning may have the announced length and digest; what follows was announced by nobody."""
    whole = packed(payload(SECTIONS)).splitlines(keepends=True)
    longer = packed(payload(SECTIONS | {"more": b"x"})).splitlines(keepends=True)
    with pytest.raises(FrameError, match="length or digest differ"):
        read(b"".join((*whole[:2], *longer[2:])))


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (b"one\ntwo\n three \nfour\n\n", "two / three / four"),
        (b"a" * 200 + b"bc\n", "a" * 200),
        (b"ab" + b" " * 1998 + b"c", "b" + " " * 199),
    ],
    ids=["three-lines", "200-characters-of-each", "2000-bytes"],
)
def test_host_that_answers_otherwise_is_quoted_shortly(output: bytes, said: str) -> None:
    """The end of what it said instead is in the message, however much it was."""
    with pytest.raises(FrameError) as error:
        read(output)
    assert str(error.value) == f"the host did not answer 'observe'; it said: {said}"
