"""Every fault ends as it must: a part of the table that is chosen by what it costs; `just faults` tries all of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from switchproof.deploy.providers.lab import faults as lab_faults
from switchproof.deploy.providers.lab.lab import Lab
from tests.faults.page import DOES_NOT_APPLY, NOT_TRIED, PAGE, Results, render
from tests.faults.scene import MODES, PLACES, VERDICTS, Fault, Mode, Outcome, meet
from tests.faults.table import FAULTS
from tests.labs import own
from tests.sampling import sampled

CELLS = [(fault, mode) for fault in FAULTS for mode in MODES if mode in fault.expected]
ALONE = [
    (fault, MODES[number % len(MODES)])
    for number, fault in enumerate(fault for fault in FAULTS if not fault.needs_host)
]
"""Every fault that needs no host, each by one mode: a session that is refused costs a second."""
SAMPLED = sampled(
    "faults by modes",
    "faults",
    {Results.key(*cell): cell for cell in CELLS},
    {
        *(Results.key(*cell) for cell in ALONE),
        "host: the hypervisor is stopped, deploy",
        "transport: the SSH server is stopped, audit",
        "cloud: commands may not be sent, deploy",
        "repository: the flake has no such system, deploy",
    },
    asked="",  # the recipe tries all of them without these tests
)


def trying(*, on_hosts: bool) -> pytest.MarkDecorator:
    """Try those of the sample that need a host, or the others."""
    chosen = {name: cell for name, cell in SAMPLED.tried.items() if cell[0].needs_host == on_hosts}
    return pytest.mark.parametrize(
        ("fault", "mode"),
        [pytest.param(*cell, id=name, marks=SAMPLED.mark(name)) for name, cell in chosen.items()],
    )


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A host that runs the first good release."""
    with Lab.up(("x",), name=own("faults-table"), runtime="netns") as lab:
        yield lab


@pytest.mark.lab
@trying(on_hosts=False)
@pytest.mark.long
def test_a_session_that_cannot_begin_is_refused(tmp_path: Path, fault: Fault, mode: Mode) -> None:
    """It exits 4, touches nothing and shows no traceback."""
    outcome = meet(fault, mode, tmp_path / "cell")
    assert not outcome.problem, f"{outcome}: {outcome.problem}\n{outcome.output}"


@pytest.mark.lab
@trying(on_hosts=True)
@pytest.mark.long
def test_a_fault_ends_as_it_must(lab: Lab, tmp_path: Path, fault: Fault, mode: Mode) -> None:
    """Verdict, exit code, clause and state are as expected, and the host is in the state that the run reports."""
    outcome = meet(fault, mode, tmp_path / "cell", lab, "x")
    assert not outcome.problem, f"{outcome}: {outcome.problem}\n{outcome.output}"


def test_every_name_is_its_own() -> None:
    """No two faults of a place have one name, and every expected code has its verdicts."""
    assert len({(fault.place, fault.name) for fault in FAULTS}) == len(FAULTS)
    assert {expected.code for fault in FAULTS for expected in fault.expected.values()} <= set(VERDICTS)


def test_every_fault_of_the_lab_s_processes_is_in_the_table() -> None:
    """Faults of sandboxes that need no microVM are in the table; the others are tried by test_faults.py."""
    names = [fault.name for fault in FAULTS if fault.place == "host"]
    for one in lab_faults.FAULTS:
        assert any(name.endswith(one.about) for name in names) == (not one.machine), one.name


def test_the_kept_page_has_every_cell() -> None:
    """The published page has a row for each fault; every cell was tried, 300 at least, and none is wrong."""
    page = PAGE.read_text("utf-8")
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| ")]
    kept = [row for row in rows if row[0] != "| fault"]
    by_place = [fault.name for place in PLACES for fault in FAULTS if fault.place == place]
    assert [row[0].removeprefix("| ") for row in kept] == by_place
    words = [word.removesuffix(" |") for row in kept for word in row[1:]]
    assert len(words) == len(FAULTS) * len(MODES)
    assert words.count(DOES_NOT_APPLY) == len(words) - len(CELLS)
    assert len(CELLS) >= 300
    assert not [word for word in words if word == NOT_TRIED or "✗" in word]


def test_a_wrong_cell_is_marked_and_counted() -> None:
    """The page says of a wrong cell what was expected, and counts what was tried."""
    fault = FAULTS[0]
    wrong = Outcome("canonical", 0, "", "converged", "expected exit 10, unsafe")
    page = render([fault], {Results.key(fault, "deploy"): wrong})
    assert "1 faults, 4 cells; 1 tried, 1 wrong." in page
    assert "✗ canonical, exit 0, converged: expected exit 10, unsafe" in page
    assert page.count(NOT_TRIED) == 3


def test_results_are_kept_and_read_back(tmp_path: Path) -> None:
    """What is kept of a cell is read back by its name, and a later run can tell that it is there."""
    results = Results(tmp_path / "results")
    outcome = Outcome("canonical", 0, "", "converged")
    results.keep(FAULTS[0], "deploy", outcome)
    assert Results(tmp_path / "results").all() == {Results.key(FAULTS[0], "deploy"): outcome}
    assert results.was_kept_since(FAULTS[0], "deploy", 0.0)
    assert not results.was_kept_since(FAULTS[0], "audit", 0.0)
    assert re.fullmatch(r"[0-9a-f]{16}\.json", next((tmp_path / "results").iterdir()).name)
