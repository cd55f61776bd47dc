"""Secrets whose values are known: how they may be spelled in what a host or a tool says."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterator
from urllib.parse import quote

SHORTEST = 4
"""Characters of a value. A shorter one would turn ordinary text into redactions and hide nothing."""

_SHORTEST_CORE = 6
"""Characters of base64 that are looked for; fewer would be found in the base64 of anything."""
BEGINNING = 8
"""Characters of the shortest value that is looked for over the ends of lines, too."""
BREAK = (
    r"\\?\n(?>(?:E[ \t]{3,40})?"
    r"(?:[ \t]{0,8}(?:[A-Z][a-z]{2} [ \d]\d [\d:]{8}|\d{4}-\d\d-\d\d[T ][\d:.,+-]{8,24}Z?)"
    r" \S{1,64} \S{1,64}: )?)[ \t]{0,40}"
)
"""The end of a line in the middle of a value, with what pytest, a journal and an indent put before the next one."""


class Spelling:
    """One value in one encoding, in all ways in which its characters may be escaped.

    Args:
        text: The value as it is usually spelled.
        tail: A pattern of what may follow and goes with it.
    """

    def __init__(self, text: str, tail: str = "") -> None:
        self.text = text
        wrapped = f"(?:{BREAK})?" if len(text) >= BEGINNING else ""
        self._expression = wrapped.join(_forms(char) for char in re.findall(r"\\+|[^\\]", text, re.DOTALL)) + tail
        self._pattern: re.Pattern[str] | None = None
        plain = max(re.findall("[A-Za-z0-9]+", text), key=len, default="")
        # A line ends in at most one half of a run that is not much shorter than a line.
        half = len(plain) // 2
        self._hints = (plain[:half][-16:], plain[half:][:16]) if len(plain) >= BEGINNING else ()

    def take_out(self, text: str, shown: str) -> tuple[str, int]:
        """Return a text with `shown` in place of the value, and how many times."""
        if self._hints and not any(hint in text for hint in self._hints):
            return text, 0
        if self._pattern is None:
            self._pattern = re.compile(self._expression)
        return self._pattern.subn(lambda _: shown, text)

    @property
    def beginnings(self) -> list[str]:
        """The beginnings of the value that are too short to be looked for one by one."""
        return [self.text[:size] for size in range(1, BEGINNING)] if len(self.text) >= BEGINNING else []

    def begun_at_end(self, text: str) -> int:
        """Return how many characters at the end of a text begin the value: `BEGINNING` or more, or 0."""
        if len(self.text) < BEGINNING:
            return 0
        head = self.text[:BEGINNING]
        at = text.find(head, max(0, len(text) - len(self.text) + 1))
        while at >= 0:
            if self.text.startswith(text[at:]):
                return len(text) - at
            at = text.find(head, at + 1)
        return 0


def spellings(value: str) -> list[Spelling]:
    """Say how a value may be spelled: as it is, line by line, and in base64 and hexadecimal, the longest first."""
    whole = value.strip("\n")
    parts = {part for part in (whole, *whole.split("\n")) if len(part.strip()) >= SHORTEST}
    found = [Spelling(part) for part in parts]
    if len(whole) >= SHORTEST:
        body = whole.encode("utf-8", "surrogatepass")
        found += [_Bytewise(body, *how) for how in _BYTEWISE]
        found += [Spelling(core, "[A-Za-z0-9+/_=-]{0,3}") for core in _base64_cores(body)]
        found += [Spelling(digits) for digits in (body.hex(), body.hex().upper()) if len(body) > SHORTEST]
    return sorted(found, key=lambda spelling: (-len(spelling.text), spelling.text))


_PERCENT = "%(?:25){0,3}"
"""The sign before a byte in a URL, which may be quoted in turn."""
_BYTEWISE = (("%", _PERCENT, ""), ("\\x", r"\\{1,8}x", ""), ("", "", rf":(?:{BREAK})?"))
"""How the bytes of a value are spelled in hexadecimal: the text before each, its pattern, and the pattern between."""


class _Bytewise(Spelling):
    """One value, each of its bytes in hexadecimal, as URLs, shells and OpenSSL spell them."""

    def __init__(self, body: bytes, before: str, pattern: str, between: str) -> None:
        super().__init__("".join(f"{before}{byte:02x}" for byte in body) if before else body.hex(":"))
        self._expression = "(?i:" + between.join(f"{pattern}{byte:02x}" for byte in body) + ")"
        first = f"{body[0]:02x}{':' if between else before[0]}"
        self._hints = (first, first.upper())


def _base64_cores(body: bytes) -> Iterator[str]:
    """Yield what base64 makes of a value wherever it stands in a text, without what its neighbours decide."""
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + body).decode()
        core = encoded[(before * 8 + 5) // 6 : (before + len(body)) * 8 // 6]
        if len(core) >= _SHORTEST_CORE:
            yield core
            if "+" in core or "/" in core:
                yield core.replace("+", "-").replace("/", "_")


def _forms(char: str) -> str:
    """Match a character, or a row of backslashes, as itself and as JSON, shells, HTML and URLs escape it."""
    if char.isascii() and char.isalnum():
        return char
    if char.startswith("\\"):
        return rf"(?:\\{{{len(char)},{8 * len(char)}}}|(?i:{_PERCENT}5C){{{len(char)}}})"
    code = json.dumps(char)[1:-1].replace("\\", "")
    quoted = re.escape(quote(char, safe="")).replace("%", _PERCENT)
    escapes = {rf"\\{{0,8}}{re.escape(char)}", f"(?i:{quoted})"}
    escapes |= {re.escape(html.escape(char)), rf"(?i:&#0{{0,4}}{ord(char)};|&#x0{{0,4}}{ord(char):x};)"}
    units = re.findall("u[0-9a-f]{4}", json.dumps(char)) or [f"u{ord(char):04x}"]
    escapes.add("".join(rf"\\{{1,8}}(?i:{unit})" for unit in units))
    if len(code) == 1 and code != char:
        escapes.add(rf"\\{{1,8}}{code}")
    if char == " ":
        escapes.add(r"\+")
    if char == "'":
        escapes |= {r"'\\+''", "'\"'\"'"}
    return f"(?:{'|'.join(sorted(escapes, key=len, reverse=True))})"
