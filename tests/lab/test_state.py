"""What is written down about a lab is enough to find it again, and only it."""

import os
import subprocess
from ipaddress import IPv4Network
from pathlib import Path

import msgspec
import pytest

from switchproof.deploy.errors import UsageError
from switchproof.deploy.providers.lab import mounts, network, state
from switchproof.deploy.providers.lab.__main__ import _parser
from switchproof.deploy.providers.lab.errors import LabError, LabMisused
from switchproof.deploy.providers.lab.lab import Lab
from switchproof.deploy.providers.lab.state import Accelerator, LabState, Owner


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def _lab(owner: Owner, *, keep: bool = False, complete: bool = True, boot_id: str | None = None) -> LabState:
    host = state.host_state("lab", "a", IPv4Network("10.213.0.0/30"))
    return LabState("lab", "ovh", "image-0", 0.0, owner, boot_id or state.boot_id(), (host,), keep, complete)


DEAD = Owner(os.getpid(), 1)  # our number, but a process that started with the machine


def test_a_lab_is_read_as_it_was_written() -> None:
    """Nothing is lost on the way to the disk and back."""
    lab = _lab(Owner.this_process(), keep=True)
    lab.folder.mkdir(parents=True)
    lab.write()
    assert state.read("lab") == lab
    assert list(state.every()) == [lab]


def test_a_lab_that_is_not_up_is_answered_with_those_that_are() -> None:
    """Whoever forgot `--name` reads which labs are up; one of a session is not offered."""
    _write(_lab(DEAD, keep=True))
    _write(msgspec.structs.replace(_lab(Owner.this_process()), name="session"))
    assert state.others(state.DEFAULT) == " Up are: lab; choose one with --name."
    assert state.others("lab") == ""
    with pytest.raises(LabMisused, match=r"`switchproof lab up`\. Up are: lab; choose one with --name\.$"):
        Lab.attach()
    with pytest.raises(LabMisused, match=r"`switchproof lab up --name other`\. Up are: lab;"):
        Lab.attach("other")


def _write(lab: LabState) -> None:
    lab.folder.mkdir(parents=True)
    lab.write()


def test_an_unreadable_file_is_told_by_name() -> None:
    """A damaged file is an error that names it, not an absent lab."""
    lab = _lab(DEAD)
    lab.folder.mkdir(parents=True)
    (lab.folder / state.FILE).write_text("{")
    with pytest.raises(LabError, match=r"lab\.json"):
        state.read("lab")


@pytest.mark.parametrize(
    ("lab", "stale"),
    [
        (_lab(Owner.this_process()), False),
        (_lab(DEAD), True),
        (_lab(DEAD, keep=True), False),
        (_lab(DEAD, keep=True, complete=False), True),
        (_lab(Owner.this_process(), boot_id="another"), True),
    ],
    ids=["owner lives", "owner died", "kept", "kept but never complete", "machine booted since"],
)
def test_a_lab_is_stale_when_nobody_can_want_it(lab: LabState, stale: bool) -> None:
    """A reused process number does not keep a lab, and being kept only counts once it is up."""
    assert lab.stale() is stale


def test_an_ended_process_is_not_alive_before_it_is_reaped() -> None:
    """A zombie owns nothing."""
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert state.start_ticks(child.pid) is None
    child.wait()


def test_a_lab_from_before_there_were_microvms_is_still_read() -> None:
    """A file without a word about the sandboxes is of a lab of processes, and can be taken away."""
    lab = _lab(DEAD)
    lab.folder.mkdir(parents=True)
    written = msgspec.json.decode(msgspec.json.encode(lab))
    del written["runtime"], written["accelerator"]
    (lab.folder / state.FILE).write_bytes(msgspec.json.encode(written))
    assert state.read("lab") == lab
    assert lab.machinery == "netns"


@pytest.mark.parametrize("accelerator", ["tcg", "kvm"])
def test_a_host_is_told_what_its_machines_run_with(accelerator: Accelerator) -> None:
    """A microVM's word is its accelerator; each kind is told apart for people, too."""
    lab = msgspec.structs.replace(_lab(DEAD), runtime="microvm", accelerator=accelerator)
    assert lab.machinery == accelerator
    assert lab.runtime_text != _lab(DEAD).runtime_text


