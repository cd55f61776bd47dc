"""The same behaviour of a host has the same verdict, clause and state of the host over SSH and through SSM."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from switchproof.deploy.providers.lab.lab import Lab
from tests.deploys.parity import BEHAVIOURS, WAYS, Behaviour, Outcome, meet, table, told, unlike
from tests.deploys.sessions import ROOT
from tests.labs import own
from tests.sampling import sampled

pytestmark = [pytest.mark.lab, pytest.mark.long]

SAMPLE = {
    "the way is broken in the activation, and there again",
    "the revision broken/live-degraded",
}
"""Deploys that every test run makes, beside all programs."""
SAMPLED = sampled(
    "behaviours over SSH and through SSM",
    "parity",
    {behaviour.name: behaviour for behaviour in BEHAVIOURS},
    SAMPLE | {behaviour.name for behaviour in BEHAVIOURS if behaviour.program},
)
"""If it was asked for some, the page is written, in which the others stay as they are."""
TRIED = list(SAMPLED.tried.values())
HOSTS = ("p1", "p2", "p3") if SAMPLED.asked else ("p1", "p2")
"""Of each shape. Three systems run on each of one shape, and all share the kernel's 128 inotify instances."""
PAGE = ROOT / "docs" / "parity.md"
MARK = "<!-- what follows is written by `just parity` -->\n"


@pytest.fixture(scope="module")
def met(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[tuple[str, str], Future[Outcome]]]:
    """Every behaviour, met on each way by one of a few hosts."""
    folder = tmp_path_factory.mktemp("parity")
    free: dict[str, queue.Queue[str]] = {way: queue.Queue() for way in WAYS}

    def meet_one(way: str, lab: Lab, number: int, behaviour: Behaviour) -> Outcome:
        host = free[way].get()
        try:
            return meet(way, lab, host, folder / f"{way}-{number}", behaviour)
        finally:
            free[way].put(host)

    with (
        Lab.up(HOSTS, name=own("parity-ssh"), runtime="netns") as over_ssh,
        Lab.up(HOSTS, name=own("parity-ssm"), shape="aws") as through_ssm,
        ThreadPoolExecutor(len(HOSTS)) as ssh,
        ThreadPoolExecutor(len(HOSTS)) as ssm,
    ):
        for way in WAYS:
            for host in HOSTS:
                free[way].put(host)
        pools = {"ssh": (ssh, over_ssh), "ssm": (ssm, through_ssm)}
        # The longest first, or they would run alone at the end.
        order = sorted(enumerate(TRIED), key=lambda each: (bool(each[1].program), "crash" not in each[1].name))
        yield {
            (behaviour.name, way): pool.submit(meet_one, way, lab, number, behaviour)
            for number, behaviour in order
            for way, (pool, lab) in pools.items()
        }


def _found(met: dict[tuple[str, str], Future[Outcome]]) -> dict[str, tuple[str, str]]:
    """What came of the behaviours that were met on both ways."""
    pairs = {behaviour.name: [met[behaviour.name, way] for way in WAYS] for behaviour in TRIED}
    good = {name: pair for name, pair in pairs.items() if all(each.exception() is None for each in pair)}
    return {name: (str(left.result()), str(right.result())) for name, (left, right) in good.items()}


@pytest.mark.parametrize(
    "behaviour", [pytest.param(each, id=name, marks=SAMPLED.mark(name)) for name, each in SAMPLED.tried.items()]
)
def test_a_behaviour_ends_the_same(met: dict[tuple[str, str], Future[Outcome]], behaviour: Behaviour) -> None:
    """Exit code, first clause that did not pass, host's state and way back are the same, or differ for a reason."""
    ssh, ssm = (met[behaviour.name, way].result() for way in WAYS)
    assert (str(ssh) == str(ssm)) == (not behaviour.differs), f"{ssh}\n{ssh.output}\n{ssm}\n{ssm.output}"


def test_the_table_is_printed(
    met: dict[tuple[str, str], Future[Outcome]], capsys: pytest.CaptureFixture[str]
) -> None:
    """What was met stands in a table, which a person sees; `just parity` keeps it."""
    found = _found(met)
    with capsys.disabled():
        print("\n" + table(found, TRIED))
    if SAMPLED.asked:
        _keep(found, PAGE)
    assert len(found) == len(TRIED)


def _keep(found: dict[str, tuple[str, str]], page: Path) -> None:
    text, _, old = page.read_text(encoding="utf-8").partition(MARK)
    whole = f"{text}{MARK}\n{table(told(old) | found)}\nWhat must differ, and why:\n\n{unlike()}"
    page.write_text(whole, encoding="utf-8")


def test_the_kept_table_has_every_behaviour() -> None:
    """The published table has a row for each behaviour, met on both ways, which differ only for a reason."""
    page = PAGE.read_text(encoding="utf-8").partition(MARK)[2]
    kept = told(page)
    assert list(kept) == [behaviour.name for behaviour in BEHAVIOURS]
    assert page.startswith(f"\n{table(kept)}")
    for behaviour in BEHAVIOURS:
        ssh, ssm = kept[behaviour.name]
        assert "not tried" not in {ssh, ssm}
        assert (ssh == ssm) == (not behaviour.differs), behaviour.name
        assert behaviour.differs in page
