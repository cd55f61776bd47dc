"""Waivers: which failure one covers, what becomes of it in a run, and which checks no waiver may cover (pure)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from switchproof.deploy.contract import Verdict
from switchproof.deploy.errors import UsageError
from switchproof.deploy.record.facts import Leg, Waiver

NEVER = frozenset(
    {
        "revision/the-revision-is-one-full-commit",
        "revision/the-host-was-noted-before-anything-changed",
        "revision/the-earlier-system-is-known-and-there",
        "revision/the-running-system-comes-from-a-known-commit",
        "converge/the-switch-ended-well",
        "converge/the-running-system-is-the-expected-one",
        "converge/the-system-profile-is-the-running-system",
        "converge/the-system-is-of-the-commit",
        "converge/the-host-keeps-the-system",
    }
)
"""Checks that everything else rests on: without them nobody knows what a host runs, or how to get it back."""

State: TypeAlias = Literal["used", "unused", "expired", "open", "not-asked"]
"""What became of a waiver in a run.

`used` covered a failure; `unused` is of a check that passed everywhere; `expired` is of a check that was due, and
covered nothing; `open` is of a check that was due and gave no answer; the check of `not-asked` was not due.
"""


@dataclass(frozen=True)
class Seen:
    """What came of one check on one leg of one host."""

    host: str
    leg: Leg
    check: str
    verdict: Verdict


def covers(waiver: Waiver, host: str, check: str) -> bool:
    """Whether a waiver is about a check on a host, expired or not."""
    return waiver.check == check and waiver.host in {None, host}


def covering(waivers: Iterable[Waiver], host: str, check: str) -> Waiver | None:
    """Return the waiver that covers a failure of a check on a host; None if there is none that has not expired."""
    return next((one for one in waivers if not one.expired and covers(one, host, check)), None)


def words(waiver: Waiver) -> str:
    """A waiver in words: until when, by whom and why."""
    return f"until {_utc(waiver.expires)} by {waiver.owner}: {waiver.reason}"


def told_expired(waiver: Waiver) -> str:
    """Tell of a waiver that has expired, before anything is touched."""
    return (
        f"The waiver of {called(waiver)} ({waiver.owner}) expired at {_utc(waiver.expires)}: that check counts as if "
        "there were none. Fix what it was for, and remove it from the target file."
    )


def called(waiver: Waiver) -> str:
    """What a waiver is about: a check, and its host where it is for one alone."""
    return f"{waiver.check} on host {waiver.host}" if waiver.host else waiver.check


def state(waiver: Waiver, seen: Iterable[Seen]) -> State:
    """Say what became of a waiver.

    Args:
        waiver: The waiver.
        seen: Every check of the run, on the legs that hosts were on.
    """
    verdicts = {one.verdict for one in seen if covers(waiver, one.host, one.check)}
    if not verdicts:
        return "not-asked"
    if waiver.expired:
        return "expired"
    if Verdict.WAIVED in verdicts:
        return "used"
    return "unused" if verdicts == {Verdict.PASSED} else "open"


def refuse(waivers: Sequence[Waiver], known: Collection[str], elsewhere: Collection[str], where: str) -> None:
    """Refuse a waiver of a check that does not exist.

    Args:
        waivers: Those of the target file.
        known: The ids of the checks that this run makes.
        elsewhere: The ids of those that it does not make; which parameters they have in brackets is not known.
        where: The target file's name.

    Raises:
        UsageError: Names the waiver, and checks that may be meant.
    """
    for index, waiver in enumerate(waivers):
        if waiver.check not in known and waiver.check.partition("[")[0] not in elsewhere:
            near = " or ".join(_near(waiver.check, {*known, *elsewhere}))
            meant = f"did you mean {near}?" if near else "the report has the ids"
            raise UsageError(f"{where}: waivers[{index}].check: there is no check {waiver.check!r}; {meant}")


def _near(check: str, known: Collection[str]) -> list[str]:
    """Name the checks that are spelled most like one; else those of its clause."""
    import difflib  # only for whoever has misspelled something

    return difflib.get_close_matches(check, known, n=3) or sorted(
        name for name in known if name.split("/")[0] == check.split("/", maxsplit=1)[0]
    )


def with_whole_days(raw: dict[str, Any]) -> dict[str, Any]:
    """Let an expiry that is only a date be the end of that day in UTC; everything else stays as TOML has it."""
    tables = raw.get("waivers")
    if not isinstance(tables, list):
        return raw
    return {**raw, "waivers": [_with_whole_day(table) for table in tables]}


def _with_whole_day(table: Any) -> Any:
    day = table.get("expires") if isinstance(table, dict) else None
    if not isinstance(day, dt.date) or isinstance(day, dt.datetime):
        return table
    try:
        end = dt.datetime.combine(day + dt.timedelta(days=1), dt.time(), dt.UTC)
    except OverflowError:  # the last day that there is
        end = dt.datetime.max.replace(tzinfo=dt.UTC)
    return {**table, "expires": end}


def _utc(time: dt.datetime) -> str:
    return time.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
