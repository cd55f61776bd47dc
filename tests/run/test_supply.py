"""What is built or fetched elsewhere is on every host before one of them changes."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

import pytest

from switchproof.deploy.connection import HostKeyChanged
from switchproof.deploy.contract import HostState
from switchproof.deploy.errors import BuildFailed, Inconclusive
from switchproof.deploy.observe.convergence import Ending
from switchproof.deploy.run.building import System
from switchproof.deploy.run.sites import Stock
from switchproof.deploy.source import Input, Source
from switchproof.deploy.target.types import Build
from tests.answers import SHA, TOPLEVEL
from tests.run.drives import Drive, changes
from tests.run.hosts import BEFORE, Host, Turn

LOCKED = Turn({"outcome": "locked", "detail": "run r-0 of you@there"})

TWO = {"a": System(TOPLEVEL, (TOPLEVEL,)), "b": System(BEFORE, (BEFORE,))}


class FakeWorkshop:
    """In the place of the workshop: builds what it is given, or fails."""

    def __init__(self, drive: Drive, error: BuildFailed | None = None) -> None:
        self.drive, self.error, self.is_slow = drive, error, False
        self.brought: list[str] = []
        self.arrived = {system.toplevel: threading.Event() for system in TWO.values()}
        drive.fleet._supply._workshop = self  # type: ignore[assignment]
        for journey in drive.fleet.journeys.values():
            journey._delivery.bring = self.bring  # type: ignore[method-assign]
            journey._delivery.bring_inputs = self.bring_inputs  # type: ignore[method-assign]
            journey._delivery.bring_source = lambda *_: None  # type: ignore[method-assign]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def build(self, sha: str, configurations: Mapping[str, str]) -> Iterator[tuple[str, System]]:
        assert sha == SHA
        for host, configuration in configurations.items():
            if self.error and self.error.configuration in {"", configuration}:
                raise self.error
            yield configuration, TWO[host]
            assert not self.is_slow or self.arrived[TWO[host].toplevel].wait(60)

    def bring(self, system: System, stock: Stock) -> tuple[int, int]:
        assert stock.label == "the runner"
        assert not changes(self.drive)
        self.brought.append(system.toplevel)
        self.arrived[system.toplevel].set()
        return (1, 2**20)

    def archive(self, source: Source) -> tuple[str, ...]:
        if self.error:
            raise self.error
        return tuple(each.name for each in source.inputs)

    def bring_inputs(self, paths: Sequence[str], stock: Stock) -> None:
        assert stock.label == "the runner"
        assert not changes(self.drive)
        self.brought += paths


def on_runner(folder: Path, *hosts: Host) -> Drive:
    return Drive(folder, *hosts, build=Build(on="runner"))


def test_what_the_runner_built_is_on_every_host_before_one_is_switched(tmp_path: Path) -> None:
    """Each host is told the very store path of its configuration."""
    drive = on_runner(tmp_path, *(hosts := [Host(name) for name in "ab"]))
    shop = FakeWorkshop(drive)
    drive.run()
    assert sorted(shop.brought) == sorted([TOPLEVEL, BEFORE])
    told = [[asked.values["SWITCHPROOF_BUILT"] for asked in host.asked if asked.verb == "converge"] for host in hosts]
    assert told == [[TOPLEVEL], [BEFORE]]


def test_a_system_is_copied_while_the_next_one_is_built(tmp_path: Path) -> None:
    """The second build goes on only when the first system has arrived."""
    drive = on_runner(tmp_path, Host("a"), Host("b"))
    shop = FakeWorkshop(drive)
    shop.is_slow = True
    drive.run()
    assert shop.brought == [TOPLEVEL, BEFORE]


def test_a_builder_that_is_not_reached_holds_up_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No host is asked anything then, and a wrong host key of the builder refuses the run as one of a host does."""

    def reach() -> None:
        raise HostKeyChanged("big", "it shows another key", "Look.")

    drive = on_runner(tmp_path, *(hosts := [Host(name) for name in "ab"]))
    monkeypatch.setattr(drive.fleet._supply._site, "reach", reach)
    assert set(drive.run().values()) == {HostState.UNCHANGED}
    assert [host.asked for host in hosts] == [[], []]
    assert isinstance(drive.fleet.refusal, HostKeyChanged)


def test_a_host_that_builds_its_own_system_is_told_no_store_path(tmp_path: Path) -> None:
    """Nothing is built or brought then."""
    drive = Drive(tmp_path, host := Host("a"))
    shop = FakeWorkshop(drive)
    drive.run()
    assert shop.brought == []
    assert [asked.values["SWITCHPROOF_BUILT"] for asked in host.asked if asked.verb == "converge"] == [""]


def with_source(folder: Path, *inputs: str) -> Drive:
    """A deploy to two hosts of a commit that the runner sends."""
    source = Source(folder, SHA, inputs=tuple(Input(name, "git+ssh://x/y", is_private=True) for name in inputs))
    return Drive(folder, Host("a"), Host("b"), source=source)


def test_inputs_of_a_flake_are_on_every_host_before_one_builds(tmp_path: Path) -> None:
    """The runner fetches them once; a flake without inputs is not looked at there."""
    drive = with_source(tmp_path, "priv")
    shop = FakeWorkshop(drive)
    assert set(drive.run().values()) == {HostState.CONVERGED}
    assert shop.brought == ["priv", "priv"]
    without = with_source(tmp_path / "without")
    FakeWorkshop(without, BuildFailed("it was asked"))
    assert set(without.run().values()) == {HostState.CONVERGED}


def test_no_host_changes_when_the_runner_cannot_fetch_an_input(tmp_path: Path) -> None:
    """Each is held up by nix's words."""
    drive = with_source(tmp_path, "priv")
    FakeWorkshop(drive, BuildFailed("Permission denied"))
    assert drive.run() == {"a": HostState.UNCHANGED, "b": HostState.UNCHANGED}
    assert not changes(drive)
    for host in "ab":
        with pytest.raises(BuildFailed, match="Permission denied"):
            drive.fleet.convergence(host, "forward")


@pytest.mark.parametrize(("bad", "good"), ["ab", "ba"])
def test_no_host_changes_when_the_runner_cannot_build_for_one(tmp_path: Path, bad: str, good: str) -> None:
    """Hosts of that configuration fail as if they had built it themselves; others were held up, with their copy."""
    drive = on_runner(tmp_path, Host("a"), Host("b"))
    log = "error: builder for '/nix/store/x.drv' failed"
    shop = FakeWorkshop(drive, BuildFailed("nix could not build it", configuration=f"choiros-{bad}", log=log))
    assert drive.run() == {"a": HostState.UNCHANGED, "b": HostState.UNCHANGED}
    assert not changes(drive)
    assert shop.brought == ([TWO["a"].toplevel] if bad == "b" else [])
    assert drive.fleet.convergence(bad, "forward").ending is Ending.BUILD_FAILED
    with pytest.raises(Inconclusive, match=f"not started, because host {bad} was not ready"):
        drive.fleet.convergence(good, "forward")
