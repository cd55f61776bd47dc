"""The menu of systemd-boot has the order, the entries and the default that systemd-boot gives it."""

from __future__ import annotations

import itertools

import pytest

from switchproof.deploy.observe.boot import systemd_boot
from switchproof.deploy.observe.boot.chosen import Boot, Entry
from switchproof.deploy.observe.boot.facts import BootFacts, BootFile
from switchproof.deploy.observe.boot.systemd_boot import compare_versions
from tests.observe.boot.menus import ESP, conf, entry, facts, generation, hashed, system

THREE = (generation(1), generation(2), generation(3))
NEW = "systemd-boot 260"


def later(said: BootFacts) -> Entry:
    """What later boots start."""
    boot = systemd_boot.choose(said)
    assert boot.doubt == ""
    assert boot.lasting is not None
    return boot.lasting


def names(*files: BootFile) -> list[str]:
    """The names of entries in the order of the menu, each as the newest of those that are left."""
    left = [*files]
    ordered = []
    while left:
        first = later(facts(*left)).name
        ordered.append(first)
        left = [file for file in left if file.name != first]
    return ordered


ORDERS: dict[str, tuple[BootFile, ...]] = {
    "what has no tries left comes last": (generation(1), generation(9, "+0-3")),
    "no tries left by sort-key": (
        entry("b.conf", 1, sort_key="z"),
        entry("a+0.conf", 1, sort_key="a"),
    ),
    "a sort-key comes before none": (generation(1), generation(9, sort_key=None)),
    "sort-keys by the alphabet": (
        entry("x.conf", 1, sort_key="a"),
        entry("y.conf", 2, sort_key="b"),
        entry("z.conf", 3, sort_key="c"),
    ),
    "one sort-key: machine-ids by the alphabet, none first": (
        entry("x.conf", 1),
        entry("y.conf", 2, machine_id="a" * 32),
        entry("z.conf", 3, machine_id="b" * 32),
    ),
    "one sort-key and machine-id: the newest version first": (
        entry("a.conf", 1, version="1.10"),
        entry("b.conf", 1, version="1.9"),
        entry("c.conf", 1, version=""),
    ),
    "the same in all: the greatest name first": (
        entry("c.conf", 1, version="1"),
        entry("b.conf", 1, version="1"),
    ),
    "without sort-keys: the greatest name first": (
        entry("c.conf", 1, sort_key=None, version="1"),
        entry("b.conf", 1, sort_key=None, version="2"),
    ),
}


@pytest.mark.parametrize("case", ORDERS, ids=lambda case: case.replace(" ", "-"))
def test_menu_has_its_order_whatever_order_the_files_are_in(case: str) -> None:
    """Tries, sort-key, machine-id, version and name decide, in this order."""
    expected = [file.name for file in ORDERS[case]]
    for files in itertools.permutations(ORDERS[case]):
        assert names(*files) == expected


COUNTED: list[tuple[BootFile, ...]] = [
    (generation(1), generation(1, "+3")),
    (generation(1, "+3"), generation(1, "+2-1")),
    (generation(1, "+2-1"), generation(1, "+1")),
    (generation(1, "+2-1"), generation(1, "+2-2")),
    (generation(1, "+2"), generation(1, "+2-1")),
]


@pytest.mark.parametrize("files", COUNTED, ids=lambda files: " ".join(file.name for file in files))
def test_of_entries_of_one_id_either_may_boot(files: tuple[BootFile, ...]) -> None:
    """Whatever their tries are, they cannot be told apart by what chooses them."""
    for order in itertools.permutations(files):
        assert systemd_boot.choose(facts(*order)).doubt == (
            "two entries have the id nixos-generation-1.conf, so either may boot"
        )
        assert later(facts(*order, generation(2))).name == "nixos-generation-2.conf"


@pytest.mark.parametrize("files", COUNTED, ids=lambda files: " ".join(file.name for file in files))
def test_entry_with_more_tries_left_and_fewer_done_comes_first(files: tuple[BootFile, ...]) -> None:
    """One that is not counted comes after those that are; then more left, then fewer done."""
    read = [systemd_boot._read(file) for file in files]
    first, second = (one for one in read if one is not None)
    counted = first.left is not None
    assert (systemd_boot._compare(first, second) < 0) is counted
    assert (systemd_boot._compare(second, first) > 0) is counted
    assert systemd_boot._compare(first, first) == 0


