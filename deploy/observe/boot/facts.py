"""A host's report on its boot loader, as typed facts (pure)."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from switchproof.deploy.host.frame import Frame, FrameError

_FIELD = "\x1f"


class BootFile(msgspec.Struct, frozen=True):
    """A file that a boot loader reads.

    Attributes:
        path: Its path on the host.
        lines: The lines that matter for the choice. `missing PATH gone` and `missing PATH empty` name a kernel or
            initrd of the lines before.
    """

    path: str
    lines: tuple[str, ...]

    @property
    def name(self) -> str:
        """The file's name without its folder."""
        return self.path.rpartition("/")[2]


class BootFacts(msgspec.Struct, frozen=True):
    """Everything that decides what a host boots.

    Attributes:
        firmware: `efi`, `none` (a BIOS, or no firmware that Linux knows), or `container`.
        mounts: File system types of the mount points that matter, by path.
        variables: EFI variables as text, by name without the vendor's id.
        files: The files of every boot loader on the host.
        cut: Whether the host left out a part, because it was too long.
    """

    firmware: str
    mounts: Mapping[str, str]
    variables: Mapping[str, str]
    files: tuple[BootFile, ...]
    cut: bool

    def named(self, pattern: str) -> list[BootFile]:
        """Return the files whose whole path matches a regular expression."""
        return [file for file in self.files if re.fullmatch(pattern, file.path)]


def read_boot_facts(frame: Frame) -> BootFacts:
    """Read a host's report on its boot loader.

    Raises:
        FrameError: A part is missing or malformed.
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
