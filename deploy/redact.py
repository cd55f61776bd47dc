"""The one place that takes secrets and terminal control codes out of text before it goes anywhere."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

_RULES: tuple[tuple[str, re.Pattern[str], str], ...] = (
    (
        "private-key",
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
        "[redacted: private key]",
    ),
    ("aws-access-key", re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), "[redacted: AWS access key]"),
    (
        "aws-secret",
        re.compile(r"(?i)(aws_(?:secret_access_key|session_token)\W{1,4})[A-Za-z0-9/+=]{16,}"),
        r"\1[redacted: AWS secret]",
    ),
    (
        "authorization",
        re.compile(r"(?i)\b(authorization:\s*|bearer\s+)(?:basic\s+|bearer\s+)?[A-Za-z0-9._~+/=-]{8,}"),
        r"\1[redacted: credentials]",
    ),
    ("url-password", re.compile(r"\b([a-z][a-z0-9+.-]*://[^/\s:@]*):[^/\s@]+@"), r"\1:[redacted]@"),
)

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
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
        self._secrets = sorted(
            ((name, value) for name, value in secrets if len(value) >= SHORTEST_SECRET),
            key=lambda pair: -len(pair[1]),
        )

    def __call__(self, text: str) -> str:
        """Return `text` in plain characters and without secrets."""
        text = plain(text)
        for name, value in self._secrets:
            if value in text:
                self.counts[name] += text.count(value)
                text = text.replace(value, f"[redacted: {name}]")
        for rule, pattern, replacement in _RULES:
            text, found = pattern.subn(replacement, text)
            if found:
                self.counts[rule] += found
        return text
