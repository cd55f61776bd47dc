"""What a boot loader chooses."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """An entry of a boot loader's menu.

    Attributes:
        name: Its name in the menu or its file.
        system: The system that it starts, by its `init=`; empty if it names none.
        missing: Its kernel or initrd that is not there.
        why: What chooses it, such as `LoaderEntryDefault` or `default nixos-*`.
    """

    name: str
    system: str
    missing: tuple[str, ...] = ()
    why: str = ""

    def __str__(self) -> str:
        return f"{self.system or 'no NixOS system'} ({self.name}{f', by {self.why}' if self.why else ''})"


@dataclass(frozen=True)
class Boot:
    """What a host boots.

    Attributes:
        loader: The boot loader: `systemd-boot`, `grub`, or `none` where the target file says that there is none.
        next: What the next boot starts; None if that is not known.
        lasting: What later boots start.
        doubt: Why it is not known what boots; empty if it is known.
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

    def problem(self, expected: str) -> str:
        """Say what keeps the host from booting `expected`, empty if nothing does or nothing is known."""
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
