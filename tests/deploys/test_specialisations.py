"""Deploys of a specialisation: the profile keeps the system itself, which boots, and its specialisation runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from switchproof.deploy.contract import Clause, HostState
from switchproof.deploy.providers.lab.lab import Lab
from tests.deploys.sessions import Ended, session, target_file
from tests.labs import own

pytestmark = [pytest.mark.lab, pytest.mark.long]

LINKS = "readlink -f /run/current-system /nix/var/nix/profiles/system"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """One host."""
    with Lab.up(("a",), name=own("special"), runtime="netns") as lab:
        yield lab


@dataclass(frozen=True)
class Place:
    """The host, and runs whose target file names a specialisation of it."""

    lab: Lab
    folder: Path

    def run(self, specialisation: str, *arguments: str) -> Ended:
        """Run to the end; an empty name asks for the system itself."""
        folder = self.folder / (specialisation or "itself")
        folder.mkdir(exist_ok=True)
        targets = target_file(folder, ["a"])
        key = f'specialisation = "{specialisation}"\n' if specialisation else ""
        text = targets.read_text(encoding="utf-8").replace("[[hosts]]\n", f"[[hosts]]\n{key}", 1)
        targets.write_text(text, encoding="utf-8")
        options = ("--provider=lab", f"--targets={targets}", *arguments)
        return session(*options, runs=self.folder / "runs", lab=self.lab)

    @property
    def links(self) -> list[str]:
        """What runs, and the profile."""
        return self.inside(LINKS).split()

    @property
    def name(self) -> str:
        """The name under which the profile's system has what runs; empty if it does not."""
        special = "/nix/var/nix/profiles/system/specialisation"
        return self.inside(f"for s in {special}/*; do [ ! $s -ef /run/current-system ] || basename $s; done")

    @property
    def boots(self) -> str:
        """The system that the boot loader would start."""
        return self.lab.hosts["a"].boots()

    def inside(self, script: str) -> str:
        """Run a shell text on the host."""
        return self.lab.hosts["a"].run(["sh", "-c", script], timeout_s=60).stdout.strip()


@pytest.fixture
def place(lab: Lab, tmp_path: Path) -> Place:
    """The host in one test."""
    return Place(lab, tmp_path)


@pytest.fixture
def maintained(place: Place) -> Place:
    """The host, which runs the specialisation `maintenance`."""
    ended = place.run("maintenance", "--sha=specialised", "--soak=0")
    assert ended.status == 0, ended.output
    return place


def words(ended: Ended) -> str:
    return " ".join(ended.output.split())


def test_what_the_target_file_names_runs_and_the_system_itself_boots(maintained: Place) -> None:
    """A deploy and an audit are canonical; the record names what runs, and a plan of the same changes nothing."""
    runs, profile = maintained.links
    assert (maintained.name, maintained.boots) == ("maintenance", profile)
    audit = maintained.run("maintenance", "--audit")
    assert audit.status == 0, audit.output
    after = maintained.run("maintenance", "--sha=specialised", "--soak=0").record.host("a").after
    assert after is not None
    assert (after.toplevel, after.specialisation) == (runs, "maintenance")
    assert maintained.links == [runs, profile]


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ("", "the host runs the specialisation 'maintenance' of its system, and the target file names none"),
        ("repair", "the host runs the specialisation 'maintenance', not the specialisation 'repair'"),
    ],
)
def test_an_audit_says_which_specialisation_was_not_asked_for(maintained: Place, wanted: str, says: str) -> None:
    """Whoever switched to it by hand, or booted it, left a host that the target file does not describe."""
    audit = maintained.run(wanted, "--audit")
    assert audit.status == 1, audit.output
    assert says in words(audit)


def test_the_system_itself_in_place_of_its_specialisation_fails(maintained: Place) -> None:
    """An audit says so, and the next deploy brings the specialisation back."""
    maintained.inside("/nix/var/nix/profiles/system/bin/switch-to-configuration test")
    audit = maintained.run("maintenance", "--audit")
    assert audit.status == 1, audit.output
    assert "the host runs the system itself, not the specialisation 'maintenance'" in words(audit)
    assert maintained.run("maintenance", "--sha=specialised").status == 0
    assert maintained.name == "maintenance"


def test_one_that_fails_goes_back_to_the_one_before(maintained: Place) -> None:
    """What ran before was a specialisation itself: it runs again, and profile and boot default are as they were."""
    were = [*maintained.links, maintained.boots]
    ended = maintained.run("repair", "--sha=specialised")
    assert ended.status == 1, ended.output
    assert ended.record.host("a").state is HostState.ROLLED_BACK
    assert "maintenance.service failed in the switch" in words(ended)
    assert [*maintained.links, maintained.boots] == were


def test_a_name_that_the_system_does_not_have_is_refused_before_the_switch(maintained: Place) -> None:
    """One sentence names those that it has, and the host is unchanged."""
    were = maintained.links
    ended = maintained.run("nosuch", "--sha=specialised")
    assert ended.status == 1, ended.output
    assert ended.record.host("a").state is HostState.UNCHANGED
    assert "has no specialisation 'nosuch'; it has: maintenance repair; the host was not touched" in words(ended)
    (failed,) = ended.failed("a")
    assert failed.id == "converge/the-switch-ended-well"
    assert ended.clause("a", Clause.RUNTIME).verdict == "blocked"
    assert maintained.links == were


def test_a_rollback_and_a_drill_come_back_to_a_specialisation(maintained: Place) -> None:
    """From the next release to what the last canonical run left, with its profile; and twice in a drill."""
    were = [*maintained.links, maintained.boots]
    assert maintained.run("", "--sha=v3").status == 0
    back = maintained.run("", "--rollback")
    assert back.status == 0, back.output
    assert [*maintained.links, maintained.boots] == were
    drill = maintained.run("maintenance", "--sha=specialised", "--drill")
    assert drill.status == 0, drill.output
    assert [*maintained.links, maintained.boots] == were
