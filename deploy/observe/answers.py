"""Judges one answer of an endpoint against the target file (pure)."""

from __future__ import annotations

import ipaddress
import json
import re
from collections import Counter
from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from switchproof.deploy.target.types import Endpoint, JsonValue, ProbeKind

_MOST_DIGITS = 4000
"""Longest number that Python converts, in digits; a longer one equals no expected value."""

_DEEPEST = 250
"""Levels of JSON that are read. Releases of Python differ in their own limit, and must judge alike."""

_STRING = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\Z)', re.DOTALL)
_BRACKET = re.compile(r"[\[\]{}]")

NO_OUTPUT = 2
"""Exit code for a curl that printed nothing."""

NOT_KEPT = 23
"""curl's exit code if an answer could not be stored."""

NOT_SENT = 26
"""curl's exit code if a part of the request could not be read."""

UNTRUSTED = 60
"""curl's exit code if the server's certificate is for another name, or not trusted."""

NOT_ACCEPTED = 101
"""The host script's code for a connection that no process accepted in time."""

OTHERS_ACCEPTED = 102
"""The host script's code for a connection that a process of another unit accepted."""

NOT_RUN = 103
"""The host script's code for a program that could not be run."""

FROM_101 = frozenset({NOT_ACCEPTED, OTHERS_ACCEPTED, NOT_RUN})
"""Codes of the host's script for results that curl has no code for."""


class Answer(msgspec.Struct, frozen=True):
    """One answer of an endpoint, or why there was none.

    Attributes:
        at: Seconds since the watch began.
        good: Whether it is as the target file asks; the host's judgement until `judged` replaces it.
        code: HTTP status, 0 without one; the exit code of an `exec` probe.
        connect_s: Seconds until the connection was established; 0 if it never was.
        total_s: Seconds in all.
        curl: curl's exit code: 0 answered, 7 refused, 28 timed out, 52 closed without an answer. The host uses the
            same codes for `tcp` and `exec` probes, and those of `FROM_101`.
        words: curl's error message, or the target of a redirect.
        remote: `address:port` that answered; empty without an answer.
        body: The body, the bytes that a connection received, or a program's output; None if there was none, or the
            host did not send it.
        probe: The kind of probe; `http` until `judged` sets it.
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
    probe: ProbeKind = "http"

    def __str__(self) -> str:
        if self.curl == 0 and (self.code or self.probe in {"tcp", "exec"}):
            arrow = f" → {self.words}" if self.words and self.probe != "exec" else ""
            return f"{self.short}{arrow} in {self.total_s * 1000:.0f} ms"
        meaning = certificate_problem(self.words) if self.curl == UNTRUSTED else _meaning(self)
        return f"{meaning} ({self.words})" if self.words else meaning

    @property
    def short(self) -> str:
        """The answer as a few words, without its duration."""
        if self.curl != 0:
            return str(self)
        match self.probe:
            case "tcp":
                return "connection accepted"
            case "exec":
                return f"exit code {self.code}"
            case _:
                return f"HTTP {self.code}"

    @property
    def text(self) -> str:
        """The body for a reader; what is not UTF-8 becomes replacement characters."""
        return (self.body or b"").decode("utf-8", "replace")


_CURL = {
    1: "an answer in another protocol than requested",
    NO_OUTPUT: "curl gave no answer",
    7: "connection refused or no route",
    8: "not an HTTP answer",
    18: "the answer ended before it was complete",
    NOT_KEPT: "the answer could not be stored on the host",
    NOT_SENT: "not asked, because the headers to send could not be read",
    28: "no answer in time",
    35: "no TLS connection",
    47: "redirected",
    52: "closed without an answer",
    56: "connection reset",
    63: "answer too large",
    77: "not asked, because the certificates of ca_file could not be read",
    NOT_ACCEPTED: "a connection that no process accepted in time",
    OTHERS_ACCEPTED: "a connection that another unit accepted",
    NOT_RUN: "the program could not be run",
}


def _meaning(answer: Answer) -> str:
    own = {"exec": _PROGRAM, "tcp": _CONNECTION}.get(answer.probe, {})
    if answer.curl in own:
        return own[answer.curl]
    return _CURL.get(answer.curl, f"curl exit code {answer.curl}")


_CONNECTION = {NO_OUTPUT: "nothing is known about the connection"}
_PROGRAM = {
    NO_OUTPUT: "it is unknown how the program ended",
    28: "the program did not end in time",
    63: "the program's output is too large",
}


def certificate_problem(words: str) -> str:
    """Return the problem of a certificate, from curl's error message."""
    message = words.lower()
    for parts, meaning in _CERTIFICATES:
        if any(part in message for part in parts):
            return meaning
    return "its certificate is not trusted"


_CERTIFICATES = (
    (("has expired", "certificate expired"), "its certificate has expired"),
    (("not yet valid", "not activated"), "its certificate is not valid yet"),
    (("subject name", "host name", "hostname", "ip address"), "its certificate is for another name"),
    (("revoked",), "its certificate is revoked"),
    (
        ("self-signed", "self signed", "issuer", "unable to verify"),
        "its certificate is not signed by a trusted authority",
    ),
)
"""Parts of the error messages of curl's TLS libraries, and their meaning."""


def due_of(want: Endpoint, system_values: Mapping[str, str]) -> dict[str, JsonValue]:
    """Return the JSON keys and values that a body must contain, by the target file and the running system."""
    of_system = {key: system_values[file] for key, file in want.json_of_system.items() if file in system_values}
    return want.json | of_system


