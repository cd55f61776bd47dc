"""This machine with nix, as a runner that builds: the one of a lab's image, with a store of its own."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from switchproof.deploy.cache import cache_folder
from switchproof.deploy.providers.lab.lab import Lab

HALF = "head -c 4096"
"""Less than the one path of a system has that a host lacks which had the system of an almost equal commit."""


@dataclass(frozen=True)
class Runner:
    """Programs that run the image's nix.

    Attributes:
        folder: The store and the programs.
        repository: The URL from which git fetches here.
    """

    folder: Path
    repository: str

    def exports(self, text: str = 'real "$@"') -> None:
        """Say what `nix-store --export` does; `real` is the real nix-store."""
        (self.folder / "export").write_text(f"{text}\n", encoding="utf-8")

    @property
    def go(self) -> Path:
        """A file for which an export of `waiting` waits."""
        return self.folder / "go"

    def waiting(self) -> str:
        """An export that stands still in the middle until `go` is there."""
        wait = f"until [ -e {self.go} ]; do sleep 0.05; done"
        return f'set -o pipefail; real "$@" | {{ {HALF}; {wait}; cat; }}'


@contextmanager
def runner_with_nix(lab: Lab) -> Iterator[Runner]:
    """Make programs that run the image's nix in a mount namespace, for as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix="switchproof-nix-") as name:
        folder, image = Path(name), cache_folder() / lab.state.image
        for part in ("bin", "nix/store", "nix/var"):
            (folder / part).mkdir(parents=True)
        shared = tempfile.gettempdir()
        mounts = [f"mount --bind {folder}/nix {image}/nix", f"mount --bind {shared} {image}{shared}"]
        mounts += [f"mount --rbind /dev {image}/dev", f"mount -t proc proc {image}/proc"]
        inside = f"exec chroot {image} env HOME={folder} PATH=/usr/bin:/bin"
        real = f"unshare --mount bash -ec {shlex.quote('; '.join([*mounts, inside]))}' \"$@\"' bash"
        export = f'if [ "$1" = --export ]; then . {folder}/export; exit; fi'
        programs = {
            "nix": f'exec {real} nix "$@"',
            "nix-store": f'real() {{ {real} nix-store "$@"; }}\n{export}\nreal "$@"',
        }
        for program, text in programs.items():
            (folder / "bin" / program).write_text(f"#!/bin/bash\n{text}\n", encoding="utf-8")
            (folder / "bin" / program).chmod(0o755)
        runner = Runner(folder, f"file://{lab.repository}")
        runner.exports()
        yield runner