def test_interfaces_fit_the_kernel() -> None:
    """The longest names make interfaces of at most 15 and machine names of at most 64 characters."""
    host = state.host_state("l" * 24, "h" * 12, IPv4Network("10.213.0.0/30"))
    assert len(host.cable.interface) <= 15
    assert len(host.machine) <= 64


@pytest.mark.parametrize("name", ["", "A", "../up", "-a", "a" * 25, "a.b", "a b"])
def test_names_that_would_not_do_are_refused(name: str) -> None:
    """A lab's name is safe as a folder, a machine name and an argument."""
    with pytest.raises(LabError, match="cannot name a lab"):
        state.check_names(name, ("a",))


def test_a_subnet_is_free() -> None:
    """A chosen subnet overlaps no address and no route of this machine."""
    occupied = [IPv4Network("10.213.0.0/29"), IPv4Network("10.213.0.12/32")]
    chosen = network.choose_subnets(2, occupied)
    assert chosen == [IPv4Network("10.213.0.8/30"), IPv4Network("10.213.0.16/30")]


def test_a_route_to_all_of_a_range_moves_the_lab_to_the_next() -> None:
    """A company's 10.0.0.0/8 is left alone; a tunnel's half of the internet is no neighbour."""
    chosen = network.choose_subnets(1, [IPv4Network("10.0.0.0/8"), IPv4Network("128.0.0.0/1")])
    assert chosen == [IPv4Network("172.30.0.0/30")]


def test_labs_of_two_caches_take_different_subnets() -> None:
    """Neither cache knows the labs of the other, and a host that restarts has no address that one could avoid."""
    chosen = [
        subnet
        for cache in ("/root/.cache", "/srv/ci", "/home/ada/.cache")
        for subnet in network.choose_subnets(16, (), network.place(Path(cache, "switchproof", "labs")))
    ]
    assert len(chosen) == len(set(chosen))


def test_the_search_for_a_subnet_begins_again_at_the_first() -> None:
    """A cache whose place is near the end of a range has all of the range."""
    last = network.RANGES[0].num_addresses // 4 - 1
    chosen = network.choose_subnets(2, (), last)
    assert chosen == [IPv4Network("10.213.255.252/30"), IPv4Network("10.213.0.0/30")]


def test_no_free_subnet_is_an_error() -> None:
    """When routes cover every range the message names the ranges."""
    with pytest.raises(LabError, match=r"10\.213\.0\.0/16"):
        network.choose_subnets(1, network.RANGES)


def test_mount_points_are_read_with_blanks() -> None:
    """The kernel's octal blanks are undone, and optional fields do not shift the type."""
    table = r"36 35 0:50 / /a\040b rw,relatime shared:1 master:2 - cgroup cgroup rw,xattr,name=systemd"
    assert mounts.mount_points(table) == [(Path("/a b"), "cgroup", "rw,xattr,name=systemd")]


def test_a_symbolic_link_is_not_deleted_through(tmp_path: Path) -> None:
    """Deleting stops at a link instead of following it."""
    (tmp_path / "kept").mkdir()
    (tmp_path / "link").symlink_to("kept")
    with pytest.raises(LabError, match="symbolic link"):
        mounts.delete(tmp_path / "link")
    assert (tmp_path / "kept").is_dir()


def test_the_environment_names_the_lab(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lab's command line means the lab that a session would use, unless it is given another."""
    monkeypatch.setenv(state.VARIABLE, "mine")
    assert [_parser().parse_args(words).name for words in (["down"], ["down", "--name=other"])] == ["mine", "other"]
    monkeypatch.delenv(state.VARIABLE)
    assert _parser().parse_args(["down"]).name == "default"


def test_the_environment_names_the_release_of_labs_made_without_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    """The project's own tests run on another release so; one that the lab does not have is refused by name."""
    monkeypatch.delenv(state.SUITE_VARIABLE, raising=False)
    assert state.default_suite() == "trixie"
    monkeypatch.setenv(state.SUITE_VARIABLE, "forky")
    assert state.default_suite() == "forky"
    monkeypatch.setenv(state.SUITE_VARIABLE, "sid")
    with pytest.raises(UsageError, match="SWITCHPROOF_LAB_SUITE=sid: the lab has no such release"):
        state.default_suite()
