"""Names of evidence that every file system accepts, and limits so that no host fills the runner's disk."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict

import msgspec

from switchproof.deploy.host import limits

_LONGEST = 120
"""Characters of one component of a path; file systems accept 255 bytes, and a suffix is added."""
_ODD = re.compile(r"[^A-Za-z0-9_.@:+\\\[\] -]")


class Shelf(msgspec.Struct):
    """The evidence kept of each host. Not thread-safe.

    Attributes:
        used: The number of kept characters, by host.
        names: The names in use, by host.
    """

    used: Counter[str] = msgspec.field(default_factory=Counter)
    names: defaultdict[str, set[str]] = msgspec.field(default_factory=lambda: defaultdict(set))

    def fit(self, host: str, content: str) -> str | None:
        """Return the part of a text that fits; None if there is no room left."""
        if len(self.names[host]) >= limits.FILES or self.used[host] >= limits.EVIDENCE:
            return None
        fitting = shorten(content, min(limits.FILE, limits.EVIDENCE - self.used[host]))
        self.used[host] += len(fitting)
        return fitting

    def name(self, host: str, wanted: str) -> str:
        """Return a name that every file system accepts and no other evidence of the host has."""
        name = file_name(wanted)
        number = 1
        while name.lower() in self.names[host]:
            number += 1
            stem, dot, kind = file_name(wanted).rpartition(".")
            name = f"{stem}-{number}{dot}{kind}"
        self.names[host].add(name.lower())
        return name


def file_name(wanted: str) -> str:
    """Make a file name from any name; an acceptable one stays as it is."""
    return "/".join(_part(part) for part in wanted.split("/") if part) or "x"


def _part(part: str) -> str:
    plain = _ODD.sub("_", part)
    if plain == part and len(part) <= _LONGEST and part.strip("."):
        return part
    stem, dot, kind = plain.rpartition(".")
    ending = f".{kind}" if dot and len(kind) <= len("partial") else ""
    digest = hashlib.sha256(part.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{(stem if ending else plain)[:_LONGEST].strip('.')}~{digest}{ending}"


def shorten(content: str, limit: int) -> str:
    """Shorten a text to about `limit` characters, with a note in place of its middle."""
    if len(content) <= limit:
        return content
    half = limit // 2
    left_out = len(content) - 2 * half
    return f"{content[:half]}\n[{left_out} characters are left out here]\n{content[len(content) - half :]}"