CHOICES: dict[str, tuple[BootFacts, str, str]] = {
    # What is set: the entry of later boots, and what chooses it.
    "the order": (facts(*THREE), "3", "the order of the menu"),
    "loader.conf": (facts(conf("default nixos-generation-2.conf"), *THREE), "2", "default nixos-generation-2.conf"),
    "loader.conf with blanks": (
        facts(conf("default   nixos-generation-2.conf "), *THREE),
        "2",
        "default nixos-generation-2.conf",
    ),
    "an empty default after another": (
        facts(conf("default nixos-generation-2.conf", "default "), *THREE),
        "3",
        "the order of the menu",
    ),
    "another key of loader.conf": (
        facts(conf("timeout nixos-generation-2.conf"), *THREE),
        "3",
        "the order of the menu",
    ),
    "the variable": (
        facts(conf("default nixos-generation-1.conf"), *THREE, LoaderEntryDefault="nixos-generation-2.conf"),
        "2",
        "LoaderEntryDefault nixos-generation-2.conf",
    ),
    "the variable of an entry that is gone, then loader.conf": (
        facts(conf("default nixos-generation-1.conf"), *THREE, LoaderEntryDefault="nixos-generation-9.conf"),
        "1",
        "default nixos-generation-1.conf",
    ),
    "the variable says @saved": (
        facts(*THREE, LoaderEntryDefault="@saved", LoaderEntryLastBooted="nixos-generation-2.conf"),
        "2",
        "LoaderEntryDefault @saved",
    ),
    "loader.conf says @saved": (
        facts(conf("default @saved"), *THREE, LoaderEntryLastBooted="nixos-generation-1.conf"),
        "1",
        "default @saved",
    ),
    "a boot of firmware": (
        facts(conf("default auto-reboot-to-firmware-setup"), *THREE),
        "",
        "default auto-reboot-to-firmware-setup",
    ),
    "a boot of another system in capitals": (facts(conf("default AUTO-windows"), *THREE), "", "default AUTO-windows"),
    "a pattern with a question mark": (
        facts(conf("default nixos-generation-?.conf"), *THREE),
        "3",
        "default nixos-generation-?.conf",
    ),
    "preferred by loader.conf": (
        facts(conf("preferred nixos-generation-2.conf"), *THREE, LoaderInfo=NEW),
        "2",
        "preferred nixos-generation-2.conf",
    ),
    "preferred by the variable": (
        facts(
            conf("preferred nixos-generation-1.conf"),
            *THREE,
            LoaderInfo=NEW,
            LoaderEntryPreferred="nixos-generation-2.conf",
        ),
        "2",
        "LoaderEntryPreferred nixos-generation-2.conf",
    ),
    "preferred by the variable, but gone": (
        facts(
            conf("preferred nixos-generation-1.conf"),
            *THREE,
            LoaderInfo=NEW,
            LoaderEntryPreferred="nixos-generation-9.conf",
        ),
        "1",
        "preferred nixos-generation-1.conf",
    ),
    "preferred, but gone": (
        facts(conf("preferred nixos-generation-9.conf", "default nixos-generation-1.conf"), *THREE, LoaderInfo=NEW),
        "1",
        "default nixos-generation-1.conf",
    ),
    "preferred by a later version": (
        facts(conf("preferred nixos-generation-2.conf"), *THREE, LoaderInfo="systemd-boot 261.2"),
        "2",
        "preferred nixos-generation-2.conf",
    ),
    "preferred by the version before": (
        facts(conf("preferred nixos-generation-2.conf"), *THREE, LoaderInfo="systemd-boot 259"),
        "3",
        "the order of the menu",
    ),
    "preferred with one try left": (
        facts(conf("preferred nixos-generation-2.conf"), generation(2, "+1-2"), generation(3), LoaderInfo=NEW),
        "2",
        "preferred nixos-generation-2.conf",
    ),
    "preferred and a default that agree where the version is new": (
        facts(
            conf("preferred nixos-generation-2.conf"),
            *THREE,
            LoaderInfo=NEW,
            LoaderEntryDefault="nixos-generation-2.conf",
        ),
        "2",
        "preferred nixos-generation-2.conf",
    ),
    "an image of another name": (
        facts(conf("default nixos-generation-2.conf"), *THREE, BootFile("/boot/EFI/Linux/other.efi", ())),
        "2",
        "default nixos-generation-2.conf",
    ),
}


