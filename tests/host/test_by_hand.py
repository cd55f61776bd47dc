"""A person deploys with the script on the host, and reads what it prints."""

from __future__ import annotations

import re

import pytest

from switchproof.deploy.providers.lab.host import LabHost
from tests.host.hands import (
    by_hand,
    commit,
    hold,
    inside,
    runs,
)

pytestmark = pytest.mark.lab


def clauses(output: str) -> list[str]:
    """The clauses and their verdicts, in the order in which they were printed."""
    found = re.findall(r"^(revision|converge|hypervisor|runtime|diagnostics) +(\w+)", output, re.MULTILINE)
    return [f"{clause} {verdict}" for clause, verdict in found]


def test_a_person_deploys(machine: LabHost) -> None:
    """By hand a good revision passes the five clauses in order and exits 0, and what was not judged is named."""
    status, output = by_hand(machine, "deploy", RELEASE_SHA="main")
    assert status == 0, output
    assert clauses(output) == [
        "revision passed",
        "converge passed",
        "hypervisor passed",
        "runtime passed",
        "runtime passed",
        "diagnostics passed",
    ]
    assert f"revision     passed  {commit(machine, 'main')} Release v2" in output
    assert output.splitlines()[-2].startswith("not judged   by hand: what boots next, ")
    assert output.splitlines()[-1].startswith("held         the clauses that are judged by hand; ")
    assert runs(machine) == commit(machine, "main")
    assert inside(machine, "ls /run/switchproof") == ""


@pytest.mark.long
def test_a_person_s_broken_deploy_and_the_way_back(machine: LabHost) -> None:
    """A dead workload exits 1 with diagnostics, and the command for the way back brings the earlier system back."""
    was = inside(machine, "readlink -e /run/current-system")
    status, output = by_hand(machine, "deploy", RELEASE_SHA="broken/dev-workload-dead", READY_S="1")
    assert status == 1, output
    assert clauses(output) == [
        "revision passed",
        "converge passed",
        "hypervisor passed",
        "runtime passed",
        "runtime FAILED",
        "diagnostics passed",
    ]
    assert "runtime      FAILED  dev: " in output
    assert "sandbox dev waits for its volume" in output
    assert inside(machine, "ls /run/switchproof") == ""
    command = output[output.index("to go back: ") :].splitlines()[0].removeprefix("to go back: ")
    hold(machine, "somebody-else")
    assert "somebody-else" in inside(machine, f"{command} 2>&1 || true")
    assert inside(machine, "readlink -e /run/current-system") != was
    inside(machine, "rm -r /run/switchproof/lock")
    inside(machine, command)
    assert inside(machine, "readlink -e /run/current-system /nix/var/nix/profiles/system").split() == [was, was]
    assert inside(machine, "ls /run/switchproof") == ""


def test_a_person_s_deploy_that_does_not_evaluate(machine: LabHost) -> None:
    """What cannot be evaluated fails `converge` in Nix's words, blocks the rest, exits 1 and changes nothing."""
    was = inside(machine, "readlink -e /run/current-system /nix/var/nix/profiles/system")
    status, output = by_hand(machine, "deploy", RELEASE_SHA="broken/evaluation-error")
    assert status == 1, output
    assert "attribute 'verison' missing" in output
    assert [*clauses(output)[:5]] == [
        "revision passed",
        "converge FAILED",
        "hypervisor blocked",
        "runtime blocked",
        "runtime blocked",
    ]
    assert clauses(output)[-1] == "diagnostics passed"
    assert inside(machine, "readlink -e /run/current-system /nix/var/nix/profiles/system") == was


@pytest.mark.parametrize("revision", ["no-such-branch", "both", "a b", ""])
def test_a_person_s_revision_that_cannot_be_had(machine: LabHost, revision: str) -> None:
    """A revision that is missing, ambiguous or malformed exits 4 and leaves no lock."""
    status, output = by_hand(machine, "deploy", RELEASE_SHA=revision)
    assert status == 4, output
    assert clauses(output) == ["revision FAILED"]
    assert inside(machine, "ls /run/switchproof 2>/dev/null || true") == ""


def test_an_unknown_verb_says_how_it_is_used(machine: LabHost) -> None:
    """Without a verb, or with one that there is not, the script says how it is used and exits 64."""
    status, output = by_hand(machine, "destroy")
    assert status == 64
    assert "host-switch.sh deploy" in output


def test_a_person_reads_text(machine: LabHost) -> None:
    """By hand, each verb that looks prints lines for people: what runs, who holds the host, what is healthy."""
    hold(machine, "reader")
    top = inside(machine, "readlink -e /run/current-system")
    told = {verb: by_hand(machine, verb) for verb in ("status", "generations", "observe", "diagnose")}
    for status, output in told.values():
        assert status == 0, output
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\x80-\x9f]", output), output
    assert f"runs         {top} (" in told["status"][1]
    assert re.search(
        r"^lock +Ada on build-7, run reader, since \S+; it expires in \d+ s", told["status"][1], re.MULTILINE
    )
    assert re.search(rf"^ +\d+  20\S+Z  [0-9a-f]{{40}}  {top}  \(current\)$", told["generations"][1], re.MULTILINE)
    for name in ("hypervisor", "live", "dev"):
        assert re.search(rf"^{name} +healthy$", told["observe"][1], re.MULTILINE), told["observe"][1]
    assert "==== journal/hypervisor.service ====" in told["diagnose"][1]


def test_a_person_who_names_no_revision_is_told(machine: LabHost) -> None:
    """Without RELEASE_SHA nothing is touched, and what to set is said."""
    status, output = by_hand(machine, "deploy")
    assert (status, "set RELEASE_SHA to a commit, a branch or a tag" in output) == (4, True)
    assert by_hand(machine, "converge")[0] == 1
    assert inside(machine, "ls /run/switchproof") == ""
