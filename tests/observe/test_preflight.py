"""What a host lacks before a deploy, from what it says of its disks, memory and clock."""

from __future__ import annotations

import shutil
from typing import get_args

import msgspec
import pytest

from switchproof.deploy.host.frame import Frame
from switchproof.deploy.observe.preflight import (
    Problem,
    find_clock_problems,
    find_room_problems,
    find_state_problems,
    read_readiness,
)
from switchproof.deploy.record.facts import Clock
from switchproof.deploy.target.types import Finding, Preflight
from tests.host_functions import run

MIB = 2**20
MEMORY = "MemAvailable:     900000 kB\nSwapFree:          0 kB\n"
LIMITS = Preflight(store_mib=1000, var_mib=100, boot_mib=50, inodes=5000, memory_mib=800)


def frame(*rows: str, memory: str = MEMORY) -> Frame:
    """An answer with the rows of df."""
    said = "File       Mounted on      Avail    IFree   Inodes\n" + "".join(f"{row}\n" for row in rows) + memory
    return Frame("resolve", {"room": said.encode()})


def problems(*rows: str, memory: str = MEMORY) -> dict[str, str]:
    return {found.finding: found.text for found in find_room_problems(frame(*rows, memory=memory), LIMITS)}


def row(place: str, mount: str, mib: int, inodes: str = "90000 100000") -> str:
    return f"{place} {mount} {mib * MIB} {inodes}"


def test_a_host_with_room_lacks_nothing() -> None:
    """Each limit may just be reached."""
    places = (row("/nix/store", "/nix", 1000), row("/var/lib", "/", 100), row("/boot", "/boot", 50, "0 0"))
    assert problems(*places, memory="MemAvailable: 409600 kB\nSwapFree: 409600 kB\n") == {}


def test_each_limit_is_told_with_what_is_left() -> None:
    """All findings come at once, each with the place, what is left there and how much is wanted."""
    found = problems(
        row("/nix/store", "/nix", 999),
        row("/var/lib", "/", 99, "4999 100000"),
        row("/boot", "/boot", 49, "0 0"),
        memory="MemAvailable: 716800 kB\nSwapFree: 1024 kB\n",
    )
    assert found == {
        "store": "999 MiB are free for /nix/store (on /nix), at least 1000 MiB are needed",
        "var": "99 MiB are free for /var/lib (on /), at least 100 MiB are needed",
        "boot": "49 MiB are free for /boot (on /boot), at least 50 MiB are needed",
        "inodes": "4999 inodes are free on /, at least 5000 are needed",
        "memory": "701 MiB of memory and swap are available, at least 800 MiB are needed",
    }


def test_the_remedy_fits_what_is_lacking() -> None:
    """Each finding has its own remedy: free space helps no clock, no pending reboot and no failed unit."""
    remedies = {finding: Problem(finding, "").remedy for finding in get_args(Finding)}
    assert len(set(remedies.values())) == len(remedies)
    assert {finding for finding, remedy in remedies.items() if "space" in remedy} == {"store", "var", "boot"}


def test_a_boot_folder_of_another_file_system_is_no_boot_partition() -> None:
    """Where /boot is a folder of the root file system, its kernels are not short of room while that has some."""
    assert problems(row("/boot", "/", 40), row("/boot/efi", "/boot/efi", 49, "0 0")) == {
        "boot": "49 MiB are free for /boot/efi (on /boot/efi), at least 50 MiB are needed"
    }


def test_a_file_system_that_counts_no_inodes_lacks_none() -> None:
    """Btrfs and vfat say 0 of 0, or a dash."""
    assert problems(row("/nix/store", "/", 5000, "0 0"), row("/boot", "/boot", 500, "- -")) == {}


@pytest.mark.parametrize("memory", ["", "MemAvailable: lots kB\n", "SwapFree: 1 kB\n"])
def test_what_a_host_does_not_say_is_no_finding(memory: str) -> None:
    """A host without df or with another answer is deployed to as before."""
    assert problems("df: nonsense", "/nix/store / -5 1 1", memory=memory) == {}
    assert find_room_problems(Frame("resolve", {}), LIMITS) == []


def test_a_limit_of_zero_is_not_looked_at() -> None:
    """Each of them can be turned off."""
    off = Preflight(store_mib=0, var_mib=0, boot_mib=0, inodes=0, memory_mib=0, nix="", clock_s=0)
    memory = "MemAvailable: 0 kB\nnix (Nix) 1.11\n"
    full = frame(row("/nix/store", "/", 0, "0 10"), row("/boot", "/boot", 0), memory=memory)
    assert find_room_problems(full, off) == []
    assert find_clock_problems(Clock(offset_s=1e6, uncertainty_s=0.1), off) == []