@pytest.mark.parametrize("case", CHOICES, ids=lambda case: case.replace(" ", "-"))
def test_default_is_told_with_what_chooses_it(case: str) -> None:
    """The variables overrule loader.conf, what is preferred overrules the default, and the order comes last."""
    said, name, why = CHOICES[case]
    chosen = later(said)
    assert chosen.system == (system(name) if name else "")
    assert chosen.why == why


DOUBTS: dict[str, tuple[BootFacts, str]] = {
    "cut": (facts(*THREE, cut=True), "/boot holds more entries than can be read"),
    "cut in a container": (
        facts(*THREE, cut=True, firmware="container"),
        "/boot holds more entries than can be read",
    ),
    "no EFI": (
        facts(*THREE, firmware="none"),
        "there are entries of systemd-boot, but the host was not booted by EFI firmware",
    ),
    "booted by GRUB": (
        facts(*THREE, LoaderInfo="GRUB 2.12"),
        "there are entries of systemd-boot, but the host was booted by GRUB 2.12",
    ),
    "BootNext": (
        facts(*THREE, BootNext="0003"),
        "the firmware starts boot option 0003 next (BootNext), not systemd-boot's 0001",
    ),
    "nothing is mounted": (
        facts(*THREE, mounts={"/sys/firmware/efi/efivars": "efivarfs"}),
        "/boot is not the mounted EFI system partition (nothing is mounted there)",
    ),
    "another partition with loader.conf": (
        facts(conf(root="/efi"), *THREE, mounts={**ESP, "/efi": "ext4"}),
        "/efi is not the mounted EFI system partition (ext4 is mounted there)",
    ),
    "no entries": (facts(conf()), "no entry of systemd-boot has an existing kernel"),
    "entries elsewhere": (
        facts(BootFile("/mnt/loader/entries/x.conf", generation(1).lines)),
        "no entry of systemd-boot has an existing kernel",
    ),
    "two entries once": (
        facts(
            conf("default nixos-generation-2.conf"),
            generation(1),
            generation(1, "+2"),
            generation(2),
            LoaderEntryOneShot="nixos-generation-1.conf",
        ),
        "two entries have the id nixos-generation-1.conf, so either may boot",
    ),
    "an image by its name": (
        facts(conf("default Nixos-9.EFI"), *THREE, BootFile("/boot/EFI/Linux/nixos-9.efi", ())),
        "default Nixos-9.EFI may mean the unified kernel image /boot/EFI/Linux/nixos-9.efi, whose system is not read",
    ),
    "an image by a pattern that an entry matches as well": (
        facts(conf("default nixos-*"), *THREE, BootFile("/boot/EFI/Linux/nixos-9.efi", ())),
        "default nixos-* may mean the unified kernel image /boot/EFI/Linux/nixos-9.efi, whose system is not read",
    ),
    "an image by a set of letters": (
        facts(conf("default [n]ix.efi"), *THREE, BootFile("/boot/EFI/Linux/nix.efi", ())),
        "default [n]ix.efi may mean the unified kernel image /boot/EFI/Linux/nix.efi, whose system is not read",
    ),
    "the first of two images": (
        facts(
            conf("default nix-*"),
            *THREE,
            BootFile("/boot/EFI/Linux/nix-1.efi", ()),
            BootFile("/boot/EFI/Linux/nix-2.efi", ()),
        ),
        "default nix-* may mean the unified kernel image /boot/EFI/Linux/nix-1.efi, whose system is not read",
    ),
    "two images in the order": (
        facts(*THREE, BootFile("/boot/EFI/Linux/nix-1.efi", ()), BootFile("/boot/EFI/Linux/nix-2.efi", ())),
        "the unified kernel image /boot/EFI/Linux/nix-1.efi is in the menu, and its place in the order is not read",
    ),
    "the strongest of two that are preferred": (
        facts(
            conf("preferred nixos-generation-1.conf"),
            *THREE,
            LoaderInfo="systemd-boot",
            LoaderEntryPreferred="nixos-generation-2.conf",
        ),
        "it is unknown whether this systemd-boot follows 'LoaderEntryPreferred nixos-generation-2.conf'",
    ),
    "an image in the order": (
        facts(*THREE, BootFile("/boot/EFI/Linux/nixos-9.efi", ())),
        "the unified kernel image /boot/EFI/Linux/nixos-9.efi is in the menu, and its place in the order is not read",
    ),
    "preferred of an unknown version": (
        facts(conf("preferred nixos-generation-2.conf"), *THREE, LoaderInfo="systemd-boot"),
        "it is unknown whether this systemd-boot follows 'preferred nixos-generation-2.conf'",
    ),
    "preferred beside a default of the variable": (
        facts(
            conf("preferred nixos-generation-2.conf"),
            *THREE,
            LoaderInfo=NEW,
            LoaderEntryDefault="nixos-generation-1.conf",
        ),
        "it is unknown whether this systemd-boot follows 'preferred nixos-generation-2.conf'",
    ),
    "preferred beside a doubt about the default": (
        facts(
            conf("preferred nixos-generation-2.conf"),
            *THREE,
            BootFile("/boot/EFI/Linux/nixos-9.efi", ()),
            LoaderInfo="systemd-boot",
        ),
        "it is unknown whether this systemd-boot follows 'preferred nixos-generation-2.conf'",
    ),
}


