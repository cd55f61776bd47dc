"""One answer of an endpoint, and whether it is the one that the target file asks for (pure)."""

from __future__ import annotations

import ipaddress
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from switchproof.deploy.target.types import Endpoint, JsonValue

_MOST_DIGITS = 4000
"""Digits of a number that Python converts without complaint; a longer one equals no wanted value."""

NO_WORD = 2
"""The exit code that stands for a curl that ended without a word."""

NOT_KEPT = 23
"""curl's exit code where an answer could not be written down."""

NOT_SENT = 26
"""curl's exit code where a part of the request could not be read."""


@dataclass(frozen=True)
class Answer:
    """One answer of an endpoint, or why there was none.

    Attributes:
        at: Seconds since the watch began.
        good: Whether it is what the target file asks for; as the host judged it until `judged` has seen it.
        code: HTTP status, 0 if none came.
        connect_s: Seconds until the connection stood, 0 if it never did.
        total_s: Seconds in all.
        curl: curl's exit code: 0 answered, 7 refused, 28 timed out, 52 closed without an answer.
        words: curl's own words, or where a redirect leads.
        remote: `address:port` that answered; empty if nobody did.
        body: The body's bytes; None if no body came, or the host did not send it.
    """

    at: float
    good: bool
    code: int
    connect_s: float
    total_s: float
    curl: int
    words: str
    remote: str = ""
    body: bytes | None = None

    def __str__(self) -> str:
        if self.curl == 0 and self.code:
            return f"HTTP {self.code}{' → ' + self.words if self.words else ''} in {self.total_s * 1000:.0f} ms"
        meaning = _CURL.get(self.curl, f"curl exit code {self.curl}")
        return f"{meaning} ({self.words})" if self.words else meaning

    @property
    def text(self) -> str:
        """The body for a reader; what is not UTF-8 becomes replacement characters."""
        return (self.body or b"").decode("utf-8", "replace")


_CURL = {
    1: "an answer in a protocol that is not asked for",
    NO_WORD: "curl gave no answer",
    7: "connection refused or no route",
    8: "not an HTTP answer",
    18: "the answer ended before it was whole",
    NOT_KEPT: "the answer could not be written down on the host",
    NOT_SENT: "not asked, as the headers to send could not be read",
    28: "no answer in time",
    47: "redirected",
    52: "closed without an answer",
    56: "connection reset",
    63: "answer too large",
}


def due_of(want: Endpoint, system_values: Mapping[str, str]) -> dict[str, JsonValue]:
    """Return the keys of the body and their values, as the target file and the files of the running system say."""
    of_system = {key: system_values[file] for key, file in want.json_of_system.items() if file in system_values}
    return want.json | of_system


def judged(answers: tuple[Answer, ...], want: Endpoint, due: Mapping[str, JsonValue]) -> tuple[Answer, ...]:
    """Judge every answer by the same rule, whatever the host made of it.

    Args:
        answers: As the host sent them.
        want: What the target file asks for.
        due: The keys of the body and the values that they must have.
    """
    verdicts: dict[tuple[object, ...], bool] = {}
    told = []
    for answer in answers:
        key = (answer.code, answer.curl, answer.remote, answer.body)
        if key not in verdicts:
            verdicts[key] = problem_of(answer, want, due) is None
        told.append(replace(answer, good=verdicts[key]))
    return tuple(told)


def problem_of(answer: Answer, want: Endpoint, due: Mapping[str, JsonValue]) -> str | None:
    """Say what is wrong with an answer, None if nothing is; see `judged`."""
    if answer.curl != 0:
        return f"no answer: {answer}"
    if answer.code != want.status:
        where = f" (a redirect to {answer.words}; redirects are not followed)" if answer.words else ""
        return f"HTTP {answer.code} instead of {want.status}{where}"
    if not is_address_of(answer.remote, want.listen):
        return f"{answer.remote or 'an unknown address'} answered, not {want.listen}"
    if not want.contains and not due:
        return None
    if answer.body is None:
        return "the host did not send its body"
    if want.contains and want.contains.encode() not in answer.body:
        return f"the body lacks {want.contains!r}"
    return json_problem(answer.body, due)


