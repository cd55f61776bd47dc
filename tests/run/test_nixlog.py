"""The log of nix is shown as nix shows it to people, with how far it is. The lines are those of nix 2.26.3."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest

from switchproof.deploy.run.nixlog import NixLog

A, BAD = f"/nix/store/{'a' * 32}-a.drv", f"/nix/store/{'b' * 32}-bad-1.0.drv"


def told(*words: dict[str, Any]) -> Iterable[str]:
    return (f"@nix {json.dumps(word)}" for word in words)


def shown(log: NixLog, *words: dict[str, Any]) -> list[str]:
    return [line for word in told(*words) for line in log.read(word)]


def start(number: int, kind: int, level: int = 0, text: str = "", *fields: object) -> dict[str, Any]:
    return {
        "action": "start",
        "id": number,
        "level": level,
        "parent": 0,
        "text": text,
        "type": kind,
        "fields": fields,
    }


def result(number: int, kind: int, *fields: object) -> dict[str, Any]:
    return {"action": "result", "id": number, "type": kind, "fields": fields}


def test_a_build_is_shown_as_nix_shows_it_to_a_person() -> None:
    """What it will build, what it builds, each line of a builder after its name, and the error without colours."""
    error = f"\x1b[31;1merror:\x1b[0m \x1b[35;1mbuilder for '{BAD}' failed with exit code 3\x1b[0m\nhint: look"
    assert shown(
        NixLog(),
        start(1, 0, 6, "querying info about missing paths"),
        {"action": "stop", "id": 1},
        {"action": "msg", "level": 3, "msg": "this derivation will be built:"},
        {"action": "msg", "level": 3, "msg": f"  {BAD}"},
        start(2, 104),
        result(2, 105, 0, 1, 0, 0),
        start(3, 105, 3, f"building '{BAD}'", BAD, "", 1, 1),
        result(3, 101, "oops"),
        {"action": "msg", "level": 5, "msg": "chatter"},
        {"action": "msg", "column": None, "file": None, "level": 0, "line": None, "msg": error},
    ) == [
        "this derivation will be built:",
        f"  {BAD}",
        f"building '{BAD}'...",
        "bad-1.0> oops",
        f"error: builder for '{BAD}' failed with exit code 3",
        "hint: look",
    ]


def test_what_nix_says_that_it_will_do_is_kept() -> None:
    """The lines of a dry run, and none that a builder prints."""
    told = [
        "these 2 derivations will be built:",
        f"  {A}",
        f"  {BAD}",
        "this path will be fetched (0.1 MiB download, 0.2 MiB unpacked):",
        f"  {A.removesuffix('.drv')}",
    ]
    log = NixLog()
    shown(log, start(1, 105, 3, f"building '{A}'", A), *({"action": "msg", "level": 3, "msg": line} for line in told))
    shown(log, result(1, 101, f"  {A}"), {"action": "msg", "level": 3, "msg": "copying 1 path..."})
    assert log.forecast == told


def test_how_far_nix_is_follows_its_own_counts() -> None:
    """Derivations and store paths of all, and the names of those that it builds now."""
    log = NixLog()
    assert log.progress == ""
    shown(log, start(1, 104), start(2, 103), result(1, 105, 0, 3, 0, 0), result(2, 105, 0, 0, 0, 0))
    assert log.progress == "0 of 3 derivations built"
    shown(log, start(3, 105, 3, "building", A), start(4, 105, 3, "building", BAD), result(2, 105, 4, 9, 1, 0))
    assert log.progress == "0 of 3 derivations built (a, bad-1.0), 4 of 9 store paths fetched"
    shown(log, {"action": "stop", "id": 3}, result(1, 105, 1, 3, 1, 0))
    assert log.progress == "1 of 3 derivations built (bad-1.0), 4 of 9 store paths fetched"


def test_how_far_a_fetch_is_follows_the_bytes_of_its_paths() -> None:
    """Those of several paths at the same time, also of one that has arrived; the bytes of downloads are others."""
    log = NixLog()
    shown(log, start(1, 102), start(2, 103), result(2, 105, 0, 3, 2, 0), start(3, 100), start(4, 100), start(5, 101))
    assert log.progress == "0 of 3 store paths fetched"
    shown(log, result(1, 106, 100, 7_000_000), result(1, 106, 101, 9_000_000), result(5, 105, 3_000_000, 9_000_000))
    shown(log, result(3, 105, 500_000, 1_000_000), result(3, 105, 1_000_000, 1_000_000))
    shown(log, result(4, 105, 200_000, 5_000_000))
    assert log.progress == "0 of 3 store paths fetched (1.2 of 7.0 MB)"
    shown(log, {"action": "stop", "id": 3}, result(2, 105, 1, 3, 1, 0), result(4, 105, 700_000, 5_000_000))
    assert log.progress == "1 of 3 store paths fetched (1.7 of 7.0 MB)"


@pytest.mark.parametrize(
    "line",
    [
        "warning: unrelated",
        "",
        "@nix ",
        "@nix {",
        "@nix []",
        '@nix {"id": 1}',
        '@nix {"action": 3}',
        "@nix " + "[" * 5000,
    ],
)
def test_what_is_not_nix_s_form_is_shown_as_it_is(line: str) -> None:
    """A shell's message, or a line that was cut, is not lost."""
    assert NixLog().read(line) == [line]


@pytest.mark.parametrize(
    "word",
    [
        {"action": "news", "id": 1},
        result(9, 105, 1, 2),
        result(9, 105),
        result(9, 101),
        start(1, 105),
        {"action": "stop", "id": 9},
    ],
)
def test_what_is_not_known_is_passed_over(word: dict[str, Any]) -> None:
    """A later nix may tell more, of activities that began before this log."""
    log = NixLog()
    assert shown(log, word) == []
    assert log.progress == ""


def test_counts_that_are_none_are_passed_over() -> None:
    """A builder's machine is not trusted with the kind of a value."""
    log = NixLog()
    assert shown(log, start(1, 104), result(1, 105, "many", [1])) == []
    assert log.progress == ""
