"""The one place that takes secrets and terminal control codes out of text before it goes anywhere."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from urllib.parse import quote

_RULES: tuple[tuple[str, re.Pattern[str], str], ...] = (
    (
        "private-key",
        re.compile(
            r"-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z ]*PRIVATE KEY(?: BLOCK)?-----|\Z)",
            re.DOTALL,
        ),
        "[redacted: private key]",
    ),
    ("aws-access-key", re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), "[redacted: AWS access key]"),
    (
        "aws-secret",
        re.compile(r"(?i)((?:secret_?access_?key|session_?token)\W{1,6})[A-Za-z0-9/+=]{16,}"),
        r"\1[redacted: AWS secret]",
    ),
    (
        "authorization",
        re.compile(
            r"(?i)\b(authorization[\"'\\]*\s*[:=]\s*[\"'\\]*(?:(?:basic|bearer|digest|negotiate|token)\s+)?+|bearer\s+)"
            r"[A-Za-z0-9._~+/=-]{8,}"
        ),
        r"\1[redacted: credentials]",
    ),
    (
        "token",
        re.compile(
            r"\b(?:gh[oprsu]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{16,}"
            r"|eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+)"
        ),
        "[redacted: token]",
    ),
    (
        "password",
        re.compile(
            r"(?i)((?:password|passwd|passphrase|api_?key|(?:access|auth)_?token)=[\"'\\]*+)(?!\[redacted)[^\s&\"',;]+"
        ),
        r"\1[redacted]",
    ),
    (
        "url-password",
        re.compile(r"(?i)\b([a-z][a-z0-9+.-]{0,20}://[^/\s:@]*):(?!\[redacted)[^/\s\"'<>]+@"),
        r"\1:[redacted]@",
    ),
)

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_CONTROL = re.compile(
    r"[\u200b\u2028\u2029\ufeff\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)

SHORTEST_SECRET = 4
"""Characters. A shorter value would turn ordinary text into redactions and hide nothing."""


def plain(text: str) -> str:
    """Return text without terminal escapes, control characters and marks that reorder what is read.

    Line feeds and tabs stay; carriage returns become line feeds, as a log that redraws a line means them.
    """
    text = _ANSI.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


class Redactor:
    """Replaces secrets in text and counts, by rule, what it replaced.

    Args:
        secrets: Names (of an environment variable, an option) and the values that must never be shown.
    """

    def __init__(self, secrets: Iterable[tuple[str, str]] = ()) -> None:
        self.counts: Counter[str] = Counter()
        known = {(name, part) for name, value in secrets for part in _parts(plain(value))}
        self._secrets = [
            (name, re.compile("".join(_spellings(char) for char in part)))
            for name, part in sorted(known, key=lambda pair: (-len(pair[1]), pair))
        ]

    def __call__(self, text: str) -> str:
        """Return `text` in plain characters and without secrets."""
        text = plain(text)
        for name, secret in self._secrets:
            text = self._replace(name, secret, f"[redacted: {name}]".replace("\\", r"\\"), text)
        for rule, pattern, replacement in _RULES:
            text = self._replace(rule, pattern, replacement, text)
        return text

    def _replace(self, name: str, pattern: re.Pattern[str], replacement: str, text: str) -> str:
        text, found = pattern.subn(replacement, text)
        if found:
            self.counts[name] += found
        return text


def _parts(value: str) -> set[str]:
    """Return a secret and each of its lines, as logs come line by line."""
    whole = value.strip("\n")
    return {part for part in (whole, *whole.split("\n")) if len(part) >= SHORTEST_SECRET}


def _spellings(char: str) -> str:
    """Match a character of a secret as itself, and as JSON and URLs escape it."""
    if char.isascii() and char.isalnum():
        return char
    forms = {char, f"\\{char}", json.dumps(char)[1:-1], f"\\u{ord(char):04x}", quote(char, safe="")}
    return f"(?i:{'|'.join(re.escape(form) for form in sorted(forms, key=len, reverse=True))})"
