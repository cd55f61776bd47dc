"""Finds known secret values in text, in all encodings in which hosts and tools write them."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterator
from urllib.parse import quote

SHORTEST = 4
"""Least characters of a value. A shorter one would redact ordinary text and hide nothing."""

_SHORTEST_CORE = 6
"""Least characters of base64 to search for; fewer occur in the base64 of anything."""
BEGINNING = 8
"""Least characters of a value that is also found across line ends."""
BREAK = (
    r"\\?\n(?>(?:E[ \t]{3,40})?"
    r"(?:[ \t]{0,8}(?:[A-Z][a-z]{2} [ \d]\d [\d:]{8}|\d{4}-\d\d-\d\d[T ][\d:.,+-]{8,24}Z?)"
    r" \S{1,64} \S{1,64}: )?)[ \t]{0,40}"
)
"""A line end within a value, with what pytest, a journal or an indent puts before the next line."""


class Spelling:
    """One value in one encoding, with all escapes of its characters.

    Args:
        text: The value in its usual spelling.
        tail: A pattern of characters after the value that belong to it.
    """

    def __init__(self, text: str, tail: str = "") -> None:
        self.text = text
        wrapped = f"(?:{BREAK})?" if len(text) >= BEGINNING else ""
        self._expression = wrapped.join(_forms(char) for char in re.findall(r"\\+|[^\\]", text, re.DOTALL)) + tail
        self._pattern: re.Pattern[str] | None = None
        plain = max(re.findall("[A-Za-z0-9]+", text), key=len, default="")
        # A line end splits at most one half of a run of characters that is about as long as a line.
        half = len(plain) // 2
        self._hints = (plain[:half][-16:], plain[half:][:16]) if len(plain) >= BEGINNING else ()

    def take_out(self, text: str, shown: str) -> tuple[str, int]:
        """Return a text with `shown` in place of the value, and the number of replacements."""
        if self._hints and not any(hint in text for hint in self._hints):
            return text, 0
        if self._pattern is None:
            self._pattern = re.compile(self._expression)
        return self._pattern.subn(lambda _: shown, text)

    @property
    def beginnings(self) -> list[str]:
        """The beginnings of the value that are too short to search for alone."""
        return [self.text[:size] for size in range(1, BEGINNING)] if len(self.text) >= BEGINNING else []

    def begun_at_end(self, text: str) -> int:
        """Return how many characters at the end of a text begin the value: at least `BEGINNING`, or 0."""
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
    """Return the spellings of a value: unchanged, by line, in base64 and in hexadecimal, the longest first."""
    whole = value.strip("\n")
    parts = {part for part in (whole, *whole.split("\n")) if len(part.strip()) >= SHORTEST}
    result = [Spelling(part) for part in parts]
    if len(whole) >= SHORTEST:
        body = whole.encode("utf-8", "surrogatepass")
        result += [_Bytewise(body, *how) for how in _BYTEWISE]
        result += [Spelling(core, "[A-Za-z0-9+/_=-]{0,3}") for core in _base64_cores(body)]
        result += [Spelling(digits) for digits in (body.hex(), body.hex().upper()) if len(body) > SHORTEST]
    return sorted(result, key=lambda spelling: (-len(spelling.text), spelling.text))


_PERCENT = "%(?:25){0,3}"
"""The sign before a byte in a URL, which may itself be quoted."""
_BYTEWISE = (("%", _PERCENT, ""), ("\\x", r"\\{1,8}x", ""), ("", "", rf":(?:{BREAK})?"))
"""Hexadecimal spellings: the text before each byte, its pattern, and the pattern between bytes."""


class _Bytewise(Spelling):
    """One value with each byte in hexadecimal, as in URLs, shells and OpenSSL."""

    def __init__(self, body: bytes, before: str, pattern: str, between: str) -> None:
        super().__init__("".join(f"{before}{byte:02x}" for byte in body) if before else body.hex(":"))
        self._expression = "(?i:" + between.join(f"{pattern}{byte:02x}" for byte in body) + ")"
        first = f"{body[0]:02x}{':' if between else before[0]}"
        self._hints = (first, first.upper())


def _base64_cores(body: bytes) -> Iterator[str]:
    """Yield the base64 of a value at each offset in a text, without characters that depend on its neighbours."""
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + body).decode()
        core = encoded[(before * 8 + 5) // 6 : (before + len(body)) * 8 // 6]
        if len(core) >= _SHORTEST_CORE:
            yield core
            if "+" in core or "/" in core:
                yield core.replace("+", "-").replace("/", "_")


def _forms(char: str) -> str:
    """Return a pattern for a character, or a row of backslashes, with the escapes of JSON, shells, HTML and URLs."""
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