@pytest.mark.parametrize(
    ("offset_s", "uncertainty_s", "told"),
    [
        (61.0, 1.5, ""),
        (61.5, 1.5, ""),
        (-61.5, 1.5, ""),
        (-62.0, 1.5, "the host's clock is 62 s behind the runner's, by more than 60 s"),
        (3600.0, 0.1, "the host's clock is 3600 s ahead of the runner's, by more than 60 s"),
    ],
)
def test_a_clock_that_is_certainly_wrong_is_told(offset_s: float, uncertainty_s: float, told: str) -> None:
    """What may be the way's doing is none of the clock's."""
    found = find_clock_problems(Clock(offset_s=offset_s, uncertainty_s=uncertainty_s), Preflight())
    assert [problem.text for problem in found] == ([told] if told else [])


@pytest.mark.parametrize(("offset_s", "way"), [(0.5, "ahead of"), (-0.5, "behind")])
def test_a_clock_that_is_off_by_less_than_a_second_has_a_direction(offset_s: float, way: str) -> None:
    """A limit may be that low; the sentence must still send nobody the wrong way."""
    (found,) = find_clock_problems(Clock(offset_s=offset_s, uncertainty_s=0.0), Preflight(clock_s=0.1))
    assert way in found.text


def test_memory_is_told_in_mib_of_1024_kib() -> None:
    """At the very limit nothing is lacking; one KiB less is."""
    assert problems(memory="MemAvailable: 819200 kB\n") == {}
    assert problems(memory="MemAvailable: 819199 kB\n") == {
        "memory": "799 MiB of memory and swap are available, at least 800 MiB are needed"
    }


def test_one_file_system_is_told_once_for_one_kind_of_finding() -> None:
    """A file system that is mounted twice has one shortage; another boot partition has its own."""
    rows = (row("/boot", "/boot", 40), row("/boot/efi", "/boot/efi", 41), row("/efi", "/efi", 42))
    texts = [found.text for found in find_room_problems(frame(*rows), LIMITS)]
    assert [text.split()[0] for text in texts] == ["40", "41", "42"]


@pytest.mark.parametrize(
    ("parts", "failed", "texts"),
    [
        ((), (), []),
        (("kernel", "initrd"), (), ["the host waits for a reboot (kernel, initrd)"]),
        ((), ("a.service", "b.service"), ["units have failed already: a.service, b.service"]),
    ],
)
def test_what_a_host_already_leaves_open_is_told(
    parts: tuple[str, ...], failed: tuple[str, ...], texts: list[str]
) -> None:
    """A reboot that is due is told by its parts, and units that have failed by their names."""
    assert [found.text for found in find_state_problems(parts, failed)] == texts


def test_what_the_script_says_is_read() -> None:
    """The rows of this machine's own df and its memory are understood."""
    said = run("say_room; printf '%s' \"${said[room]}\"", "files", "answer", "revision")
    much = msgspec.structs.replace(LIMITS, var_mib=10**12, memory_mib=10**9)
    found = {each.finding: each.text for each in find_room_problems(Frame("resolve", {"room": said.encode()}), much)}
    free = shutil.disk_usage("/var/lib").free // MIB
    shown = int(found["var"].split()[0])
    assert abs(shown - free) < 1024
    assert "of memory and swap are available" in found["memory"]


@pytest.mark.parametrize(
    ("version", "wanted", "text"),
    [
        ("nix (Nix) 2.26.3", "2.26.3", ""),
        ("nix (Nix) 2.26.3", "2.26.4", "nix is 2.26.3, at least 2.26.4 is needed"),
        ("nix (Nix) 2.9", "2.18", "nix is 2.9, at least 2.18 is needed"),
        ("nix (Nix) 2.34.0pre20260101_abcdef", "2.34", ""),
        ("nix (Lix, like Nix) 2.91.0", "2.18", ""),
        ("nix (Determinate Nix 3.0.0) 2.28.1", "3", "nix is 2.28.1, at least 3 is needed"),
        ("nix (Nix) 2.9", "2.9.0", ""),
        ("nix (Nix) 2.9", "2.9.1", "nix is 2.9, at least 2.9.1 is needed"),
        ("nix (Nix) 2.3.16", "", ""),
        ("bash: nix: command not found", "2.18", ""),
    ],
)
def test_an_old_nix_is_found_by_its_number(version: str, wanted: str, text: str) -> None:
    """Versions are compared part by part, not as text, and the names of other builds of nix do not matter."""
    said = Frame("resolve", {"room": f"{MEMORY}{version}\n".encode()})
    found = find_room_problems(said, Preflight(memory_mib=0, nix=wanted))
    assert [problem.text for problem in found] == ([text] if text else [])


