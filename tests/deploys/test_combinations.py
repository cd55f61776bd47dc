"""A good deploy is proven and a failing one goes back, wherever systems are built and whoever logs in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.deploys.combinations import BAD, COMBINATIONS, GOOD, Combination, Ground, ground, table, told
from tests.deploys.sessions import ROOT
from tests.sampling import sampled

SAMPLED = sampled(
    "combinations of builders and logins",
    "combinations",
    {str(combination): combination for combination in COMBINATIONS},
    {"ovh | runner | sudo with a password", "ovh | builder | forced command"},
)
"""If it was asked for some, the page is written, in which the others stay as they are."""
PAGE = ROOT / "docs" / "combinations.md"
MARK = "<!-- what follows is written by `just combinations` -->\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """The machines of all combinations."""
    with ground(tmp_path_factory.mktemp("combinations"), list(SAMPLED.tried.values())) as place:
        yield place


@pytest.mark.lab
@pytest.mark.long
@pytest.mark.parametrize(
    "combination",
    [pytest.param(each, id=name, marks=SAMPLED.mark(name)) for name, each in SAMPLED.tried.items()],
)
def test_a_combination_deploys_and_goes_back(place: Ground, combination: Combination) -> None:
    """The host keeps the good system, is brought back from the failing one, and the systems came as they should."""
    good, bad = place.deploy(combination)
    if SAMPLED.asked:
        text, _, old = PAGE.read_text(encoding="utf-8").partition(MARK)
        PAGE.write_text(f"{text}{MARK}\n{table(told(old) | {str(combination): (good, bad)})}", encoding="utf-8")
    assert (good.partition(";")[0], bad) == (GOOD, BAD)


def test_the_kept_table_has_every_combination() -> None:
    """The published table has a row for each combination, whose deploys ended as they should."""
    page = PAGE.read_text(encoding="utf-8").partition(MARK)[2]
    kept = told(page)
    assert list(kept) == [str(combination) for combination in COMBINATIONS]
    assert page == f"\n{table(kept)}"
    for row, (good, bad) in kept.items():
        assert (good.partition(";")[0], bad) == (GOOD, BAD), row
