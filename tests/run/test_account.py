"""What is learnt of a host on the way is told once, and kept whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from switchproof.deploy.observe.convergence import Convergence
from switchproof.deploy.record.events import ClosureCompared, Happened
from switchproof.deploy.record.journal import Journal
from switchproof.deploy.redact.redactor import Redactor
from switchproof.deploy.run.account import CLOSURE_LINES, Account


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path, Redactor())


def ended(closure: str | None) -> Convergence:
    return Convergence(True, 0, "switch", "/nix/store/new", "", "", "", "", closure)


def test_boot_is_marked_once_for_each(journal: Journal) -> None:
    """The first boot that is seen is no reboot; another one is, once; a host that does not say is passed over."""
    account = Account("a", journal)
    for boot in ("one", "", "one", "two", "two", "", "two", "three"):
        account.boot(boot)
    told = [(event.kind, event.text) for event in journal.events if isinstance(event, Happened)]
    assert told == [("rebooted", "boot two"), ("rebooted", "boot three")]


def test_closure_is_kept_whole_and_told_in_part(journal: Journal) -> None:
    """The record has the first lines of what differs and says how many more there are; the evidence has all."""
    lines = [f"package-{number}: 1 → 2" for number in range(CLOSURE_LINES + 7)]
    Account("a", journal).closure("forward", "/nix/store/old", ended("\n".join(lines)))
    (closure,) = [event.closure for event in journal.events if isinstance(event, ClosureCompared)]
    assert (closure.before, closure.after) == ("/nix/store/old", "/nix/store/new")
    assert (list(closure.lines), closure.left_out) == (lines[:CLOSURE_LINES], 7)
    assert closure.evidence
    assert (journal.folder / closure.evidence).read_text(encoding="utf-8").splitlines() == lines


@pytest.mark.parametrize(("said", "told"), [(None, 0), ("", 1), ("\n", 1)])
def test_nothing_differs_is_not_nothing_known(journal: Journal, said: str | None, told: int) -> None:
    """Closures that are equal are told to be; those that were not compared are not."""
    Account("a", journal).closure("forward", "/nix/store/old", ended(said))
    closures = [event.closure for event in journal.events if isinstance(event, ClosureCompared)]
    assert len(closures) == told
    assert all(not closure.lines and closure.evidence is None for closure in closures)
