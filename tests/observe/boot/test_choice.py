"""What boots is computed as the boot loaders compute it."""

from __future__ import annotations

import pytest

from switchproof.deploy.observe.boot.choice import Loader, choose_boot
from switchproof.deploy.observe.boot.facts import BootFacts, BootFile
from switchproof.deploy.observe.boot.systemd_boot import compare_versions
from tests.observe.boot.menus import (
    ESP,
    conf,
    entry,
    facts,
    generation,
    grub_cfg,
    grub_facts,
    grubenv,
    hashed,
    system,
)

EXACT = conf("default nixos-generation-3.conf")
PATTERN = conf("default nixos-*")
THREE = (generation(1), generation(2), generation(3))

SYSTEMD_BOOT: dict[str, tuple[BootFacts, str | int, str | int]] = {
    # What is set: what boots next, what boots after that.
    "an exact default": (facts(conf("default nixos-generation-2.conf"), *THREE), 2, 2),
    "an exact default in capitals": (facts(conf("default NixOS-Generation-2.conf"), *THREE), 2, 2),
    "the last of two defaults": (
        facts(conf("default nixos-generation-1.conf", "default nixos-generation-2.conf"), *THREE),
        2,
        2,
    ),
    "a pattern: the newest": (facts(PATTERN, *THREE), 3, 3),
    "a pattern of one digit": (facts(conf("default nixos-generation-[12].conf"), *THREE), 2, 2),
    "no default: the newest": (facts(*THREE), 3, 3),
    "a default that is not there: the newest": (facts(conf("default nixos-generation-9.conf"), *THREE), 3, 3),
    "version 10 is newer than 9": (facts(PATTERN, generation(9), generation(10)), 10, 10),
    "a oneshot, then the default": (facts(EXACT, *THREE, LoaderEntryOneShot="nixos-generation-2.conf"), 2, 3),
    "a oneshot that is not there": (facts(EXACT, *THREE, LoaderEntryOneShot="nixos-generation-9.conf"), 3, 3),
    "the EFI variable overrules loader.conf": (
        facts(EXACT, *THREE, LoaderEntryDefault="nixos-generation-2.conf"),
        2,
        2,
    ),
    "an EFI variable of a missing entry": (facts(EXACT, *THREE, LoaderEntryDefault="nixos-generation-9.conf"), 3, 3),
    "@saved": (facts(conf("default @saved"), *THREE, LoaderEntryLastBooted="nixos-generation-1.conf"), 1, 1),
    "@saved without a saved one": (facts(conf("default @saved"), *THREE), 3, 3),
    "an exact default without tries stays": (facts(EXACT, generation(2), generation(3, "+0-2")), 3, 3),
    "a pattern leaves out an entry without tries": (facts(PATTERN, generation(2), generation(3, "+0-3")), 2, 2),
    "a pattern takes an entry with tries left": (facts(PATTERN, generation(2), generation(3, "+2-1")), 3, 3),
    "all without tries: the newest": (facts(PATTERN, generation(2, "+0-3"), generation(3, "+0-3")), 3, 3),
    "a oneshot without tries boots": (
        facts(PATTERN, generation(2), generation(3, "+0-3"), LoaderEntryOneShot="nixos-generation-3.conf"),
        3,
        2,
    ),
    "an id has no counter": (facts(EXACT, generation(2), generation(3, "+3")), 3, 3),
    "hashes go by version": (facts(PATTERN, hashed("f", 1), hashed("a", 2)), 2, 2),
    "hashes without sort-key go by name": (
        facts(PATTERN, hashed("f", 1, sort_key=None), hashed("a", 2, sort_key=None)),
        1,
        1,
    ),
    "an exact hash": (facts(conf(f"default nixos-{'f' * 32}.conf"), hashed("f", 1), hashed("a", 2)), 1, 1),
    "a sort-key goes before the version": (facts(generation(9), generation(2, sort_key="aaa")), 2, 2),
    "an entry without sort-key loses": (facts(generation(9, sort_key=None), generation(2)), 2, 2),
    "the machine-id goes before the version": (
        facts(generation(9, machine_id="b" * 32), generation(2, machine_id="a" * 32)),
        2,
        2,
    ),
    "a kernel that is not there: the next": (
        facts(EXACT, generation(2), entry("nixos-generation-3.conf", 3, missing=("/EFI/nixos/kernel.efi gone",))),
        2,
        2,
    ),
    "preferred from 260 on": (
        facts(conf("preferred nixos-generation-2.conf", "default nixos-*"), *THREE, LoaderInfo="systemd-boot 260.1"),
        2,
        2,
    ),
    "preferred without tries": (
        facts(
            conf("preferred nixos-generation-3.conf", "default nixos-*"),
            generation(2),
            generation(3, "+0-3"),
            LoaderInfo="systemd-boot 260",
        ),
        2,
        2,
    ),
    "preferred before 260 says nothing": (
        facts(conf("preferred nixos-generation-2.conf", "default nixos-*"), *THREE),
        3,
        3,
    ),
    "preferred and default that agree": (
        facts(conf("preferred nixos-generation-3.conf", "default nixos-*"), *THREE, LoaderInfo="systemd-boot ?"),
        3,
        3,
    ),
    "a container has no firmware": (facts(EXACT, *THREE, firmware="container", mounts={}, LoaderInfo=""), 3, 3),
    "an ESP beside the boot partition": (
        facts(
            conf("default nixos-generation-2.conf", root="/efi"),
            *THREE,
            mounts={**ESP, "/efi": "vfat", "/boot": "ext4"},
        ),
        2,
        2,
    ),
}


