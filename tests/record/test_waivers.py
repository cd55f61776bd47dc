"""A waiver covers exactly the failures that it names, for as long as it says, and what becomes of it is told."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchproof.deploy.contract import Clause, ExitCode, HostState, RunVerdict, Verdict
from switchproof.deploy.errors import UsageError
from switchproof.deploy.providers import load
from switchproof.deploy.record.facts import Waiver
from switchproof.deploy.record.fold import fold
from switchproof.deploy.record.waivers import NEVER, Seen, covering, covers, refuse, state, waived_check
from switchproof.deploy.target.loading import load_contract
from tests.reports.story import Story
from tests.target.texts import ENVIRON, TEXT

END = dt.datetime(2026, 12, 31, tzinfo=dt.UTC)
P, F, B, I, W = (  # noqa: E741 - a table's heads
    Verdict.PASSED,
    Verdict.FAILED,
    Verdict.BLOCKED,
    Verdict.INCONCLUSIVE,
    Verdict.WAIVED,
)


def waiver(host: str | None = None, *, check: str = "runtime/x", expired: bool = False) -> Waiver:
    return Waiver(check=check, host=host, reason="known", owner="ops", expires=END, expired=expired)


def seen(**verdicts: Verdict) -> list[Seen]:
    return [Seen(host, "forward", "runtime/x", verdict) for host, verdict in verdicts.items()]


@pytest.mark.parametrize(("host", "check"), [("a", "runtime/x"), ("b", "runtime/x"), ("a", "runtime/y")])
def test_a_waiver_covers_its_check_on_its_host(host: str, check: str) -> None:
    """Without a host it covers its check everywhere, with one there alone, and never another check."""
    assert covers(waiver(), host, check) == (check == "runtime/x")
    assert covers(waiver("a"), host, check) == ((host, check) == ("a", "runtime/x"))


def test_an_expired_waiver_covers_no_failure() -> None:
    """Of an expired one and one that holds, the one that holds is found."""
    good = waiver("a")
    assert covering([waiver(expired=True)], "a", "runtime/x") is None
    assert covering([waiver(expired=True), good], "a", "runtime/x") is good


@pytest.mark.parametrize(
    ("verdicts", "becomes"),
    [
        ({}, "not-asked"),
        ({"a": P, "b": P}, "unused"),
        ({"a": P, "b": W}, "used"),
        ({"a": P, "b": B}, "open"),
        ({"a": P, "b": I}, "open"),
        ({"a": F}, "open"),
        ({"a": W, "b": F}, "used"),
    ],
)
def test_what_became_of_a_waiver(verdicts: dict[str, Verdict], becomes: str) -> None:
    """It is unused only where its check was made and passed everywhere; where that is not known, nothing is said."""
    assert state(waiver(), seen(**verdicts)) == becomes
    assert state(waiver(expired=True), seen(**verdicts)) == ("expired" if verdicts else "not-asked")
    assert state(waiver("c"), seen(**verdicts)) == "not-asked"


@given(st.dictionaries(st.sampled_from("abc"), st.sampled_from(Verdict), min_size=1))
def test_a_waiver_that_may_still_be_needed_is_never_unused(verdicts: dict[str, Verdict]) -> None:
    """Whoever is told to remove a waiver can do so: nothing of its check did anything but pass."""
    assert (state(waiver(), seen(**verdicts)) == "unused") == (set(verdicts.values()) == {P})


def test_a_waiver_of_no_check_names_what_may_be_meant() -> None:
    """A check that is not known is refused with the one that is spelled most like it, or those of its clause."""
    known = {"runtime/live/it-stays-healthy", "runtime/live/its-port-is-its-own", "audit/disk"}
    with pytest.raises(UsageError, match=r"waivers\[1\]\.check: .*; did you mean runtime/live/it-stays-healthy\?$"):
        refuse([waiver(check="audit/disk"), waiver(check="runtime/live/stays-healthy")], known, (), "t.toml")
    with pytest.raises(UsageError, match=r"; did you mean audit/disk\?$"):
        refuse([waiver(check="audit/x")], known, (), "t.toml")
    refuse([waiver(check="audit/certificate[443]")], known, {"audit/certificate"}, "t.toml")
    with pytest.raises(UsageError, match=r"; did you mean audit/disk\?$"):
        refuse([waiver(check="audit/disk[443]")], known, (), "t.toml")


def table(**keys: str) -> str:
    given = {"check": '"runtime/live/x"', "reason": '"known"', "owner": '"ops"', "expires": "2026-12-31"} | keys
    return "[[waivers]]\n" + "".join(f"{name} = {value}\n" for name, value in given.items() if value)


@pytest.mark.parametrize(
    ("expires", "end"),
    [
        ("2026-12-31", dt.datetime(2027, 1, 1, tzinfo=dt.UTC)),
        ("2026-12-31T12:00:00Z", dt.datetime(2026, 12, 31, 12, tzinfo=dt.UTC)),
        ("2026-12-31T12:00:00+02:00", dt.datetime(2026, 12, 31, 10, tzinfo=dt.UTC)),
        ("9999-12-31", dt.datetime.max.replace(tzinfo=dt.UTC)),
    ],
)
def test_a_date_means_the_end_of_that_day(tmp_path: Path, expires: str, end: dt.datetime) -> None:
    """A time with its offset is that time; a date alone is the whole day in UTC."""
    (tmp_path / "t.toml").write_text(TEXT + table(expires=expires), encoding="utf-8")
    assert load(tmp_path / "t.toml", ENVIRON).waivers[0].expires == end
    assert load_contract(tmp_path / "t.toml", ENVIRON).waivers[0].expires == end


@pytest.mark.parametrize(
    ("tables", "says"),
    [
        (table(expires="2026-12-31T12:00:00"), r"waivers\[0\]\.expires: must be a date, or a time with its zone"),
        (table(expires='"soon"'), r"waivers\[0\]\.expires: must be a date, or a time with its zone"),
        (table(expires=""), r"waivers\[0\]\.expires: missing"),
        (table(owner=""), r"waivers\[0\]\.owner: missing"),
        (table(reason='""'), r"waivers\[0\]\.reason: "),
        (table(check='"everything"'), r"waivers\[0\]\.check: "),
        (table(until="2026-12-31"), r"waivers\[0\]\.until: unknown key"),
        (table(host='"z"'), r"waivers\[0\]\.host: no such host \(found 'z'; allowed: a, b\)"),
        (table() + table(), r"waivers\[1\]: covers what waivers\[0\] covers"),
        (table() + table(host='"a"'), r"waivers\[1\]: covers what waivers\[0\] covers"),
        (table(host='"a"') + table(), r"waivers\[1\]: covers what waivers\[0\] covers"),
    ],
)
def test_a_waiver_that_cannot_be_is_refused(tmp_path: Path, tables: str, says: str) -> None:
    """The file, the waiver and the key are named, and what is wrong there."""
    (tmp_path / "t.toml").write_text(TEXT + tables, encoding="utf-8")
    with pytest.raises(UsageError, match=rf"t\.toml:\d+: {says}"):
        load(tmp_path / "t.toml", ENVIRON, ["b"])


def test_two_hosts_may_have_a_waiver_each(tmp_path: Path) -> None:
    """A waiver for each of two hosts is two waivers, also where only one of the hosts is selected."""
    (tmp_path / "t.toml").write_text(TEXT + table(host='"a"') + table(host='"b"'), encoding="utf-8")
    assert [one.host for one in load(tmp_path / "t.toml", ENVIRON, ["b"]).waivers] == ["a", "b"]


@pytest.mark.parametrize("check", sorted(NEVER))
def test_what_all_else_rests_on_cannot_be_waived(tmp_path: Path, check: str) -> None:
    """Which commit, which system, the way back and the confirmation: no waiver covers them, and each one exists."""
    (tmp_path / "t.toml").write_text(TEXT + table(check=f'"{check}"'), encoding="utf-8")
    with pytest.raises(UsageError, match=f"{check} cannot be waived"):
        load(tmp_path / "t.toml", ENVIRON)
    clause, _, name = check.partition("/")
    modules = (Path(__file__).parents[2] / "checks").glob("test_*.py")
    functions = [text for module in modules if f'clause("{clause}")' in (text := module.read_text(encoding="utf-8"))]
    assert any(f"def test_{name.replace('-', '_')}(" in text for text in functions), "no such check"


def waived(given: Waiver) -> Story:
    """A deploy in which one check of the hypervisor failed and was waived."""
    story = Story("a").resolved()
    story.events[0] = msgspec.structs.replace(story.events[0], waivers=(given,))
    story.clauses("a", Clause.REVISION, Clause.CONVERGE, Clause.RUNTIME, Clause.DIAGNOSTICS)
    story.check("a", Clause.HYPERVISOR, "active").check("a", Clause.HYPERVISOR, "answers", W, "502")
    return story.left("a", HostState.CONVERGED, "kept").ended(ExitCode.CANONICAL)


def test_a_record_with_a_waived_failure_is_canonical_with_waivers() -> None:
    """The clause, the host and the run say so, each in its own word."""
    record = waived(waiver(check="answers")).record()
    assert record.verdict is RunVerdict.WITH_WAIVERS
    assert (record.hosts[0].verdict, record.hosts[0].clauses[2].verdict) == (W, W)
    assert [(one.state, len(one.covered)) for one in record.waivers] == [("used", 1)]


def test_a_waiver_that_is_not_needed_makes_it_not_canonical() -> None:
    """A second waiver, of a check that passed, is for removal: the run is not canonical, the host is as it was."""
    record = waived(waiver(check="active")).record()
    assert record.verdict is RunVerdict.NON_CANONICAL
    assert record.hosts[0].verdict is W


def test_a_run_that_was_killed_is_inconclusive_whatever_is_waived() -> None:
    """Nothing is said of waivers as long as a run has not come to its end."""
    for check in ("answers", "active"):
        events = waived(waiver(check=check)).events[:-1]
        assert fold(events).verdict is RunVerdict.INCONCLUSIVE


def refusal(check: str, *known: str) -> str:
    with pytest.raises(UsageError) as raised:
        refuse([waiver(check=check)], known, (), "t.toml")
    return str(raised.value).partition("; ")[2]


def test_refusal_names_the_three_checks_that_are_spelled_most_alike() -> None:
    """The most similar comes first, as the question."""
    alike = ("runtime/live/answer", "runtime/live/answers", "runtime/live/answersxx", "runtime/live/answersxxx")
    assert refusal("runtime/live/answersx", *alike) == (
        "did you mean runtime/live/answersxx or runtime/live/answers or runtime/live/answersxxx?"
    )


def test_refusal_names_all_checks_of_the_clause_where_none_is_alike() -> None:
    """In the order of the alphabet; checks of other clauses are no help, and without any nothing is asked."""
    known = ("audit/never-seen-before", "audit/disk-full-of-files", "runtime/live/zzzz")
    assert refusal("audit/q", *known) == "did you mean audit/disk-full-of-files or audit/never-seen-before?"
    assert refusal("audit/q", "runtime/live/zzzz") == "the report has the ids"


def test_waived_check_is_named_with_its_host() -> None:
    """A waiver for every host names none."""
    assert waived_check(waiver(check="audit/x", host="b")) == "audit/x on host b"
    assert waived_check(waiver(check="audit/x", host=None)) == "audit/x"
