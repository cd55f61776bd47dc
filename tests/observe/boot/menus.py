"""Boot partitions in the form of a host's answer."""

from __future__ import annotations

from collections.abc import Mapping

from switchproof.deploy.observe.boot.facts import BootFacts, BootFile

ESP = {"/boot": "vfat", "/sys/firmware/efi/efivars": "efivarfs"}
BOOTED = {"LoaderInfo": "systemd-boot 257.13", "BootCurrent": "0001"}


def system(name: str | int) -> str:
    """A system's store path."""
    return f"/nix/store/{'a' * 32}-nixos-system-{name}"


def entry(
    file: str,
    name: str | int,
    *,
    sort_key: str | None = "nixos",
    version: str | None = None,
    machine_id: str | None = None,
    missing: tuple[str, ...] = (),
) -> BootFile:
    """An entry of systemd-boot that starts a system."""
    lines = [
        f"sort-key {sort_key}" if sort_key else "",
        f"machine-id {machine_id}" if machine_id else "",
        f"version {version if version is not None else f'Generation {name} NixOS 25.11, built on 2026-11-26'}",
        "linux /EFI/nixos/kernel.efi",
        "initrd /EFI/nixos/initrd.efi",
        f"options init={system(name)}/init",
        *(f"missing {line}" for line in missing),
    ]
    return BootFile(f"/boot/loader/entries/{file}", tuple(line for line in lines if line))


def generation(number: int, tries: str = "", **values: str | None) -> BootFile:
    """An entry as NixOS names it."""
    return entry(f"nixos-generation-{number}{tries}.conf", number, **values)  # type: ignore[arg-type]  # as given


def hashed(letter: str, number: int, tries: str = "", **values: str | None) -> BootFile:
    """An entry with the hash of its content in its name."""
    return entry(f"nixos-{letter * 32}{tries}.conf", number, **values)  # type: ignore[arg-type]  # as given


def conf(*lines: str, root: str = "/boot") -> BootFile:
    """A loader.conf."""
    return BootFile(f"{root}/loader/loader.conf", lines)


def facts(
    *files: BootFile,
    firmware: str = "efi",
    mounts: Mapping[str, str] | None = None,
    cut: bool = False,
    **variables: str,
) -> BootFacts:
    """A host that systemd-boot has booted."""
    return BootFacts(firmware, ESP if mounts is None else mounts, {**BOOTED, **variables}, files, cut)


def grub_cfg(*lines: str, default: str = "0", systems: tuple[str | int, ...] = (2, 1), missing: str = "") -> BootFile:
    """A grub.cfg as NixOS writes it: the default system, then all in a submenu."""

    def menuentry(title: str, name: str | int) -> list[str]:
        return [
            f'menuentry "{title}" --class nixos --unrestricted {{',
            "set root=x",
            f"linux ($drive1)//kernels/bzImage init={system(name)}/init",
            *([f"missing {missing}"] if missing else []),
            "initrd ($drive1)//kernels/initrd",
            "}",
        ]

    text = [
        "if [ -s $prefix/grubenv ]; then",
        "fi",
        'if [ "${next_entry}" ] ; then',
        'set default="${next_entry}"',
        "set next_entry=",
        "set timeout=1",
        "set boot_once=true",
        "else",
        f"set default={default}",
        "set timeout=5",
        "fi",
        "function savedefault {",
        'if [ -z "${boot_once}"]; then',
        "fi",
        "}",
        *lines,
        *menuentry("NixOS - Default", systems[0]),
        'submenu "NixOS - All configurations" --class submenu {',
        *(line for name in systems for line in menuentry(f"NixOS - Configuration {name}", name)),
        "}",
    ]
    return BootFile("/boot/grub/grub.cfg", tuple(text))


def grubenv(*lines: str) -> BootFile:
    """GRUB's environment block."""
    return BootFile("/boot/grub/grubenv", lines)


def grub_facts(*files: BootFile, **variables: str) -> BootFacts:
    """A host that GRUB has booted by a BIOS."""
    return BootFacts("none", {"/boot": "ext4"}, variables, files, cut=False)
