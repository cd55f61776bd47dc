"""`--keep-runs=N` removes what is older than the newest N runs, and nothing that somebody needs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from switchproof.deploy.contract import RunVerdict
from switchproof.deploy.observe.earlier import Proven
from switchproof.deploy.record.events import SystemIdentity, SystemSeen
from switchproof.deploy.record.hold import hold
from switchproof.deploy.record.past_runs import last_canonical, proven
from switchproof.reports.kept.tidy import Tidied, tidy
from tests.reports import stories
from tests.reports.runs import keep
from tests.reports.story import BEGIN, SHA, Story


def names(folder: Path) -> set[str]:
    return {place.name for place in folder.iterdir() if place.is_dir() and not place.is_symlink()}


def left_with(toplevel: str, *hosts: str) -> Story:
    story = stories.canonical(*hosts or ("a",))
    system = SystemIdentity(toplevel=toplevel, generation=1, revision=SHA, boot_id="b")
    story.events = [
        type(event)(at=event.at, host=event.host, when="after", system=system)
        if isinstance(event, SystemSeen) and event.when == "after"
        else event
        for event in story.events
    ]
    return story


def test_older_runs_go_and_the_newest_stay(tmp_path: Path) -> None:
    """Of five runs the two oldest go, a killed one too, and it is said which."""
    old = [keep(tmp_path, stories.unsafe(), 1), keep(tmp_path, stories.killed(), 2)]
    new = [keep(tmp_path, stories.inconclusive(), hours) for hours in (3, 4, 5)]
    tidied = tidy(tmp_path, 3, tmp_path / "latest")
    assert tidied.removed == (old[1].name, old[0].name)
    assert names(tmp_path) == {place.name for place in new}
    assert str(tidied) == f"Removed 2 runs: {old[1].name}, {old[0].name}."
    assert tidy(tmp_path, 3, tmp_path / "latest") == Tidied()


def spoil(place: Path) -> None:
    (place / "record.json").write_text("{}")


def point_at(place: Path) -> None:
    (place.parent / "latest").symlink_to(place.name)


def rename(place: Path) -> None:
    place.rename(place.with_name("by-hand"))


def empty(place: Path) -> None:
    for path in place.iterdir():
        path.unlink()


def link_away(place: Path) -> None:
    elsewhere = place.parent.parent / f"elsewhere-{place.parent.name}"
    place.rename(elsewhere)
    place.symlink_to(elsewhere)


@pytest.mark.parametrize("become", [spoil, point_at, rename, empty, link_away])
def test_what_is_not_known_for_an_old_run_stays(tmp_path: Path, become: Callable[[Path], None]) -> None:
    """What `latest` points to, a link, and what is not a run by its name and its files are left alone."""
    become(keep(tmp_path, stories.unsafe(), 1))
    keep(tmp_path, stories.inconclusive(), 2)
    there = sorted(path.name for path in tmp_path.iterdir())
    assert tidy(tmp_path, 1, tmp_path / "latest").removed == ()
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != ".digests.json") == there


@pytest.mark.parametrize("story", [stories.killed, stories.unsafe])
def test_a_run_that_goes_on_stays(tmp_path: Path, story: Callable[[], Story]) -> None:
    """However old it is, a run whose process lives is not touched, be its record written or not."""
    going_on = keep(tmp_path, story(), 1)
    keep(tmp_path, stories.inconclusive(), 2)
    with hold(going_on):
        assert tidy(tmp_path, 1, tmp_path / "latest").removed == ()
    assert tidy(tmp_path, 1, tmp_path / "latest").removed == (going_on.name,)


def test_what_later_runs_look_up_stays(tmp_path: Path) -> None:
    """What a rollback and a report look up is the same before and after, and stays however many runs there are."""
    for number in range(4):
        keep(tmp_path, left_with(f"/nix/store/{number}", "a"), number)
        keep(tmp_path, left_with(f"/nix/store/{number}", "b"), number + 0.5)
    keep(tmp_path, stories.drill("b"), 10)
    for hours in range(20, 23):
        keep(tmp_path, stories.unsafe(), hours, provider="ovh")
    now = BEGIN.replace(year=2027)

    def looked_up() -> tuple[object, ...]:
        two = [proven(tmp_path, "ovh", host)[:2] for host in "ab"]
        return *two, [last_canonical(tmp_path, "ovh", host, now) for host in "ab"]

    before = looked_up()
    assert before[0] == [Proven(f"/nix/store/{n}", stories.canonical().record().run.id) for n in (3, 2)]
    tidied = tidy(tmp_path, 1, tmp_path / "latest")
    assert looked_up() == before
    assert len(tidied.removed) == 2 + 2 * 2 + 1
    assert "4 older runs stay, as later ones look them up" in str(tidied)


def test_the_newest_signed_run_stays_for_the_gate(tmp_path: Path) -> None:
    """The newest signed canonical deploy and drill of a host stay, even with unsigned ones after them."""
    signed = [keep(tmp_path, stories.canonical("a"), 2), keep(tmp_path, stories.drill("a"), 1)]
    older = keep(tmp_path, stories.canonical("a"), 0)
    for place in (*signed, older):
        (place / "statement.json.sig").touch()
    unsigned = [keep(tmp_path, left_with(f"/nix/store/{hours}"), hours) for hours in (3, 4)]
    assert tidy(tmp_path, 1, tmp_path / "latest").removed == (older.name,)
    assert names(tmp_path) == {place.name for place in (*signed, *unsigned)}


def test_only_canonical_runs_are_looked_up(tmp_path: Path) -> None:
    """A run that proved nothing, and one of another provider, do not stand for one that did."""
    proves = keep(tmp_path, stories.canonical("a"), 0)
    keep(tmp_path, stories.canonical("a"), 1, provider="aws")
    keep(tmp_path, stories.canonical("a"), 2, verdict=RunVerdict.INCONCLUSIVE)
    tidy(tmp_path, 1, tmp_path / "latest")
    assert proves.name in names(tmp_path)


def test_what_was_cut_off_is_removed_next_time(tmp_path: Path) -> None:
    """A removal that was killed half-way never leaves half a run, and is finished by the next one."""
    keep(tmp_path, stories.unsafe())
    half = tmp_path / ".removed-20261123T151203Z-deploy-ovh-1a2b3c4-00ff"
    (half / "evidence").mkdir(parents=True)
    assert tidy(tmp_path, 1, tmp_path / "latest") == Tidied()
    assert not half.exists()


def test_what_cannot_be_removed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that cannot be removed is named with the reason, and the others go."""
    old = [keep(tmp_path, stories.unsafe(), hours) for hours in (1, 2)]
    keep(tmp_path, stories.unsafe(), 3)
    real = Path.rename

    def refuse(place: Path, target: Path) -> Path:
        if place == old[1]:
            raise PermissionError(13, "Permission denied")
        return real(place, target)

    monkeypatch.setattr(Path, "rename", refuse)
    tidied = tidy(tmp_path, 1, tmp_path / "latest")
    assert tidied.removed == (old[0].name,)
    assert tidied.problems == (f"{old[1]} could not be removed: [Errno 13] Permission denied",)
