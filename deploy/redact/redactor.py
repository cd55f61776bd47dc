"""Removes secrets and terminal control codes from all text before it is written or shown."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Iterable

from switchproof.deploy.redact.forms import FORMS, markers_in
from switchproof.deploy.redact.private_keys import KeyHider, body_at_end
from switchproof.deploy.redact.values import BEGINNING, BREAK, spellings

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_CONTROL = re.compile(
    r"[\u200b\u2028\u2029\ufeff\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_LOOKED_AT = 8192
"""Characters at the end of a piece that are searched for the beginning of a secret."""
_END_OF_LINE = re.compile(BREAK)
_REMEMBERED, _SHORT = 8192, 400
"""The most texts without a secret that are remembered, and their most characters: names and words recur. All are
forgotten at the limit, so that the checks of a later host are remembered as well as those of the first."""


def plain(text: str) -> str:
    """Return text without terminal escapes, control characters and marks that reorder text.

    Line feeds and tabs stay; carriage returns become line feeds, because logs redraw lines with them.
    """
    text = _ANSI.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


class Redactor:
    """Replaces secrets in text and counts the replacements by rule. Safe to use from several threads.

    Args:
        secrets: Secret values, each after its name, such as that of an environment variable or an option.
    """

    def __init__(self, secrets: Iterable[tuple[str, str]] = ()) -> None:
        self.counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._harmless: set[str] = set()
        known = {spelling.text: (name, spelling) for name, value in secrets for spelling in spellings(plain(value))}
        self._known = sorted(known.values(), key=lambda each: (-len(each[1].text), each[1].text))
        self._beginnings = {beginning for _, spelling in self._known for beginning in spelling.beginnings}

    def __call__(self, text: str) -> str:
        """Return a complete text in plain characters and without secrets."""
        if text in self._harmless:
            return text
        shown = self.hide(plain(text), KeyHider())
        if shown == text and len(text) <= _SHORT:
            if len(self._harmless) >= _REMEMBERED:
                self._harmless.clear()
            self._harmless.add(text)
        return shown

    def hide(self, text: str, keys: KeyHider) -> str:
        """Return plain text without secrets; `keys` has the state of a private key that began in an earlier piece."""
        counts: Counter[str] = Counter()
        for name, spelling in self._known:
            text, times = spelling.take_out(text, f"[redacted: {name}]")
            counts[name] += times
        before = keys.count
        text = keys(text)
        counts["private-key"] += keys.count - before
        markers, changed = markers_in(text), False
        for form in FORMS if markers else ():
            if changed or not markers.isdisjoint(form.markers):
                text, times = form.take_out(text)
                counts[form.name] += times
                changed = changed or times > 0
        with self._lock:
            self.counts.update({name: times for name, times in counts.items() if times})
        return text

    def unfinished(self, text: str) -> int:
        """Return how many characters at the end of whole lines may begin a secret that the next line continues."""
        tail = text[-_LOOKED_AT:]
        joined = _END_OF_LINE.sub("", tail)
        size = max((spelling.begun_at_end(joined) for _, spelling in self._known), default=0)
        size = size or next((size for size in range(BEGINNING - 1, 0, -1) if joined[-size:] in self._beginnings), 0)
        begun = 0
        for line in reversed(tail.splitlines(keepends=True)):
            if size <= 0:
                break
            begun += len(line)
            size -= len(_END_OF_LINE.sub("", f"\n{line}"))
        return max(begun, body_at_end(tail))


class Lines:
    """Redacts one text that comes in pieces, such as a growing log, without showing parts of a secret.

    Args:
        redact: The redactor of the run.
    """

    def __init__(self, redact: Redactor) -> None:
        self._redact = redact
        self._keys = KeyHider()
        self._held = ""

    def __call__(self, piece: str, *, last: bool = False) -> str:
        """Return the text that may be shown now.

        Args:
            piece: The next whole lines.
            last: Whether the text ends with them, so that nothing is held back.
        """
        text = self._held + plain(piece)
        ready = len(text) - (0 if last else self._redact.unfinished(text))
        self._held = text[ready:]
        return self._redact.hide(text[:ready], self._keys) if ready else ""
