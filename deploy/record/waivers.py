"""Waivers: which failures they cover, their effect on a run, and which checks none may cover (pure)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Literal, TypeAlias

import msgspec

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
"""Essential checks: without them it is unknown what a host runs, or how to roll it back."""

State: TypeAlias = Literal["used", "unused", "expired", "open", "not-asked"]
"""The effect of a waiver on a run.

`used` covered a failure; `unused`: its check passed everywhere; `expired`: its check was due, and it covered nothing;
`open`: its check was due and gave no answer; `not-asked`: its check was not due.
"""


class Seen(msgspec.Struct, frozen=True):
    """The verdict of one check on one leg of one host."""

    host: str
    leg: Leg
    check: str
    verdict: Verdict


def covers(waiver: Waiver, host: str, check: str) -> bool:
    """Whether a waiver is about a check on a host, expired or not."""
    return waiver.check == check and waiver.host in {None, host}


def covering(waivers: Iterable[Waiver], host: str, check: str) -> Waiver | None:
    """Return the waiver that covers a failure of a check on a host; None without an unexpired one."""
    return next((each for each in waivers if not each.expired and covers(each, host, check)), None)


def waiver_terms(waiver: Waiver) -> str:
    """Return the terms of a waiver as text: until when, by whom and why."""
    return f"until {_utc(waiver.expires)} by {waiver.owner}: {waiver.reason}"


def expiry_warning(waiver: Waiver) -> str:
    """Return the warning about an expired waiver, for the start of a run."""
    return (
        f"The waiver of {waived_check(waiver)} ({waiver.owner}) expired at {_utc(waiver.expires)}: that check counts "
        "as if there were none. Fix what it was for, and remove it from the target file."
    )


def waived_check(waiver: Waiver) -> str:
    """Return the check of a waiver, with its host if it is for one only."""
    return f"{waiver.check} on host {waiver.host}" if waiver.host else waiver.check


def state(waiver: Waiver, seen: Iterable[Seen]) -> State:
    """Return the effect of a waiver.

    Args:
        waiver: The waiver.
        seen: Every check of the run, on all legs.
    """
    verdicts = {check.verdict for check in seen if covers(waiver, check.host, check.check)}
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
        known: The ids of the checks of this run.
        elsewhere: The ids of other checks, without parameters in brackets.
        where: The target file's name.

    Raises:
        UsageError: A waiver names an unknown check; the message suggests others.
    """
    for index, waiver in enumerate(waivers):
        if waiver.check not in known and waiver.check.partition("[")[0] not in elsewhere:
            near = " or ".join(_near(waiver.check, {*known, *elsewhere}))
            meant = f"did you mean {near}?" if near else "the report has the ids"
            raise UsageError(f"{where}: waivers[{index}].check: there is no check {waiver.check!r}; {meant}")


def _near(check: str, known: Collection[str]) -> list[str]:
    """Return the checks with the most similar ids; else those of the same clause."""
    import difflib  # only needed after a mistake

    return difflib.get_close_matches(check, known, n=3) or sorted(
        name for name in known if name.split("/")[0] == check.split("/", maxsplit=1)[0]
    )


def with_whole_days(raw: dict[str, Any]) -> dict[str, Any]:
    """Turn an expiry that is only a date into the end of that day in UTC."""
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