@pytest.mark.parametrize("case", SYSTEMD_BOOT, ids=lambda case: case.replace(" ", "-"))
def test_systemd_boot(case: str) -> None:
    """The next boot and the boots after it start what systemd-boot was seen to start."""
    said, following, lasting = SYSTEMD_BOOT[case]
    boot = choose_boot(said, "detect")
    assert boot.doubt == ""
    assert boot.loader == "systemd-boot"
    assert (boot.next and boot.next.system, boot.lasting and boot.lasting.system) == (
        system(following),
        system(lasting),
    )


GRUB: dict[str, tuple[BootFacts, str | int, str | int]] = {
    "the configured default": (grub_facts(grub_cfg()), 2, 2),
    "the configured default by GRUB's word": (
        BootFacts("efi", {}, {"LoaderInfo": "GRUB 2.12"}, (grub_cfg(), conf("default x")), cut=False),
        2,
        2,
    ),
    "an empty environment block": (grub_facts(grub_cfg(default='"${saved_entry}"'), grubenv("saved_entry=")), 2, 2),
    "no environment block": (grub_facts(grub_cfg(default='"${saved_entry}"')), 2, 2),
    "a saved number in the submenu": (
        grub_facts(grub_cfg(default='"${saved_entry}"'), grubenv("saved_entry=1>1")),
        1,
        1,
    ),
    "a saved title in the submenu": (
        grub_facts(
            grub_cfg(default='"${saved_entry}"'),
            grubenv("saved_entry=NixOS - All configurations>NixOS - Configuration 1"),
        ),
        1,
        1,
    ),
    "a saved entry that the configuration does not ask for": (
        grub_facts(grub_cfg(), grubenv("saved_entry=1>1")),
        2,
        2,
    ),
    "an entry for once": (grub_facts(grub_cfg(), grubenv("next_entry=1>1")), 1, 2),
    "an entry for once that is not there: the first": (grub_facts(grub_cfg(), grubenv("next_entry=gone")), 2, 2),
    "a default out of range: the first": (grub_facts(grub_cfg(default="7")), 2, 2),
    "the default of a later line": (grub_facts(grub_cfg("set default=1>1")), 1, 1),
    "a line in a branch that is not taken": (
        grub_facts(grub_cfg('if [ "${never}" ]; then', "set default=1>1", "fi")),
        2,
        2,
    ),
}


@pytest.mark.parametrize("case", GRUB, ids=lambda case: case.replace(" ", "-"))
def test_grub(case: str) -> None:
    """The next boot and the boots after it start what GRUB was seen to start."""
    said, following, lasting = GRUB[case]
    boot = choose_boot(said, "detect")
    assert boot.doubt == ""
    assert boot.loader == "grub"
    assert (boot.next and boot.next.system, boot.lasting and boot.lasting.system) == (
        system(following),
        system(lasting),
    )


DOUBTS: dict[str, tuple[BootFacts, str]] = {
    "no boot loader": (BootFacts("none", {}, {}, (), cut=False), "no boot loader was found"),
    "a container without one": (BootFacts("container", {}, {}, (), cut=False), "container"),
    "an unknown boot loader": (
        BootFacts("none", {}, {}, (BootFile("/boot/extlinux/extlinux.conf", ()),), cut=False),
        "extlinux.conf is not one that can be read here",
    ),
    "two boot loaders": (
        BootFacts("efi", ESP, {}, (EXACT, *THREE, grub_cfg()), cut=False),
        "name the one that decides in boot.loader",
    ),
    "EFI variables unread": (facts(EXACT, *THREE, mounts={"/boot": "vfat"}), "efivarfs is not mounted"),
    "the ESP is not mounted": (
        facts(EXACT, *THREE, mounts={"/sys/firmware/efi/efivars": "efivarfs"}),
        "/boot is not the mounted EFI system partition",
    ),
    "the ESP is a folder of the root": (facts(EXACT, *THREE, mounts={**ESP, "/boot": "ext4"}), "ext4"),
    "booted by something else": (facts(EXACT, *THREE, LoaderInfo=""), "no boot loader that names itself"),
    "booted by a BIOS": (facts(EXACT, *THREE, firmware="none"), "not booted by EFI"),
    "the firmware's BootNext": (facts(EXACT, *THREE, BootNext="0003"), "BootNext"),
    "more entries than are read": (facts(EXACT, *THREE, cut=True), "more entries"),
    "two entries of one id": (facts(EXACT, generation(3), generation(3, "+2-1")), "two entries have the id"),
    "a unified kernel image by pattern": (
        facts(PATTERN, *THREE, BootFile("/boot/EFI/Linux/nixos-generation-4.efi", ())),
        "unified kernel image",
    ),
    "a unified kernel image in the order": (
        facts(*THREE, BootFile("/boot/EFI/Linux/nixos-generation-4.efi", ())),
        "unified kernel image",
    ),
    "preferred of an unknown version": (
        facts(conf("preferred nixos-generation-2.conf", "default nixos-*"), *THREE, LoaderInfo="systemd-boot x"),
        "whether this systemd-boot follows",
    ),
    "no entry whose kernel is there": (
        facts(EXACT, entry("nixos-generation-3.conf", 3, missing=("/EFI/nixos/kernel.efi gone",))),
        "no entry of systemd-boot",
    ),
    "GRUB's menu from elsewhere": (grub_facts(grub_cfg("blscfg")), "blscfg"),
    "GRUB's default by a condition": (
        grub_facts(grub_cfg('if [ "$grub_platform" = "efi" ]; then', "set default=1", "fi")),
        "depends on a condition",
    ),
    "GRUB's default is a submenu": (grub_facts(grub_cfg(default="1")), "is a submenu"),
    "GRUB's menu is empty": (grub_facts(BootFile("/boot/grub/grub.cfg", ("set default=0",))), "no entry"),
    "two configurations of GRUB": (
        grub_facts(grub_cfg(), BootFile("/boot/grub2/grub.cfg", ())),
        "2 files named grub.cfg",
    ),
}


