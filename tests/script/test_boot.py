"""Of what boot loaders read only the lines that bear on the choice are sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from switchproof.deploy.host.frame import Frame, read_sections
from switchproof.deploy.observe.boot.facts import BootFacts, read_boot_facts
from tests.host_functions import run


def told(tmp_path: Path, made: str, then: str = "") -> BootFacts:
    """What a host with these files says of its boot."""
    text = f"""
      mkdir -p {tmp_path}/boot && cd {tmp_path}/boot
      EFIVARS={tmp_path}/efivars BOOT_ENTRIES=4 BOOT_LINES=6
      {made}
      cd /; {then}
      say_boot
      printf '%s' "$payload"
    """
    replace = {"in /boot /efi ": "in /boot ", "/boot": f"{tmp_path}/boot", "/sys/firmware": f"{tmp_path}/firmware"}
    replace |= {"/run/systemd/container": f"{tmp_path}/container", f"{tmp_path}{tmp_path}": str(tmp_path)}
    said = run(text, "answer", "contract", "files", "boot", replace=replace).encode()
    return read_boot_facts(Frame("observe", read_sections("observe", said)))


def lines_of(facts: BootFacts) -> dict[str, list[str]]:
    return {Path(file.path).name: [line.rstrip() for line in file.lines] for file in facts.files}


def test_entries_and_default_of_systemd_boot_are_told(tmp_path: Path) -> None:
    """Each entry has its lines in their order, and a kernel that is not there, or is empty, is said to be missing."""
    facts = told(
        tmp_path,
        r"""
        mkdir -p loader/entries EFI/nixos
        echo x >EFI/nixos/k.efi; : >EFI/nixos/empty.efi
        printf 'timeout 5\n# default no.conf\n default\tnixos-2.conf\r\neditor 0\n' >loader/loader.conf
        printf 'sort-key nixos\nlinux /EFI/nixos/k.efi\ninitrd /EFI/nixos/gone.efi\n' >loader/entries/nixos-1.conf
        echo 'options quiet init=/a/init init=/b/init x' >>loader/entries/nixos-1.conf
        printf 'linux \\EFI\\nixos\\empty.efi\n' >loader/entries/nixos-2.CONF
        """,
    )
    files = lines_of(facts)
    assert files["loader.conf"] == ["default nixos-2.conf"]
    assert files["nixos-1.conf"] == [
        "sort-key nixos",
        "linux /EFI/nixos/k.efi",
        "initrd /EFI/nixos/gone.efi",
        "missing /EFI/nixos/gone.efi gone",
        "options init=/b/init",
    ]
    assert files["nixos-2.CONF"] == ["linux \\EFI\\nixos\\empty.efi", "missing /EFI/nixos/empty.efi empty"]
    assert (facts.firmware, facts.cut) == ("none", False)


@pytest.mark.parametrize(
    "made",
    [
        "mkdir -p loader/entries; for n in 1 2 3 4 5; do : >loader/entries/$n.conf; done",
        "mkdir -p loader; for n in 1 2 3 4 5 6 7; do echo default x; done >loader/loader.conf",
    ],
)
def test_more_than_is_read_is_said_to_be_cut(tmp_path: Path, made: str) -> None:
    """Of a folder or file without end only the beginning is sent, and that there was more."""
    assert told(tmp_path, made).cut


def test_variables_of_efi_are_read(tmp_path: Path) -> None:
    """Texts come without their NUL bytes, and numbers as four digits."""
    facts = told(
        tmp_path,
        r"""
        mkdir -p "$EFIVARS" ../firmware/efi
        printf '\6\0\0\0n\0i\0x\0' >"$EFIVARS/LoaderEntryDefault-$OF_LOADER"
        printf '\6\0\0\0\1\0' >"$EFIVARS/BootCurrent-$OF_EFI"
        """,
    )
    assert facts.firmware == "efi"
    assert facts.variables == {"LoaderEntryDefault": "nix", "BootCurrent": "0001"}


def test_grub_s_choice_is_told(tmp_path: Path) -> None:
    """Of grub's environment the variables are sent, of its menu what makes entries; a container has no firmware."""
    facts = told(
        tmp_path,
        r"""
        mkdir grub; touch ../container
        printf '# GRUB Environment Block\nsaved_entry=2\n####\n' >grub/grubenv
        printf '  set default="0"\nmenuentry "NixOS" {\n  insmod gzio\n}\n' >grub/grub.cfg
        """,
    )
    files = lines_of(facts)
    assert files == {"grubenv": ["saved_entry=2"], "grub.cfg": ['set default="0"', 'menuentry "NixOS" {', "}"]}
    assert facts.firmware == "container"