def answer(**parts: str) -> Frame:
    """The answer of a host to a preflight, with other parts in place of the ordinary ones."""
    room = "".join(f"{row(place, '/', 90000)}\n" for place in ("/nix/store", "/var/lib"))
    said = {"room": f"{room}{MEMORY}nix (Nix) 2.26.3\n", "holder": "", "commands": "", "secrets": ""}
    said |= {"system.reboot": "", "units.failed": ""} | {
        name.replace("__", "."): text for name, text in parts.items()
    }
    return Frame("preflight", {name: text.encode() for name, text in said.items()})


CLOCK = Clock(offset_s=0.0, uncertainty_s=0.1)


def test_a_ready_host_has_no_finding_and_nothing_unseen() -> None:
    """Everything was looked for, and everything is as it should be."""
    ready = read_readiness(answer(), CLOCK, Preflight())
    assert (ready.problems, ready.unseen, ready.holder, ready.commands) == ((), {}, "", ())


def test_every_kind_of_finding_is_read_from_one_answer() -> None:
    """All findings come at once, each of its kind."""
    room = f"{row('/nix/store', '/nix', 1, '5 9')}\n{row('/var/lib', '/', 1)}\n{row('/boot', '/boot', 1)}\n"
    room += "MemAvailable: 1 kB\nnix (Nix) 2.3\n"
    found = answer(
        room=room,
        system__reboot="kernel",
        units__failed="a.service",
        secrets="a.age: no identity matched",
        holder="run r\n",
        commands="git ss ",
    )
    ready = read_readiness(found, Clock(offset_s=999.0, uncertainty_s=0.1), Preflight())
    assert {problem.finding for problem in ready.problems} == set(get_args(Finding))
    assert (ready.unseen, ready.holder, ready.commands) == ({}, "run r", ("git", "ss"))
    assert [problem.finding for problem in ready.of(("clock", "boot"))] == ["boot", "clock"]


@pytest.mark.parametrize(
    ("frame", "clock", "limits", "unseen"),
    [
        (answer(room=""), CLOCK, Preflight(), {"store", "var", "inodes", "memory", "nix"}),
        (answer(room=""), CLOCK, Preflight(store_mib=0, var_mib=0, inodes=0, memory_mib=0, nix=""), set()),
        (answer(), None, Preflight(), {"clock"}),
        (answer(), None, Preflight(clock_s=0), set()),
        (answer(units__problem="systemctl did not answer"), CLOCK, Preflight(), {"failed"}),
    ],
)
def test_what_a_host_did_not_say_is_unseen(
    frame: Frame, clock: Clock | None, limits: Preflight, unseen: set[str]
) -> None:
    """A preflight must not call a host ready for what it could not see; a limit that is off needs no answer."""
    ready = read_readiness(frame, clock, limits)
    assert (set(ready.unseen), ready.problems) == (unseen, ())


def test_a_host_that_is_silent_about_its_secrets_is_not_called_ready() -> None:
    """A script from before the finding says nothing of secrets: that is not seen, and nothing is found."""
    said = {name: text for name, text in answer().sections.items() if name != "secrets"}
    ready = read_readiness(Frame("preflight", said), CLOCK, Preflight())
    assert (set(ready.unseen), ready.problems) == ({"secrets"}, ())


def test_a_secret_that_does_not_decrypt_is_told_with_its_reason() -> None:
    """Each file is a finding of its own, with what age said of it."""
    ready = read_readiness(
        answer(secrets="/nix/store/a.age: no identity matched\n/nix/store/b.age: none"), CLOCK, Preflight()
    )
    assert [problem.text for problem in ready.problems] == [
        "the host cannot decrypt /nix/store/a.age: no identity matched",
        "the host cannot decrypt /nix/store/b.age: none",
    ]


def test_a_secret_that_may_decrypt_is_unseen() -> None:
    """What the host could not try is no finding, but neither is such a host ready."""
    ready = read_readiness(answer(secrets="? /nix/store/a.yaml: it has keys of other kinds"), CLOCK, Preflight())
    assert ready.problems == ()
    assert ready.unseen["secrets"].endswith("decrypt its secrets: /nix/store/a.yaml: it has keys of other kinds")
    warns = read_readiness(answer(secrets="? /nix/store/a.yaml: other keys"), CLOCK, Preflight(refuse=("store",)))
    assert warns.unseen == {}