@pytest.mark.parametrize("case", DOUBTS, ids=lambda case: case.replace(" ", "-"))
def test_what_cannot_be_known_is_said(case: str) -> None:
    """Where the files do not decide what boots, nothing is concluded from them."""
    said, doubt = DOUBTS[case]
    boot = choose_boot(said, "detect")
    assert (boot.next, boot.lasting) == (None, None)
    assert doubt in boot.doubt
    assert boot.problem(system(3)) == ""


PROBLEMS: dict[str, tuple[BootFacts, str]] = {
    "another system": (facts(conf("default nixos-generation-2.conf"), *THREE), f"the next boot starts {system(2)}"),
    "another system once": (
        facts(EXACT, *THREE, LoaderEntryOneShot="nixos-generation-2.conf"),
        "by LoaderEntryOneShot nixos-generation-2.conf",
    ),
    "another system after once": (
        facts(conf("default nixos-generation-2.conf"), *THREE, LoaderEntryOneShot="nixos-generation-3.conf"),
        "the boot after the next one",
    ),
    "no NixOS": (facts(conf("default auto-windows"), *THREE), "no NixOS system (auto-windows"),
    "a truncated kernel": (
        facts(EXACT, entry("nixos-generation-3.conf", 3, missing=("/EFI/nixos/kernel.efi empty",))),
        "/EFI/nixos/kernel.efi is missing or empty",
    ),
    "an initrd that is not there": (
        facts(EXACT, entry("nixos-generation-3.conf", 3, missing=("/EFI/nixos/initrd.efi gone",))),
        "/EFI/nixos/initrd.efi is missing or empty",
    ),
    "a kernel of GRUB that is not there": (
        grub_facts(grub_cfg(systems=(3,), missing="//kernels/bzImage gone")),
        "//kernels/bzImage is missing or empty",
    ),
}


@pytest.mark.parametrize("case", PROBLEMS, ids=lambda case: case.replace(" ", "-"))
def test_what_would_not_boot_the_expected_system_is_said(case: str) -> None:
    """Any boot that does not start the expected system is a problem, as is a kernel that is not whole."""
    said, problem = PROBLEMS[case]
    assert problem in choose_boot(said, "detect").problem(system(3))


@pytest.mark.parametrize(
    ("loader", "expected"), [("systemd-boot", system(3)), ("grub", system(2)), ("none", None), ("detect", None)]
)
def test_the_target_file_may_name_the_boot_loader(loader: Loader, expected: str | None) -> None:
    """Of two boot loaders the named one decides; none decides where the target file says so."""
    boot = choose_boot(facts(EXACT, *THREE, grub_cfg(), LoaderInfo="systemd-boot 257"), loader)
    if loader == "detect":
        assert boot.loader == "systemd-boot"
    else:
        assert (boot.next.system if boot.next else None) == expected
        assert boot.loader == loader


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("9", "10"),
        ("Generation 9 NixOS", "Generation 10 NixOS"),
        ("1.2", "1.10"),
        ("1~rc1", "1"),
        ("1", "1.1"),
        ("1-1", "1^1"),
        ("a", "1"),
        ("", "1"),
        ("007", "8"),
        ("alpha", "beta"),
    ],
)
def test_versions_are_ordered_as_systemd_orders_them(older: str, newer: str) -> None:
    """Numbers go by value, a tilde marks what comes before, and digits are newer than letters."""
    assert compare_versions(older, newer) < 0 < compare_versions(newer, older)
    assert compare_versions(older, older) == 0