def judged(answers: tuple[Answer, ...], want: Endpoint, due: Mapping[str, JsonValue]) -> tuple[Answer, ...]:
    """Judge every answer by the target file, whatever the host's judgement was.

    Args:
        answers: The answers as the host sent them.
        want: The endpoint in the target file.
        due: JSON keys and values that the body must contain.
    """
    verdicts: dict[tuple[object, ...], bool] = {}
    results = []
    for answer in answers:
        key = (answer.code, answer.curl, answer.remote, answer.body)
        if key not in verdicts:
            verdicts[key] = problem_of(answer, want, due) is None
        results.append(replace(answer, good=verdicts[key], probe=want.probe))
    return tuple(results)


def problem_of(answer: Answer, want: Endpoint, due: Mapping[str, JsonValue]) -> str | None:
    """Return the problem of an answer, None if there is none; see `judged`."""
    if answer.curl != 0:
        return f"no answer: {replace(answer, probe=want.probe)}"
    if answer.code != want.code:
        where = f" (a redirect to {answer.words}; redirects are not followed)" if answer.words else ""
        return f"{replace(answer, probe=want.probe).short} instead of {want.code}{where}"
    if want.probe in _CONNECTING and not is_address_of(answer.remote, want.listen):
        return f"{answer.remote or 'an unknown address'} answered, not {want.listen}"
    if not want.text and not due:
        return None
    name = _BODIES.get(want.probe, "body")
    if answer.body is None:
        return f"the host did not send its {name}"
    if want.text and want.text.encode() not in answer.body:
        return f"the {name} lacks {want.text!r}"
    return json_problem(answer.body, due, name)


_CONNECTING = frozenset({"http", "https", "tcp"})
"""Kinds of probe that connect to an address."""

_BODIES = {"tcp": "banner", "exec": "output"}


def is_unknown(answer: Answer, want: Endpoint, due: Mapping[str, JsonValue]) -> bool:
    """Whether an answer proves nothing: curl itself failed, or the host left out the body."""
    if answer.curl in {NO_OUTPUT, NOT_KEPT, -1}:
        return True
    needed = bool(want.text or due) and answer.code == want.code
    return answer.curl == 0 and answer.body is None and needed


def is_address_of(remote: str, listen: str) -> bool:
    """Whether a connection to `remote` reaches a listener on `listen`; both are `address:port`."""
    address, _, port = remote.rpartition(":")
    own, _, own_port = listen.rpartition(":")
    if port != own_port or not address:
        return False
    try:
        there, here = ipaddress.ip_address(address.strip("[]")), ipaddress.ip_address(own.strip("[]"))
    except ValueError:
        return False
    return there == here or (here.is_unspecified and here.version in {there.version, 6})


def json_problem(body: bytes, due: Mapping[str, JsonValue], name: str = "body") -> str | None:
    """Return why a body is not a JSON object with these keys and values; None if it is.

    Args:
        body: The bytes.
        due: The expected keys and values.
        name: The word for the body in messages.
    """
    if not due:
        return None
    try:
        text = body.decode("utf-8")
        if _depth(text) > _DEEPEST:
            return f"the {name} is nested too deeply to be read"
        value = json.loads(text, object_pairs_hook=_Object, parse_constant=_refuse_constant, parse_int=_integer)
    except UnicodeDecodeError:
        return f"the {name} is not UTF-8, as JSON must be"
    except ValueError:
        return f"the {name} is not JSON"
    if not isinstance(value, _Object):
        return f"the {name} is not a JSON object"
    if twice := [key for key in due if value.count[key] > 1]:
        return f"{', '.join(map(repr, twice))} stands in the {name} more than once"
    wrong = [
        f"{key!r} is {_shown(value[key]) if key in value else 'missing'} instead of {json.dumps(expected)}"
        for key, expected in due.items()
        if key not in value or value[key] != expected or type(value[key]) is not type(expected)
    ]
    return "; ".join(wrong) or None


def _depth(text: str) -> int:
    """Return the depth of nested JSON."""
    level = deepest = 0
    for bracket in _BRACKET.findall(_STRING.sub("", text)):
        level += 1 if bracket in "[{" else -1
        deepest = max(deepest, level)
    return deepest


class _Object(dict[str, object]):
    """A JSON object that counts each key: readers of a duplicate key disagree about its value."""

    def __init__(self, pairs: list[tuple[str, object]]) -> None:
        super().__init__(pairs)
        self.count = Counter(key for key, _ in pairs)


class _LongInteger(str):
    """An integer that is too long for Python to convert, as its digits."""

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
    """Read a line of an answer: time, endpoint, the host's judgement, then curl's results.

    Returns:
        The answer without its body, and the number of the body; `-` if none was kept.

    Raises:
        ValueError: The line is malformed.
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
    """Read a workload's own answer: its body, then a line of curl's results.

    Raises:
        ValueError: The text is malformed.
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
        ValueError: It is not such a number, or longer than any soak.
    """
    whole, _, part = text.partition(".")
    if not (text.isascii() and whole.isdigit() and len(whole) <= 12 and (part.isdigit() or "." not in text)):  # noqa: PLR2004 - digits
        raise ValueError(f"not a number of seconds: {text[:40]!r}")
    return float(text)
