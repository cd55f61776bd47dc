"""The NixOS systems that a host runs, has set and has booted (pure)."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from switchproof.deploy.host.frame import Frame
from switchproof.deploy.observe.bridge import Installed, read_installed
from switchproof.deploy.observe.parts.text import refuse_malformed
from switchproof.deploy.record.events import SystemIdentity


class System(msgspec.Struct, frozen=True):
    """The system that a host runs, the one it has set, and the one it booted.

    Attributes:
        running: Store path behind `/run/current-system`.
        profile: Store path of the system profile's current generation.
        specialisation: The name of the profile's specialisation that runs; empty if none of them does.
        booted: Store path behind `/run/booted-system`.
        generation: Number of the profile's current generation.
        revision: The commit that the system reports for itself (`configurationRevision`).
        built_from: The commit that this host noted when it built the running system.
        boot_id: The kernel's id of this boot.
        nar_hash: `sha256:` and the hash of the running system as a Nix archive, in Nix's base 32; empty if unknown.
        wrapped: The running system, if the profile contains only links to all of its parts; else empty.
        installed: The state of each path where the store path bridge installs a program, by program.
        reboot_parts: Parts, such as `kernel`, that differ between the booted and the running system.
        kernels: The version of the booted kernel, and that of the running system's kernel.
    """

    running: str
    profile: str
    booted: str
    generation: int | None
    revision: str
    built_from: str
    boot_id: str
    nar_hash: str = ""
    wrapped: str = ""
    installed: Mapping[str, Installed] = msgspec.field(default_factory=dict)
    reboot_parts: tuple[str, ...] = ()
    kernels: tuple[str, str] = ("", "")
    specialisation: str = ""

    def wrong_specialisation(self, wanted: str) -> str:
        """Return why the host does not run the wanted part of its profile's system; empty if it does.

        Args:
            wanted: The name of a specialisation; empty for the system itself.
        """
        if self.specialisation == wanted:
            return ""
        runs = f"the specialisation {self.specialisation!r}" if self.specialisation else "the system itself"
        if not wanted:
            return (
                f"the host runs {runs} of its system, and the target file names none: somebody switched to it or "
                "booted it; deploy again, or name it as `specialisation` of the host"
            )
        return (
            f"the host runs {runs}, not the specialisation {wanted!r} that the target file names; a reboot or a "
            "switch by hand ends a specialisation; deploy again"
        )

    @property
    def awaits_reboot(self) -> str:
        """A sentence that names the parts of the running system that need a reboot; empty if there are none."""
        if not self.reboot_parts:
            return ""
        booted, configured = self.kernels
        versions = f" (booted: {booted}, configured: {configured})" if booted != configured else ""
        waits = f"A reboot is needed before this system's {', '.join(self.reboot_parts)} is in use{versions}"
        if self.specialisation:
            return (
                f"{waits}; it starts the specialisation {self.specialisation!r} only if the boot loader is told to."
            )
        return f"{waits}."

    @property
    def commit(self) -> str | None:
        """The full commit of the running system; None if it is unknown."""
        for revision in (self.revision, self.built_from):
            if re.fullmatch(r"[0-9a-f]{40}", revision):
                return revision
        return None

    @property
    def named_commit(self) -> str | None:
        """The commit that the system reports, perhaps abbreviated or marked dirty; else the one the host noted."""
        return self.revision if re.fullmatch(r"[0-9a-f]{7,40}(-dirty)?", self.revision) else self.commit

    @property
    def has_consistent_commit(self) -> bool:
        """Whether the commit that the system reports is the one that the host noted when it built the system."""
        reported = re.fullmatch(r"([0-9a-f]{7,40})(-dirty)?", self.revision)
        noted = re.fullmatch(r"[0-9a-f]{40}", self.built_from)
        return reported is None or noted is None or self.built_from.startswith(reported[1])

    @property
    def identity(self) -> SystemIdentity:
        """This system as the record stores it."""
        return SystemIdentity(
            toplevel=self.running or None,
            generation=self.generation,
            revision=self.commit,
            boot_id=self.boot_id or None,
            nar_hash=self.nar_hash or None,
            specialisation=self.specialisation or None,
        )


def read_system(frame: Frame) -> System:
    """Read the host's system from any frame that contains it.

    Raises:
        FrameError: A part is missing.
    """
    generation = frame.text("system.generation")
    with refuse_malformed():
        installed = read_installed(frame.text("system.installed"))
    booted_kernel, _, configured_kernel = frame.text("system.kernels").partition(" ")
    return System(
        running=frame.text("system.running"),
        profile=frame.text("system.profile"),
        booted=frame.text("system.booted"),
        generation=int(generation) if generation.isdecimal() else None,
        revision=frame.text("system.revision").strip(),
        built_from=frame.text("system.built_from").strip(),
        boot_id=frame.text("system.boot_id"),
        nar_hash=frame.text("system.nar_hash").strip(),
        wrapped=frame.get("system.wrapped").strip(),
        installed=installed,
        reboot_parts=tuple(frame.text("system.reboot").split()),
        kernels=(booted_kernel.strip(), configured_kernel.strip()),
        specialisation=frame.get("system.specialisation").strip(),
    )