def is_unknown(answer: Answer, want: Endpoint, due: Mapping[str, JsonValue]) -> bool:
    """Whether nothing may be concluded from an answer: curl itself failed, or the body was left out."""
    if answer.curl in {NO_WORD, NOT_KEPT, -1}:
        return True
    needed = bool(want.contains or due) and answer.code == want.status
    return answer.curl == 0 and answer.body is None and needed


def is_address_of(remote: str, listen: str) -> bool:
    """Whether a connection to `remote` is one to whoever listens on `listen`; both are `address:port`."""
    address, _, port = remote.rpartition(":")
    own, _, own_port = listen.rpartition(":")
    if port != own_port or not address:
        return False
    try:
        there, here = ipaddress.ip_address(address.strip("[]")), ipaddress.ip_address(own.strip("[]"))
    except ValueError:
        return False
    return there == here or (here.is_unspecified and here.version in {there.version, 6})


def json_problem(body: bytes, due: Mapping[str, JsonValue]) -> str | None:
    """Say what keeps a body from being a JSON object with these keys and values, None if nothing does."""
    if not due:
        return None
    try:
        found = json.loads(
            body.decode("utf-8"), object_pairs_hook=_Object, parse_constant=_refuse_constant, parse_int=_integer
        )
    except UnicodeDecodeError:
        return "the body is not UTF-8, as JSON must be"
    except RecursionError:
        return "the body is nested too deeply to be read"
    except ValueError:
        return "the body is not JSON"
    if not isinstance(found, _Object):
        return "the body is not a JSON object"
    if twice := [key for key in due if found.count[key] > 1]:
        return f"{', '.join(map(repr, twice))} stands in the body more than once"
    wrong = [
        f"{key!r} is {_shown(found[key]) if key in found else 'missing'} instead of {json.dumps(value)}"
        for key, value in due.items()
        if key not in found or found[key] != value or type(found[key]) is not type(value)
    ]
    return "; ".join(wrong) or None


class _Object(dict[str, object]):
    """A JSON object that knows how often each key stands in it: which of two counts is no reader's to guess."""

    def __init__(self, pairs: list[tuple[str, object]]) -> None:
        super().__init__(pairs)
        self.count = Counter(key for key, _ in pairs)


class _LongInteger(str):
    """An integer that is too long for Python to convert, as it stands in the body."""

    __slots__ = ()


def _integer(digits: str) -> int | _LongInteger:
    return int(digits) if len(digits) <= _MOST_DIGITS else _LongInteger(digits)


def _shown(value: object) -> str:
    if isinstance(value, _LongInteger):
        return f"a number of {len(value)} digits"
    return json.dumps(value)


def _refuse_constant(constant: str) -> object:
    raise ValueError(f"{constant} is no JSON")


def read_answer(line: str) -> tuple[Answer, str]:
    """Read an answer: time, endpoint, whether the host liked it, then what curl said of it.

    Returns:
        The answer without its body, and the number of that; `-` if none was kept.

    Raises:
        ValueError: It is no such line.
    """
    at, _, good, code, connect, total, curl, body, remote, words = line.split(" ", 9)
    return Answer(
        at=seconds(at),
        good=good == "yes",
        code=int(code),
        connect_s=seconds(connect),
        total_s=seconds(total),
        curl=int(curl) if curl.isdecimal() else -1,
        words=words.strip(),
        remote="" if remote == "-" else remote,
    ), body


def read_direct(text: str) -> Answer:
    """Read what came of asking a workload itself: its body, then a line of facts.

    Raises:
        ValueError: It is not that.
    """
    body, _, line = text.rpartition("\n")
    code, connect, total, curl, _, address, port, words = line.split("\x1f", 7)
    return Answer(
        at=0.0,
        good=False,
        code=int(code),
        connect_s=seconds(connect),
        total_s=seconds(total),
        curl=int(curl) if curl.isdecimal() else -1,
        words=words.strip(),
        remote=f"{address}:{port}" if address else "",
        body=body.encode("utf-8", "replace"),
    )


def seconds(text: str) -> float:
    """Read a plain decimal number of seconds.

    Raises:
        ValueError: It is none, such as one that no soak is longer than.
    """
    whole, _, part = text.partition(".")
    if not (text.isascii() and whole.isdigit() and len(whole) <= 12 and (part.isdigit() or "." not in text)):  # noqa: PLR2004 - digits
        raise ValueError(f"not a number of seconds: {text[:40]!r}")
    return float(text)
