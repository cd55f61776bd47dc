"""Wherever a deploy is cut, and by whatever, it ends with the truth, and the host with one whole system."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from switchproof.deploy.providers.lab.lab import Lab
from tests.deploys.cut_points import LOSSES, POINTS, Cell, Point, cut, table
from tests.deploys.sessions import ROOT
from tests.sampling import sampled

pytestmark = pytest.mark.lab

HOSTS = ("c1", "c2", "c3", "c4", "c5", "c6")
SAMPLED = sampled(
    "cuts of a deploy",
    "cut-points",
    {f"{point}, {loss}": (point, loss) for point in POINTS for loss in LOSSES},
    {
        "during build, connection reset",
        "after profile set, power cut",
        "during activation, sshd killed",
        "during activation, rebooted",
        "after activation, runner killed",
        "after confirmation, connection reset",
    },
)
"""If it was asked for some, the page is written, in which the others stay as they are."""
PAGE = ROOT / "docs" / "cut-points.md"
MARK = "<!-- what follows is written by `just cut-points` -->\n"


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[tuple[str, str], Future[Cell]]]:
    """Every cell, tried on one of a few hosts."""
    folder = tmp_path_factory.mktemp("cuts")
    free: queue.Queue[str] = queue.Queue()
    for host in HOSTS:
        free.put(host)

    def try_one(lab: Lab, number: int, point: Point, loss: str) -> Cell:
        host = free.get()
        try:
            return cut(lab, host, folder / str(number), point, loss)
        finally:
            free.put(host)

    with Lab.up(HOSTS, name="cut-points", runtime="netns") as lab, ThreadPoolExecutor(len(HOSTS)) as pool:
        tried = {
            (str(point), loss): pool.submit(try_one, lab, number, point, loss)
            for number, (point, loss) in enumerate(SAMPLED.tried.values())
        }
        yield tried
        if SAMPLED.asked:
            _write([each.result() for each in tried.values() if each.done() and each.exception() is None], PAGE)


def _write(found: list[Cell], page: Path) -> None:
    text, _, old = page.read_text(encoding="utf-8").partition(MARK)
    page.write_text(f"{text}{MARK}\n{table(found, old)}", encoding="utf-8")


@pytest.mark.parametrize(
    ("point", "loss"),
    [pytest.param(*cell, id=name, marks=SAMPLED.mark(name)) for name, cell in SAMPLED.tried.items()],
)
@pytest.mark.long
def test_a_cut_ends_with_the_truth(cells: dict[tuple[str, str], Future[Cell]], point: Point, loss: str) -> None:
    """The run says what is the case on the host, and the host runs, has set and would boot one system."""
    cell = cells[str(point), loss].result()
    assert not cell.problem, f"{cell.problem}: {cell}\n{cell.output}"


def test_page_of_cut_points_has_every_cell() -> None:
    """The published table has a row for every point and a column for every loss."""
    page = PAGE.read_text(encoding="utf-8")
    for point in POINTS:
        assert f"| {point} |" in page
    assert f"| cut | {' | '.join(LOSSES)} |" in page
