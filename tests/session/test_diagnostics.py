"""What of a host's diagnostics stands with a check that did not pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from switchproof.collection.items import Place
from switchproof.deploy.providers import load
from switchproof.deploy.settings import TARGETS
from switchproof.session.diagnostics import evidence_of, last_words

TARGET = load(TARGETS / "lab.toml", {}, ())
HOST = Place("a", "forward", None)
BEGINNING = "2026-11-27T23:25:43.929946+00:00 a"
ENDING = [
    f"{BEGINNING} systemd[1]: report.service: Main process exited, code=exited, status=1/FAILURE",
    f"{BEGINNING} systemd[1]: report.service: Failed with result 'exit-code'.",
    f"{BEGINNING} systemd[1]: Failed to start report.service - Report.",
]
MESSAGE = "report.service failed in the switch"


@pytest.mark.parametrize(
    ("program", "quoted"),
    [(["reads", "ls: /var/lib/report: No such file or directory"], 1), ([], 0)],
    ids=["program-that-speaks", "silent-program"],
)
def test_program_has_its_say_before_systemd(program: list[str], quoted: int, tmp_path: Path) -> None:
    """Systemd's three lines about a failed unit do not push out the one in which the program says why it failed."""
    said = [f"{BEGINNING} ls[7]: {line}" for line in program]
    begun = f"{BEGINNING} systemd[1]: Starting report.service - Report..."
    (tmp_path / "journal.txt").write_text("\n".join([begun, *said, *ENDING]), encoding="utf-8")
    words = last_words(HOST, TARGET, {"journal/report.service": "journal.txt"}, tmp_path, MESSAGE)
    expected = [*said[len(said) - quoted :], *ENDING]
    assert words == "\n".join(["", "the last words of report.service:", *(f"  {line}" for line in expected)])


def test_journals_of_the_units_that_a_message_names_are_its_evidence() -> None:
    """A check of the whole host leads to the journal and state of the failed unit, and to no other unit's."""
    kinds = ("journal", "status", "show")
    units = ("report.service", "other.service", "hypervisor.service")
    parts = {f"{kind}/{unit}": f"{kind}/{unit}.txt" for kind in kinds for unit in units}
    parts |= {"failed-units": "failed-units.txt", "sockets": "sockets.txt"}
    assert set(evidence_of(HOST, TARGET, parts, f"{MESSAGE}; hypervisor.service was started")) == {
        "journal/report.service.txt",
        "status/report.service.txt",
        "failed-units.txt",
    }
