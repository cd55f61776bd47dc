"""Every fault of the lab has a name, a description and a mechanism, and is refused where it cannot be."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from switchproof.deploy.providers.lab import faults, recipe
from switchproof.deploy.providers.lab.errors import LabError
from switchproof.deploy.providers.lab.faults import CONTAINER_FAULTS, FAULTS, Fault, break_host, faults_of, find
from switchproof.deploy.providers.lab.kinds import Shape

PAGE = (Path(__file__).parents[2] / "docs" / "lab.md").read_text(encoding="utf-8")


class Recorded(SimpleNamespace):
    """A host that notes what it is told to run."""

    def run(self, argv: list[str], **_: Any) -> SimpleNamespace:
        self.commands.append(argv[1:])
        return SimpleNamespace(returncode=self.status, stderr="no such luck\n")


def host(runtime: str = "microvm", status: int = 0, shape: str = "ovh") -> Any:
    return Recorded(name="a", runtime=runtime, status=status, shape=shape, commands=[])


def words(program: str) -> list[str]:
    """The faults that a program on the host can make."""
    text = (recipe.TREES[1] / program.lstrip("/")).read_text(encoding="utf-8")
    apply = text.partition("apply() {")[2].partition("\n}\n")[0]
    labels = re.findall(r"^  ([a-z0-9| -]+)\) ", apply, re.MULTILINE)
    return sorted(name for label in labels for name in label.split(" | "))


@pytest.mark.parametrize("shape", ["ovh", "aws"])
def test_a_name_is_one_fault(shape: Shape) -> None:
    """No two faults of a shape share a name or a case, so that whoever sees one knows which it was."""
    listed = faults_of(shape)
    assert len({fault.name for fault in listed}) == len({fault.case for fault in listed}) == len(listed)
    assert all(find(fault.name, shape) is fault for fault in listed)


@pytest.mark.parametrize(("shape", "program"), [("ovh", faults.PROGRAM), ("aws", faults.CONTAINER_PROGRAM)])
def test_the_host_s_program_knows_every_fault_and_no_other(shape: Shape, program: str) -> None:
    """What the table names is what the program on the host can do."""
    assert words(program) == sorted(fault.name for fault in faults_of(shape))


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_documented(fault: Fault) -> None:
    """The lab's page says what is done, what it should be called, and whether it needs a microVM."""
    needed = "needed" if fault.machine else ""
    assert f"| `{fault.name}` | {fault.about} | {fault.case} | {needed} |\n" in PAGE


@pytest.mark.parametrize("fault", CONTAINER_FAULTS, ids=lambda fault: fault.name)
def test_a_fault_of_containers_is_documented(fault: Fault) -> None:
    """The lab's page says what is done and what it should be called."""
    assert f"| `{fault.name}` | {fault.about} | {fault.expected_report} |\n" in PAGE


def test_a_container_is_broken_by_its_own_program() -> None:
    """Hosts of the shape `aws` have faults of their own, and refuse those of machines by name."""
    containers = host("netns", shape="aws")
    break_host(containers, "container-down")
    assert containers.commands == [["break", "container-down", "live"]]
    with pytest.raises(LabError, match=r"no fault 'paused' of the shape aws; there are killed, .*, no-curl\."):
        break_host(containers, "paused")


def test_an_unknown_fault_or_unit_is_refused() -> None:
    """The refusal names those that there are."""
    with pytest.raises(LabError, match="no fault 'rusty' of the shape ovh; there are killed, "):
        break_host(host(), "rusty")
    with pytest.raises(LabError, match="no unit 'test' on a lab host; there are live, dev"):
        break_host(host(), "killed", "test")


def test_a_process_is_not_broken_as_a_machine() -> None:
    """A lab of processes refuses what only a microVM can have, and takes the rest."""
    processes = host("netns")
    for fault in FAULTS:
        if fault.machine:
            with pytest.raises(LabError, match=r"needs a microVM.*--runtime=microvm"):
                break_host(processes, fault.name)
        else:
            break_host(processes, fault.name, "dev")
    assert processes.commands == [["break", fault.name, "dev"] for fault in FAULTS if not fault.machine]


def test_a_fault_that_could_not_be_made_is_told() -> None:
    """What the host said stands in the error."""
    with pytest.raises(LabError, match="`fault break hang live` failed on host a:\nno such luck"):
        break_host(host(status=1), "hang")
