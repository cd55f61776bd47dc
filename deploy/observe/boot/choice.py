"""Chooses the boot loader of a host, and asks its module what boots next (pure)."""

from __future__ import annotations

from typing import Literal, TypeAlias

from switchproof.deploy.observe.boot import grub, systemd_boot
from switchproof.deploy.observe.boot.chosen import Boot
from switchproof.deploy.observe.boot.facts import BootFacts, BootFile

Loader: TypeAlias = Literal["detect", "systemd-boot", "grub", "none"]


def choose_boot(facts: BootFacts, loader: Loader) -> Boot:
    """Compute the next boot of a host, and the boots after it.

    Args:
        facts: The host's report on its boot loader.
        loader: The boot loader that the target file names; `detect` to find out.
    """
    if loader == "none":
        return Boot("none")
    if loader == "detect":
        detected = _detect(facts)
        if isinstance(detected, Boot):
            return detected
        loader = detected
    return systemd_boot.choose(facts) if loader == systemd_boot.LOADER else grub.choose(facts)


def _detect(facts: BootFacts) -> Loader | Boot:
    booted_by = facts.variables.get("LoaderInfo", "")
    has_grub = bool(facts.named(grub.CONFIG))
    has_systemd_boot = bool([file for file in facts.files if _is_of_systemd_boot(file)])
    if booted_by.startswith("systemd-boot"):
        return "systemd-boot"
    if has_grub and (booted_by.startswith("GRUB") or not has_systemd_boot or facts.firmware == "none"):
        return "grub"
    if has_grub:
        return Boot(
            "", doubt="there are entries of systemd-boot and of GRUB; name the one that decides in boot.loader"
        )
    if has_systemd_boot:
        return "systemd-boot"
    others = ", ".join(file.path for file in facts.files)
    problem = (
        f"the boot loader of {others} is not one that can be read here"
        if others
        else "no boot loader was found in /boot or /efi"
    )
    where = ", and this host is a container" if facts.firmware == "container" else ""
    return Boot(
        "", doubt=f'{problem}{where}; if the host boots without one, set boot.loader = "none" and give the reason'
    )


def _is_of_systemd_boot(file: BootFile) -> bool:
    return "/loader/" in file.path or "/EFI/Linux/" in file.path