@pytest.mark.parametrize("case", DOUBTS, ids=lambda case: case.replace(" ", "-"))
def test_what_the_files_do_not_decide_is_not_guessed(case: str) -> None:
    """Firmware, partitions, images and unknown versions leave a doubt, which says what it is."""
    said, doubt = DOUBTS[case]
    assert systemd_boot.choose(said) == Boot("systemd-boot", doubt=doubt)


@pytest.mark.parametrize("exact", [True, False], ids=["exact", "pattern"])
def test_image_is_not_meant_by_the_exact_name_of_an_entry(*, exact: bool) -> None:
    """An entry and an image of one name: only a pattern leaves it open which of them is meant."""
    name = "nixos.conf" if exact else "nixos.con[f]"
    said = facts(conf(f"default {name}"), entry("nixos.conf", 1), BootFile("/boot/EFI/Linux/nixos.conf.efi", ()))
    assert later(said).name == "nixos.conf"


def test_boot_of_the_firmware_s_own_choice_is_ours() -> None:
    """BootNext that names the boot option which booted is no other choice."""
    assert later(facts(*THREE, BootNext="0001")).name == "nixos-generation-3.conf"


def test_partition_of_either_kind_of_fat_will_do() -> None:
    """The kernel calls it vfat or msdos."""
    assert later(facts(*THREE, mounts={**ESP, "/boot": "msdos"})).name == "nixos-generation-3.conf"


def test_entry_for_once_is_told_by_its_variable() -> None:
    """It boots next whatever its tries are; the default comes after it."""
    boot = systemd_boot.choose(facts(*THREE, LoaderEntryOneShot="nixos-generation-1.conf"))
    assert boot.next == Entry("nixos-generation-1.conf", system(1), (), "LoaderEntryOneShot nixos-generation-1.conf")
    assert boot.lasting == Entry("nixos-generation-3.conf", system(3), (), "the order of the menu")


def test_no_tries_done_are_as_many_as_none_are_told() -> None:
    """A counter may say that none was done, or leave it out."""
    one, other = (systemd_boot._read(file) for file in (generation(1, "+2"), generation(1, "+2-0")))
    assert one is not None
    assert other is not None
    assert systemd_boot._compare(one, other) == 0


def raw(name: str, *lines: str) -> BootFile:
    return BootFile(f"/boot/loader/entries/{name}", lines)


