"""What a host says about its boot loader is read whole or not at all, and a boot is told in words."""

from __future__ import annotations

import pytest

from switchproof.deploy.host.frame import FrameError
from switchproof.deploy.observe.boot.choice import choose_boot
from switchproof.deploy.observe.boot.chosen import Boot, Entry
from switchproof.deploy.observe.boot.facts import BootFacts, BootFile, read_boot_facts
from tests.answers import frame
from tests.observe.boot.menus import grub_cfg, system

ONE, TWO = Entry("one.conf", system(1), (), "default one"), Entry("two.conf", system(2))


def test_facts_are_what_the_host_says() -> None:
    """Firmware, mounts, variables, and the lines of each file come as the host has them."""
    said = frame(
        {
            "boot.firmware": "efi\n",
            "boot.mounts": "/boot vfat\n/sys/firmware/efi/efivars efivarfs\n",
            "boot.variables": "LoaderInfo systemd-boot 257.13\nBootCurrent 0001\n",
            "boot.files": "\x1f/boot/loader/loader.conf\ndefault a\n\ntimeout 3\n\x1f/boot/x\nlinux /k\n",
            "boot.cut": "",
        }
    )
    assert read_boot_facts(said) == BootFacts(
        "efi",
        {"/boot": "vfat", "/sys/firmware/efi/efivars": "efivarfs"},
        {"LoaderInfo": "systemd-boot 257.13", "BootCurrent": "0001"},
        (
            BootFile("/boot/loader/loader.conf", ("default a", "timeout 3")),
            BootFile("/boot/x", ("linux /k",)),
        ),
        cut=False,
    )


def test_host_that_has_more_than_it_tells_says_so() -> None:
    """Facts that were cut are marked, and facts of no file are none."""
    read = read_boot_facts(frame({"boot.cut": "yes\n", "boot.files": ""}))
    assert read.cut
    assert read.files == ()


@pytest.mark.parametrize("part", ["boot.mounts", "boot.variables"])
def test_line_that_is_no_pair_is_refused_with_its_beginning(part: str) -> None:
    """A key without a value is no answer, and sixty characters of the line are enough to find it."""
    with pytest.raises(FrameError) as refused:
        read_boot_facts(frame({part: f"a b\n{'x' * 80}\n"}))
    assert str(refused.value) == f"part {part!r} of the host's answer cannot be understood: {'x' * 60!r}"


def test_grub_alone_decides_whatever_booted_the_host() -> None:
    """Where nothing else is there, GRUB needs no word of the firmware."""
    assert choose_boot(BootFacts("efi", {}, {}, (grub_cfg(),), cut=False), "detect").loader == "grub"


@pytest.mark.parametrize(
    ("boot", "words"),
    [
        (Boot("none"), "no boot loader decides, according to the target file"),
        (Boot("grub", doubt="it was cut"), "unknown: it was cut"),
        (Boot("grub", next=ONE, doubt="it was cut"), "unknown: it was cut"),
        (Boot("grub", lasting=ONE, doubt="it was cut"), "unknown: it was cut"),
        (Boot("grub", ONE, ONE), f"{system(1)} (one.conf, by default one)"),
        (Boot("grub", TWO, ONE), f"{system(2)} (two.conf) once, then {system(1)} (one.conf, by default one)"),
        (Boot("grub", Entry("x", ""), Entry("x", "")), "no NixOS system (x)"),
    ],
)
def test_boot_is_told_in_words(boot: Boot, words: str) -> None:
    """A reader sees what boots, by what, and for how long; or why that is unknown."""
    assert str(boot) == words


@pytest.mark.parametrize("boot", [Boot("grub"), Boot("grub", next=ONE), Boot("grub", lasting=ONE)])
def test_boot_that_is_not_known_is_no_problem(boot: Boot) -> None:
    """A doubt is told elsewhere; nothing is concluded from one of the two boots alone."""
    assert boot.problem(system(2)) == ""
