"""An answer is read as the host wrote it down, and its codes mean what curl's manual says."""

from __future__ import annotations

import pytest

from switchproof.deploy.observe.answers import (
    Answer,
    is_unknown,
    json_problem,
    problem_of,
    read_answer,
    read_direct,
    seconds,
)
from switchproof.deploy.target.types import Endpoint
from tests.answers import direct_answer
from tests.observe.test_answers import ENDPOINT, EXEC, GOOD, TCP, WANT, answer


@pytest.mark.parametrize(
    ("curl", "meaning"),
    [
        (1, "an answer in another protocol than requested"),
        (2, "curl gave no answer"),
        (7, "connection refused or no route"),
        (8, "not an HTTP answer"),
        (18, "the answer ended before it was complete"),
        (23, "could not be stored on the host"),
        (26, "the headers to send could not be read"),
        (28, "no answer in time"),
        (35, "no TLS connection"),
        (47, "redirected"),
        (52, "closed without an answer"),
        (56, "connection reset"),
        (60, "its certificate is not trusted"),
        (63, "answer too large"),
        (77, "the certificates of ca_file could not be read"),
        (6, "curl exit code 6"),
        (-1, "curl exit code -1"),
    ],
)
def test_exit_codes_of_curl_have_their_meaning(curl: int, meaning: str) -> None:
    """A code is told in words, one that is not known by its number; none of them is a good answer."""
    one = answer(GOOD.encode(), curl=curl)
    assert meaning in str(one)
    assert meaning in (problem_of(one, ENDPOINT, WANT) or "")
    assert is_unknown(one, ENDPOINT, WANT) is (curl in {2, 23, -1})


@pytest.mark.parametrize(
    ("curl", "meaning"),
    [
        (2, "how the program ended"),
        (28, "did not end in time"),
        (63, "output is too large"),
        (103, "could not be run"),
    ],
)
def test_programs_have_meanings_of_their_own(curl: int, meaning: str) -> None:
    """What curl says of connections is said of a program in other words."""
    assert meaning in (problem_of(answer(b"ok", code=3, curl=curl, remote=""), EXEC, {}) or "")


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (answer(b""), "HTTP 200 in 200 ms"),
        (answer(b"", code=302, words="http://x/"), "HTTP 302 → http://x/ in 200 ms"),
        (answer(b"", code=0, probe="tcp"), "connection accepted in 200 ms"),
        (answer(b"", code=0, probe="exec", words="x"), "exit code 0 in 200 ms"),
        (answer(b"", curl=7, words="refused"), "connection refused or no route (refused)"),
    ],
)
def test_answer_is_told_in_words(one: Answer, words: str) -> None:
    """A status that never came is none, while a connection and a program that ended well have the code 0."""
    assert str(one) == words
    assert one.short == words.partition(" in ")[0].partition(" → ")[0]
    assert str(answer(b"", code=0)) == "curl exit code 0"


def test_every_part_of_an_answer_is_read() -> None:
    """Times, codes, the body's number, who answered, and words with spaces in them."""
    one, body = read_answer("1.25 live yes 302 0.001 0.002 0 7 127.0.0.1:8080 to http://x/ y ")
    assert one == Answer(1.25, True, 302, 0.001, 0.002, 0, "to http://x/ y", "127.0.0.1:8080")
    assert body == "7"
    other, body = read_answer("1.25 live no 000 0 0.002 ? - - ")
    assert (other.good, other.code, other.curl, other.remote, other.words, body) == (False, 0, -1, "", "", "-")


def test_every_part_of_a_direct_answer_is_read() -> None:
    """What a workload itself answered has its body first, which may have lines itself."""
    one = read_direct(direct_answer("a\nb", "200 0.001 0.002 0 some words"))
    assert (one.at, one.good, one.code, one.connect_s, one.total_s) == (0.0, False, 200, 0.001, 0.002)
    assert (one.curl, one.words, one.remote, one.body) == (0, "some words", "10.0.0.100:8080", b"a\nb")
    assert read_direct(direct_answer("", "000 0 0 ? ")).curl == -1
    assert read_direct("\n000\x1f0\x1f0\x1f7\x1f0\x1f\x1f\x1fno way").remote == ""
    assert read_direct("\n000\x1f0\x1f0\x1f7\x1f0\x1f\x1f\x1fno\x1fway").words == "no\x1fway"


@pytest.mark.parametrize("text", ["0", "1.5", "123456789012", "123456789012.25", "007.0"])
def test_plain_seconds_are_read(text: str) -> None:
    """Digits with a fraction or without, up to twelve before the point."""
    assert seconds(text) == float(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1.",
        ".5",
        "-1",
        "+1",
        "1e3",
        "nan",
        "inf",
        " 1",
        "1_0",
        "1234567890123",
        "1.x",
        "1.5.5",
        "\u0661",
        "1.\u0662",
    ],
)
def test_what_is_no_plain_number_of_seconds_is_refused(text: str) -> None:
    """Nothing that Python alone would take for a number counts, and no time is longer than any soak."""
    with pytest.raises(ValueError, match="not a number of seconds"):
        seconds(text)


def test_numbers_of_up_to_four_thousand_digits_are_compared() -> None:
    """A longer one equals nothing that a target file asks for, and is told by its length."""
    longest = 10**3999
    assert json_problem(b'{"n": 1' + b"0" * 3999 + b"}", {"n": longest}) is None
    assert json_problem(b'{"n": 1' + b"0" * 4000 + b"}", {"n": 1}) == "'n' is a number of 4001 digits instead of 1"


def test_answer_of_which_nothing_more_is_asked_needs_no_body() -> None:
    """Where neither a text nor keys are asked for, an answer without its body is known and good."""
    bare = Endpoint(units=TCP.units, listen="127.0.0.1:8080", url="http://127.0.0.1:8080/")
    assert problem_of(answer(None), bare, {}) is None
    assert not is_unknown(answer(None), bare, {})
    assert is_unknown(answer(None), bare, WANT)
    assert is_unknown(answer(None), Endpoint(units=TCP.units, url=bare.url, listen=bare.listen, contains="x"), {})


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("[" * 249 + "]" * 249, None),
        ("[" * 250 + "]" * 250, "the body is nested too deeply to be read"),
        ("[" + "[]," * 300 + "[]]", None),
        ("[" + "[]," * 300 + "[" * 249 + "]" * 250, "the body is nested too deeply to be read"),
        ('"' + "[" * 300 + '\\"' + "{" * 300 + '"', None),
        ("[" * 124 + '{"a": ' * 125 + "1" + "}" * 125 + "]" * 124, None),
        ("[" * 125 + '{"a": ' * 125 + "1" + "}" * 125 + "]" * 125, "the body is nested too deeply to be read"),
    ],
)
def test_body_is_read_to_a_depth_of_250(value: str, problem: str | None) -> None:
    """Lists and objects that lie within each other count, those beside each other and in texts do not."""
    assert json_problem(f'{{"status": "healthy", "x": {value}}}'.encode(), {"status": "healthy"}) == problem
