"""Decides whether microVMs can use KVM: only if a first boot has shown it."""

import os
import re
from pathlib import Path

import msgspec

from switchproof.deploy.cache import cache_folder
from switchproof.deploy.providers.lab import folders, process
from switchproof.deploy.providers.lab.errors import CommandFailedError
from switchproof.deploy.providers.lab.state import Accelerator

FIRST_BOOT = Path(__file__).parent / "first-boot.sh"
FIRST_BOOT_TIMEOUT_S = 10.0


class Seen(msgspec.Struct, frozen=True):
    """This machine's support for KVM.

    Attributes:
        extensions: Whether the processor offers virtualization.
        writable: Whether /dev/kvm exists and can be opened.
        paravirtual: Whether KVM interprets the guest's kernel, and so supports too few instructions.
    """

    extensions: bool
    writable: bool
    paravirtual: bool


def look() -> Seen:
    """Read this machine's support for KVM."""
    flags = set(re.findall(r"\w+", Path("/proc/cpuinfo").read_text("utf-8")))
    return Seen(
        extensions=bool(flags & {"svm", "vmx"}),
        writable=os.access("/dev/kvm", os.R_OK | os.W_OK),
        paravirtual=Path("/sys/module/kvm_pvm").exists(),
    )


def promising(seen: Seen) -> bool:
    """Whether a first boot is worth trying."""
    return seen.extensions and seen.writable and not seen.paravirtual


def accelerator(image: Path) -> Accelerator:
    """Return the accelerator for an image's microVMs on this machine, tested once per image and kernel."""
    if not promising(look()):
        return "tcg"
    known = cache_folder() / f"{image.name}.kvm-{os.uname().release}"
    with folders.locked("first-boot", timeout_s=3 * FIRST_BOOT_TIMEOUT_S):
        if not known.exists():
            known.write_text("yes" if boots(image, "kvm", timeout_s=FIRST_BOOT_TIMEOUT_S) else "no", "utf-8")
    return "kvm" if known.read_text("utf-8") == "yes" else "tcg"


def boots(image: Path, machinery: Accelerator, *, timeout_s: float) -> bool:
    """Boot the image's sandbox once as its unit does; return whether it served in time."""
    folder = cache_folder() / "first-boot"
    folder.mkdir(exist_ok=True)
    command = ["unshare", "--net", "--", "bash", str(FIRST_BOOT), str(image), machinery, str(folder)]
    try:
        return process.run(process.tied(command), timeout_s=timeout_s).returncode == 0
    except CommandFailedError:
        return False
