"""Reads nix's log in its form for programs (`--log-format internal-json`).

Numbers of activities and results are those of nix 2.26; what is not known here is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from switchproof.deploy.redact.redactor import plain

_MARK = "@nix "
_INFO = 3
"""The level up to which nix shows what it does to a person."""

_COPY, _COPIES, _BUILDS, _BUILD = 100, 103, 104, 105
_BUILD_LINE, _PROGRESS, _EXPECTED, _HOOK_LINE = 101, 105, 106, 107
_DERIVATION = ".drv"
_FORESEEN = re.compile(r"th(?:is|ese) .{1,120} will be (?:built|fetched)[^:]{0,120}:|  /nix/store/\S{1,250}")
_MOST = 100_000
"""Lines of a forecast that are kept."""


class _Word(msgspec.Struct):
    """One line of the log."""

    action: str
    id: int = 0
    level: int = 0
    type: int = 0
    text: str = ""
    msg: str = ""
    fields: Sequence[Any] = ()


class NixLog:
    """What nix has told so far.

    Attributes:
        progress: How far it is, such as `2 of 3 derivations built (top), 4 of 9 store paths fetched (1.2 of 7.0 MB)`;
            empty if it has told nothing of that.
        forecast: What it said that it will build and fetch, line by line, as `nix build --dry-run` would.
    """

    def __init__(self) -> None:
        self.progress = ""
        self.forecast: list[str] = []
        self._kinds: dict[int, int] = {}
        self._building: dict[int, str] = {}
        self._counts: dict[int, tuple[int, int]] = {}
        self._copying: dict[int, int] = {}
        self._bytes = self._expected_bytes = 0

    def read(self, line: str) -> list[str]:
        """Read a line; return the lines that nix would have shown to a person.

        Args:
            line: A line without its end. One that is not in nix's form is shown as it is.
        """
        if not line.startswith(_MARK):
            return [line]
        try:
            word = msgspec.json.decode(line.removeprefix(_MARK), type=_Word)
        except msgspec.DecodeError:
            return [line]
        shown = self._take(word)
        self.progress = self._describe()
        return shown

    def _take(self, word: _Word) -> list[str]:
        match word.action:
            case "msg":
                shown = plain(word.msg).split("\n") if word.level <= _INFO else []
                if len(self.forecast) < _MOST:
                    self.forecast += [line for line in shown if _FORESEEN.fullmatch(line)]
                return shown
            case "start":
                self._kinds[word.id] = word.type
                if word.type == _BUILD and word.fields:
                    self._building[word.id] = _name(str(word.fields[0]))
                return [f"{plain(word.text)}..."] if word.text and word.level <= _INFO else []
            case "stop":
                self._kinds.pop(word.id, None)
                self._building.pop(word.id, None)
                self._copying.pop(word.id, None)
            case "result" if word.type in {_BUILD_LINE, _HOOK_LINE} and word.fields:
                return [f"{self._building.get(word.id, 'nix')}> {plain(str(word.fields[0]))}"]
            case "result" if word.type in {_PROGRESS, _EXPECTED}:
                first, second = (*word.fields, 0, 0)[:2]
                if isinstance(first, int) and isinstance(second, int):
                    self._count(word, first, second)
        return []

    def _count(self, word: _Word, first: int, second: int) -> None:
        """Take two numbers: how much of how much is done, or a kind and how much of it is expected."""
        kind = self._kinds.get(word.id)
        if word.type == _EXPECTED:
            self._expected_bytes = second if first == _COPY else self._expected_bytes
        elif kind in {_BUILDS, _COPIES}:
            self._counts[kind] = (first, second)
        elif kind == _COPY:
            self._bytes += first - self._copying.get(word.id, 0)
            self._copying[word.id] = first

    def _describe(self) -> str:
        parts = []
        for kind, what in ((_BUILDS, "derivations built"), (_COPIES, "store paths fetched")):
            done, expected = self._counts.get(kind, (0, 0))
            if expected:
                more = ", ".join(self._building.values()) if kind == _BUILDS else self._describe_bytes()
                parts.append(f"{done} of {expected} {what}{f' ({more})' if more else ''}")
        return ", ".join(parts)

    def _describe_bytes(self) -> str:
        expected = self._expected_bytes
        return f"{min(self._bytes, expected) / 1e6:.1f} of {expected / 1e6:.1f} MB" if expected else ""


def _name(derivation: str) -> str:
    """Return the name of a derivation without its hash."""
    return derivation.rpartition("/")[2].partition("-")[2].removesuffix(_DERIVATION)
