"""The record says with which nix hosts built their own systems, and whether those of one configuration built one."""

from __future__ import annotations

from pathlib import Path

from switchproof.deploy.plan import Mode
from switchproof.deploy.record.events import Noted, Warned
from switchproof.deploy.run.own_builds import OwnBuild, compare
from tests.answers import TOPLEVEL
from tests.run.drives import Drive
from tests.run.hosts import ROOM, Host, Turn

ONE, OTHER = f"/nix/store/{'a' * 32}-nixos-system", f"/nix/store/{'b' * 32}-nixos-system"


def build(
    host: str, toplevel: str = ONE, *, configuration: str = "web", special: str = "", nix: str = ""
) -> OwnBuild:
    return OwnBuild(host, configuration, special, toplevel, nix or "nix (Nix) 2.26.3")


def told(*builds: OwnBuild) -> tuple[str, dict[str, str]]:
    """Return the note, and the warnings by host."""
    note, *warnings = compare(builds)
    assert isinstance(note, Noted)
    assert note.host is None
    return note.text, {event.host: event.text for event in warnings if isinstance(event, Warned)}


def test_hosts_that_built_one_system_are_said_to() -> None:
    """Each nix is named, with its hosts."""
    note, warnings = told(build("a"), build("b"), build("c", nix="nix (Lix, like Nix) 2.93.0"))
    assert note == (
        "Hosts built their own systems: a, b with nix (Nix) 2.26.3; c with nix (Lix, like Nix) 2.93.0. "
        "Hosts of one configuration built one system."
    )
    assert not warnings


def test_a_host_that_built_another_system_is_warned_about() -> None:
    """It names both systems and both hosts, and the way out; nothing is claimed of the others."""
    note, warnings = told(build("a"), build("b", OTHER), build("c"))
    assert note == "Hosts built their own systems: a, b, c with nix (Nix) 2.26.3."
    assert list(warnings) == ["b"]
    said = (
        f"The host built {OTHER}, but a built {ONE} from the same commit and configuration (web): something outside"
    )
    assert warnings["b"].startswith(said)
    assert "--build=runner" in warnings["b"]


def test_hosts_of_other_configurations_and_specialisations_may_differ() -> None:
    """Where no two hosts have one system in common, nothing is said of that."""
    note, warnings = told(build("a"), build("b", OTHER, configuration="db"), build("c", OTHER, special="repair"))
    assert note == "Hosts built their own systems: a, b, c with nix (Nix) 2.26.3."
    assert not warnings


def test_many_hosts_are_counted_and_none_are_not_mentioned() -> None:
    """A note stays short; a run in which nobody built says nothing."""
    assert told(*(build(f"h{number}") for number in range(9)))[0].startswith("Hosts built their own systems: 9 hosts")
    assert list(compare([])) == []


def test_a_host_that_was_deployed_to_says_what_it_built(tmp_path: Path) -> None:
    """With its own nix; a host that went back to an earlier system, or got one from elsewhere, built none."""
    drive = Drive(tmp_path, Host("a", turns={"resolve": [Turn(says={"room": ROOM})]}))
    drive.run()
    journey = drive.fleet.journeys["a"]
    assert journey.own_build == OwnBuild("a", "choiros-a", "", TOPLEVEL, "nix (Nix) 2.26.3")
    journey.built = TOPLEVEL
    assert journey.own_build is None
    back = Drive(tmp_path / "back", Host("a"), mode=Mode.ROLLBACK)
    back.run()
    assert "forward" in back.fleet.journeys["a"].convergences
    assert back.fleet.journeys["a"].own_build is None
