"""`switchproof lab logs` of a unit tells a silent unit from one that the host does not have."""

from __future__ import annotations

from subprocess import CompletedProcess
from types import SimpleNamespace

import pytest

from switchproof.deploy.providers.lab import __main__ as command
from switchproof.deploy.providers.lab import preflight
from switchproof.deploy.providers.lab.lab import Lab


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The units of a host without any log, each with its load state."""
    units: dict[str, str] = {}

    def run(words: list[str], *, timeout_s: float) -> CompletedProcess[str]:
        assert timeout_s > 0
        said = "" if words[0] == "journalctl" else f"{units.get(words[-1], 'not-found')}\n"
        return CompletedProcess(words, 0, said, "")

    lab = SimpleNamespace(name="default", hosts={"a": SimpleNamespace(name="a", run=run)})
    monkeypatch.setattr(preflight, "require", lambda: None)
    monkeypatch.setattr(Lab, "attach", lambda _: lab)
    return units


def test_a_unit_that_the_host_does_not_have_is_refused(
    known: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    known["web.service"] = "loaded"
    assert command.main(["logs", "a", "nope.service"]) == 4
    shown = capsys.readouterr()
    assert (shown.out, "Host a has no unit 'nope.service'" in shown.err) == ("", True)


def test_a_unit_that_only_has_not_logged_is_named(known: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    known["web.service"] = "loaded"
    assert command.main(["logs", "a", "web.service"]) == 0
    assert "web.service of host a has not logged anything" in capsys.readouterr().err


@pytest.mark.usefixtures("known")
def test_a_host_that_the_lab_does_not_have_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["logs", "x"]) == 4
    assert "has no host 'x'; it has a." in capsys.readouterr().err
