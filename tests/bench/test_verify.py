"""What the benchmark of audits prepares for its peers, and how often it runs whom on which ground."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from bench import verify
from bench.contenders import Contender, Sample
from bench.ground import Ground, Size, grounds
from switchproof.deploy.providers.lab.lab import Lab

PIP = """#!/bin/sh
if [ -n "$PIP_CONSTRAINT" ]; then echo "ResolutionImpossible" >&2; exit 1; fi
touch "${0%/*}/pyinfra"
"""


def test_pyinfra_is_installed_by_its_own_needs_where_the_surroundings_constrain_pip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CI constrains pip to our locked versions, and pyinfra asks for an older paramiko than they hold."""

    def create(folder: Path, **_: object) -> None:
        pip = folder / "bin" / "pip"
        pip.parent.mkdir(parents=True)
        pip.write_text(PIP)
        pip.chmod(0o755)

    monkeypatch.setattr("venv.create", create)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PIP_CONSTRAINT", str(tmp_path / "requirements.lock"))
    assert verify.own_pyinfra().exists()


class Counting(Contender):
    """A contender that does nothing but count."""

    def __init__(self, name: str, *, slow: bool) -> None:
        self.name, self.slow = name, slow
        self.runs = 0

    def run(self, ground: Ground) -> Sample:
        """See `Contender.run`."""
        del ground
        self.runs += 1
        return Sample(1.0)


def test_slow_contender_runs_one_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everybody else runs in every round, and the sample has what the hosts used meanwhile."""
    used_s = iter(range(100))
    monkeypatch.setattr(verify, "hosts_processor_s", lambda *_: float(next(used_s)))
    monkeypatch.setattr(verify, "PAUSE_S", 0.0)
    where = Ground((), 0.0, tmp_path / "key", tmp_path)
    quick, slow = Counting("quick", slow=False), Counting("slow", slow=True)
    series = [verify.Series(where, quick), verify.Series(where, slow)]
    measured = verify.measure(cast("Lab", None), series, 3, warm_up=False)
    assert (quick.runs, slow.runs) == (3, 1)
    assert [each.hosts_s for each in measured] == [1.0, 1.0]


def test_every_aim_has_its_ground() -> None:
    """One and eight hosts stand at all three distances, forty where that fits."""
    sizes = [Size.from_arg(text) for text in verify.GROUNDS.split(",")]
    few = {Size(hosts, round_trip_s) for hosts in (1, 8) for round_trip_s in (0.0, 0.04, 0.15)}
    assert set(sizes) == few | {Size(40, 0.0), Size(40, 0.04)}
    assert {Size.from_arg(text) for text in verify.SLOW_GROUNDS.split(",")} <= few


def test_ground_of_more_hosts_than_the_lab_has_is_refused(tmp_path: Path) -> None:
    """A table never says 40 hosts where 8 were asked."""

    class Small:
        name, hosts = "p8", dict.fromkeys(("h1", "h2"))

    with (
        pytest.raises(RuntimeError, match="the lab p8 has 2 hosts, and a ground of 40 is asked for"),
        grounds(cast("Lab", Small()), [Size(1, 0.0), Size(40, 0.0)], tmp_path),
    ):
        pass
