"""The choice of a boot loader (pure)."""

from __future__ import annotations

import msgspec


class Entry(msgspec.Struct, frozen=True):
    """An entry of a boot loader's menu.

    Attributes:
        name: Its name in the menu or its file.
        system: The system that it starts, by its `init=`; empty if it names none.
        missing: Its kernel or initrd, if missing or empty.
        why: The setting that chooses it, such as `LoaderEntryDefault` or `default nixos-*`.
    """

    name: str
    system: str
    missing: tuple[str, ...] = ()
    why: str = ""

    def __str__(self) -> str:
        return f"{self.system or 'no NixOS system'} ({self.name}{f', by {self.why}' if self.why else ''})"


class Boot(msgspec.Struct, frozen=True):
    """The next boots of a host.

    Attributes:
        loader: The boot loader: `systemd-boot`, `grub`, or `none` if the target file says that there is none.
        next: The entry of the next boot; None if unknown.
        lasting: The entry of later boots; None if unknown.
        doubt: Why they are unknown; empty if they are known.
    """

    loader: str
    next: Entry | None = None
    lasting: Entry | None = None
    doubt: str = ""

    def __str__(self) -> str:
        if self.loader == "none":
            return "no boot loader decides, according to the target file"
        if self.next is None or self.lasting is None:
            return f"unknown: {self.doubt}"
        later = "" if self.lasting == self.next else f" once, then {self.lasting}"
        return f"{self.next}{later}"

    def first_of(self, *systems: str) -> str:
        """Return the first of these systems that the host will boot; without one the first."""
        return next((system for system in systems if not self.problem(system)), systems[0])

    def problem(self, expected: str) -> str:
        """Return why the host will not boot `expected`; empty if it will, or if nothing is known."""
        if self.next is None or self.lasting is None:
            return ""
        for entry, when in (
            (self.next, "the next boot starts"),
            (self.lasting, "the boot after the next one starts"),
        ):
            if entry.system != expected:
                return f"{when} {entry}, not {expected}"
            if entry.missing:
                return f"{when} {entry}, but {', '.join(entry.missing)} is missing or empty, so it cannot start"
        return ""