@pytest.mark.parametrize(
    "file",
    [
        raw(".hidden.conf", "linux /k"),
        raw("auto-x.conf", "linux /k"),
        raw("x.conf", "options init=/x"),
        raw("x.conf", "linux "),
        raw("x.conf", "linux /k", "missing /k gone"),
        raw("x.conf", "efi /k", "missing /k gone"),
        raw("x.conf", "uki /k", "missing /k gone"),
    ],
    ids=lambda file: " ".join((file.name, *file.lines)),
)
def test_entry_that_cannot_be_started_is_not_in_the_menu(file: BootFile) -> None:
    """systemd-boot leaves out hidden files, and entries without a kernel or with one that is not there."""
    assert later(facts(file, entry("nixos.conf", 1, sort_key=None))).name == "nixos.conf"


@pytest.mark.parametrize("key", ["linux", "efi", "uki"])
def test_entry_starts_what_it_names(key: str) -> None:
    """A kernel, a program of EFI or an image makes an entry; a kernel that is empty is there all the same."""
    file = raw(
        "x.conf", f"{key} /k", "initrd /i", f"options init={system(1)}/init", "missing /k empty", "missing /i gone"
    )
    assert later(facts(file)) == Entry("x.conf", system(1), ("/i", "/k"), "the order of the menu")


def test_last_value_of_a_key_counts_unless_it_is_empty() -> None:
    """A key that stands twice is the second; one without a value changes nothing."""
    file = raw("x.conf", "linux /k", "options init=/old/init", f"options init={system(1)}/init", "options ")
    assert later(facts(file)).system == system(1)


@pytest.mark.parametrize(
    ("name", "id_"),
    [
        ("x+3.conf", "x.conf"),
        ("x+3-1.conf", "x.conf"),
        ("X+3-1.conf", "x.conf"),
        ("x+y.conf", "x+y.conf"),
        ("x+3-.conf", "x+3-.conf"),
        ("x.conf", "x.conf"),
    ],
)
def test_id_of_an_entry_is_its_file_without_the_counter(name: str, id_: str) -> None:
    """Whatever counts its tries, an entry is chosen by the same id, in small letters."""
    said = facts(conf(f"default {id_}"), raw(name, "linux /k"), raw("z.conf", "linux /k", "sort-key a"))
    assert later(said).name == name


RISING = [
    ("", "1"),
    ("~1", ""),
    ("1~", "1"),
    ("1~1", "1"),
    ("1~1", "1~2"),
    ("~", "~~"),
    ("-1", "1"),
    ("1", "1-1"),
    ("1-1", "1^1"),
    ("1^1", "1.1"),
    ("1-1", "1-2"),
    ("1^1", "1^2"),
    ("1.1", "1.2"),
    ("1.9", "1.10"),
    ("2", "10"),
    ("1.09", "1.10"),
    ("1.9a", "1.10a"),
    ("12", "13"),
    ("a", "b"),
    ("a", "ab"),
    ("a", "1"),
    ("A", "a"),
    ("a", "1a"),
    ("ab", "1a"),
    ("1a", "1b"),
    ("1a", "11"),
    ("1", "1a"),
    ("Generation 9 x", "Generation 10 a"),
]


@pytest.mark.parametrize(("older", "newer"), RISING)
def test_older_version_is_older_and_the_newer_one_newer(older: str, newer: str) -> None:
    """The order is systemd's, from both sides, and every version equals itself."""
    assert compare_versions(older, newer) < 0 < compare_versions(newer, older)
    assert compare_versions(older, older) == compare_versions(newer, newer) == 0


@pytest.mark.parametrize(("one", "other"), [("1_2", "1+2"), ("_1", "1"), ("01", "1"), ("1.0", "1.00"), ("é1", "1")])
def test_versions_that_say_the_same_are_equal(one: str, other: str) -> None:
    """Other characters only separate, and zeros before a number count for nothing."""
    assert compare_versions(one, other) == compare_versions(other, one) == 0


def test_hashes_of_one_version_go_by_name() -> None:
    """Two entries of one generation are told apart by their files alone."""
    assert later(facts(hashed("f", 1), hashed("a", 1))).name == f"nixos-{'f' * 32}.conf"
