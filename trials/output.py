"""Reads a path's output as a person would, whatever tool it was printed through (pure)."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator

import msgspec

_DEPTH = 3
"""Levels of texts quoted in texts, such as the AWS CLI's JSON in that of a CI service."""
_LINE = 200
"""Characters quoted of a line."""
_ENDING = 80
"""Characters quoted of the end of a longer last line, which often says how it ended."""
_LONGEST = 1000
"""Characters searched of a line."""

_TERMINAL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours and cursor
    r"|\x1b\][^\x07\x1b\n]{0,1000}(?:\x07|\x1b\\)?"  # titles and links
    r"|\x1b[ -/]*[0-~]"
)
_LITERAL = re.compile(r"""(?<!\\)(?:"([^"\\\n]*+(?:\\.[^"\\\n]*+)*+)"|'([^'\\\n]*+(?:\\.[^'\\\n]*+)*+)')""")
"""A string of JSON or Python on one line, as the AWS CLI and programs that print a response write it."""
_OF_LIST = re.compile(r'"([^"\\\n]*+(?:\\.[^"\\\n]*+)*+)"')
_LISTED = re.compile(r'"\w*lines"\s*+:\s*+\[\s*+(?:"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+"\s*+,?\s*+)++')
"""A list of lines, such as `stdout_lines` of Ansible."""
_MESSAGE = re.compile(
    r'^\{[^\n]{0,400}"(?:msg|message|log|line)"\s*:\s*"([^"\\\n]*+(?:\\.[^"\\\n]*+)*+)"', re.MULTILINE
)
"""The text of a line of JSON, which loggers write for each line of a log."""
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t", "b": "", "f": "\n"}

_ENCODED = re.compile(r'"encoding"\s*:\s*"base64"')
_BASE64 = re.compile(r'"(content|LogResult)"\s*:\s*"([A-Za-z0-9+/=\\]+)"')
"""Keys whose value is base64: `content` of Ansible's slurp and of GitHub's contents, beside an `encoding` that says
so, and the `LogResult` of AWS Lambda."""


def readable(text: str) -> str:
    """Return a text without terminal codes, followed by every text that is quoted in it."""
    layer = [_plain(text)]
    layers = list(layer)
    for _ in range(_DEPTH):
        layer = [_plain(inner) for part in layer for inner in _packed(part)]
        layers += layer
    return "\n\n".join(layers)


def _plain(text: str) -> str:
    return _TERMINAL.sub("", text).replace("\r\n", "\n").replace("\r", "\n")


def _packed(text: str) -> Iterator[str]:
    for match in _LISTED.finditer(text):
        yield "\n".join(_ESCAPE.sub(_unescaped, line) for line in _OF_LIST.findall(match[0].partition("[")[2]))
    if len(lines := [_ESCAPE.sub(_unescaped, line) for line in _MESSAGE.findall(text)]) > 1:
        yield "\n".join(lines)
    for match in _LITERAL.finditer(text):
        inner = match[1] or match[2] or ""
        if "\\" in inner:
            yield _ESCAPE.sub(_unescaped, inner)
    is_encoded = _ENCODED.search(text) is not None
    for match in _BASE64.finditer(text):
        if match[1] == "LogResult" or is_encoded:
            try:
                yield base64.b64decode(match[2].replace("\\n", ""), validate=True).decode("utf-8", "replace")
            except binascii.Error:
                continue


def _unescaped(match: re.Match[str]) -> str:
    number = match[1] or match[2]
    return chr(int(number, 16)) if number else _ESCAPED.get(match[3], match[3])


# ---- reported rollbacks ---------------------------------------------------------------------------------------

_DONE = re.compile(
    r"\b(?:rolled[ -]back|reverted\b|went back to|"
    r"roll-?back (?:is |was |has )?(?:successful|succeeded|completed?|done|finished)|"
    r"(?:revert|restore) (?:is |was |has )?(?:successful|succeeded|completed?|done|finished)|"
    r"roll-?back: ?(?:yes|done|ok|successful|succeeded|completed?|finished)|"
    r"restored (?:the )?(?:previous|old|last))(?!\W{0,3}(?:no|false|none|failed|0)\b)",
    re.IGNORECASE,
)
_TRIED = re.compile(
    r"\broll(?:ing)? back|--rollback\b|\broll-?back:? failed\b|\breverting\b|\brevoking\b|\bde-activating due to\b|"
    r"\bre-activate the last|\brestoring the (?:previous|old|last)",
    re.IGNORECASE,
)
_DENIED = re.compile(r"\b(?:not|never|no|nothing|without|cannot|can't|couldn't|if|would|will|can|may)\b[^.;:]*$")


class Rollback(msgspec.Struct, frozen=True):
    """What a path reported about a rollback.

    Attributes:
        line: The line of its output.
        done: Whether it reported a finished rollback; else it reported an attempt.
    """

    line: str
    done: bool


def reported_rollback(text: str) -> Rollback | None:
    """Return the last line about a finished rollback, or else about an attempt; None without either."""
    tried = None
    for line in (each[:_LONGEST] for each in reversed(_plain(text).splitlines())):
        if _claims(_DONE, line):
            return Rollback(line.strip()[:_LINE], done=True)
        if tried is None and _claims(_TRIED, line):
            tried = Rollback(line.strip()[:_LINE], done=False)
    return tried


def _claims(form: re.Pattern[str], line: str) -> bool:
    match = form.search(line)
    return match is not None and not _DENIED.search(line[: match.start()].lower())


def last_line(text: str) -> str:
    """Return the last line that is not blank, without its middle if it is long; empty without any."""
    lines = (line.strip() for line in reversed(_plain(text).splitlines()))
    last = next((line for line in lines if line), "")
    return last if len(last) <= _LINE else f"{last[: _LINE - _ENDING]} … {last[-_ENDING:]}"
