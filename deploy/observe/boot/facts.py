"""What a host says about its boot loader, as typed facts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from switchproof.deploy.host.frame import Frame, FrameError

_FIELD = "\x1f"


@dataclass(frozen=True)
class BootFile:
    """A file that a boot loader reads.

    Attributes:
        path: Where the host has it.
        lines: The lines that bear on what boots. `missing PATH gone` and `missing PATH empty` name a kernel or initrd
            that the lines before it ask for.
    """

    path: str
    lines: tuple[str, ...]

    @property
    def name(self) -> str:
        """The file's name without its folder."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class BootFacts:
    """Everything that bears on what a host boots.

    Attributes:
        firmware: `efi`, `none` (a BIOS, or no firmware that Linux knows), or `container`.
        mounts: File system types of the mount points that matter, by path.
        variables: EFI variables as text, by name without the vendor's id.
        files: The files of every boot loader that was found.
        cut: Whether there was more than the host tells.
    """

    firmware: str
    mounts: Mapping[str, str]
    variables: Mapping[str, str]
    files: tuple[BootFile, ...]
    cut: bool

    def named(self, pattern: str) -> list[BootFile]:
        """The files whose whole path matches a regular expression."""
        return [file for file in self.files if re.fullmatch(pattern, file.path)]


def read_boot_facts(frame: Frame) -> BootFacts:
    """Read what a host says about its boot loader.

    Raises:
        FrameError: A part is missing or cannot be understood.
    """
    files: list[BootFile] = []
    for block in frame.text("boot.files").split(_FIELD)[1:]:
        path, *lines = block.split("\n")
        files.append(BootFile(path, tuple(line for line in lines if line)))
    return BootFacts(
        firmware=frame.text("boot.firmware").strip(),
        mounts=_pairs(frame, "boot.mounts"),
        variables=_pairs(frame, "boot.variables"),
        files=tuple(files),
        cut=bool(frame.text("boot.cut").strip()),
    )


def _pairs(frame: Frame, name: str) -> dict[str, str]:
    pairs = {}
    for line in frame.text(name).split("\n"):
        key, separator, value = line.partition(" ")
        if line and not separator:
            raise FrameError(f"part {name!r} of the host's answer cannot be understood: {line[:60]!r}")
        if line:
            pairs[key] = value
    return pairs
