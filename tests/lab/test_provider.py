"""A session takes the lab that is up, unless it was asked for sandboxes of the other kind."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from switchproof.deploy.errors import UsageError
from switchproof.deploy.providers import load
from switchproof.deploy.providers.lab import provider
from switchproof.deploy.providers.lab.errors import HostFailedError, LabError, LabUnavailable
from switchproof.deploy.providers.lab.kinds import Runtime
from switchproof.deploy.providers.lab.lab import Lab
from switchproof.deploy.providers.lab.provider import LabProvider
from switchproof.deploy.providers.lab.real import Program, RealPrograms
from switchproof.deploy.settings import TARGETS

TARGET = load(TARGETS / "lab.toml", {})
GIVEN = Program("/somewhere/stc", "abc")


@pytest.fixture(autouse=True)
def _up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lab of processes that is up."""
    host = SimpleNamespace(address="10.213.0.2", port=22, user="root", host_key="key")
    state = SimpleNamespace(
        runtime="netns", shape="ovh", runtime_text="processes", suite="trixie", programs=RealPrograms(switch=GIVEN)
    )
    lab = SimpleNamespace(name="default", state=state, hosts={"a": host, "b": host}, identity_file="/id")
    monkeypatch.setattr(provider, "_already_up", lambda _: lab)
    monkeypatch.setattr(provider, "_over_ssh", lambda *_: None)


@pytest.mark.parametrize("runtime", [None, "netns"])
def test_the_lab_that_is_up_is_used_and_told(runtime: Runtime | None) -> None:
    """Without a wish, or with the right one, the session says which lab it uses and what its sandboxes are."""
    said: list[str] = []
    LabProvider(TARGET, keep=False, runtime=runtime, say=said.append, emulated=lambda *_: None).close()
    assert said == ["Using the running lab 'default', with processes."]


def test_a_lab_of_the_other_kind_is_refused() -> None:
    """The refusal names the option, the lab and what it has."""
    with pytest.raises(UsageError, match=r"--lab-runtime=microvm: the running lab 'default' has processes"):
        LabProvider(TARGET, keep=False, runtime="microvm", say=lambda _: None, emulated=lambda *_: None)


def test_a_lab_with_other_programs_is_refused(tmp_path: Path) -> None:
    """A suite or a program that the hosts of the lab do not run is refused, and what they run is named."""
    program = tmp_path / "nixos-rebuild"
    program.write_text("#!/bin/sh\n")
    refused: dict[str, dict[str, Any]] = {
        "the running lab 'default' run Debian trixie": {"suite": "forky"},
        "the running lab 'default' run a stand-in instead": {"nixos_rebuild": str(program)},
        r"the running lab 'default' run stc \(SHA-256 abc\) instead": {"switch": str(program)},
    }
    for words, options in refused.items():
        with pytest.raises(UsageError, match=words):
            LabProvider(TARGET, keep=False, **options, say=lambda _: None, emulated=lambda *_: None)


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (
            HostFailedError("Host a stopped during its start.\nunshare: cannot change root filesystem propagation"),
            "the lab cannot start hosts here",
            "The lab cannot start hosts here. Host a stopped during its start.\nunshare: .*\ndocs/lab.md lists",
        ),
        (
            LabUnavailable("The lab needs root, because it mounts and boots hosts: run the same command as root."),
            "the lab cannot start hosts here",
            r"The lab cannot start hosts here. The lab needs root.* as root\.$",
        ),
        (LabError("'A' cannot name a lab host"), UsageError.refused, "--provider=lab: 'A' cannot name a lab host$"),
    ],
)
def test_a_lab_that_cannot_start_says_so(
    error: LabError, kind: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The refusal says that hosts cannot be started here, why and what would help; it is no wrong option."""

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(provider, "_already_up", lambda _: None)
    monkeypatch.setattr(Lab, "up", fail)
    with pytest.raises(UsageError, match=words) as raised:
        LabProvider(TARGET, keep=False, say=lambda _: None, emulated=lambda *_: None)
    assert raised.value.refused == kind


def test_a_record_names_what_stands_in_for_what() -> None:
    """Stand-ins, given programs, the suite and the sandboxes are told beside what no lab does."""
    state: Any = SimpleNamespace(suite="forky", runtime_text="processes", programs=RealPrograms(switch=GIVEN))
    lines = provider.not_modelled(state)
    assert lines[-3:] == (
        "switch-to-configuration is the program that the lab was given: stc (SHA-256 abc)",
        "hosts run Debian forky",
        "sandboxes are processes",
    )
    assert lines[-4].startswith("nixos-rebuild is a stand-in")
