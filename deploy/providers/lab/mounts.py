"""Mounts and deletes the folders of lab hosts, and nothing else."""

import errno
import re
import shutil
import time
from pathlib import Path

from switchproof.deploy.providers.lab import process
from switchproof.deploy.providers.lab.errors import LabError

SOURCE = "switchproof-lab"  # how `mount` and `findmnt` show a host's root


def mount_points(table: str | None = None) -> list[tuple[Path, str, str]]:
    """Return mount point, type and super block options of every mount that this process sees."""
    text = table if table is not None else Path("/proc/self/mountinfo").read_text("utf-8")
    mounts = []
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        kind, _source, options = right.split(" ", 2)
        # The kernel writes blanks and backslashes as octal numbers.
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), left.split(" ")[4])
        mounts.append((Path(point), kind, options))
    return mounts


def mount_root(folder: Path, image: Path) -> Path:
    """Mount a writable layer in `folder` over the image, and return the merged root."""
    for name in ("upper", "work", "root"):
        (folder / name).mkdir(exist_ok=True)
    (folder / "image").unlink(missing_ok=True)
    (folder / "image").symlink_to(image)
    # Relative paths, because a colon or comma in a path would end an option. "volatile" skips writing to the
    # disk: the layer does not outlive the lab, and a power cut of the host leaves this machine's memory alone.
    layers = "lowerdir=image,upperdir=upper,workdir=work,volatile"
    process.check(["mount", "--types", "overlay", SOURCE, "--options", layers, "root"], timeout_s=20, cwd=folder)
    # Later mounts below it stay where they are.
    process.check(["mount", "--make-private", "root"], timeout_s=20, cwd=folder)
    return folder / "root"


def is_mounted(path: Path) -> bool:
    """Whether something is mounted exactly there."""
    return any(point == path for point, _, _ in mount_points())


def unmount_below(folder: Path, *, timeout_s: float = 5) -> None:
    """Unmount everything at or below a folder, deepest first; detach busy mounts."""
    deadline = time.monotonic() + timeout_s
    while points := _below(folder):
        point = max(points, key=lambda path: len(path.parts))
        if process.run(["umount", str(point)], timeout_s=20).returncode == 0:
            continue
        if time.monotonic() < deadline:
            time.sleep(0.05)
        else:
            process.check(["umount", "--lazy", str(point)], timeout_s=20)


def delete(folder: Path, *, timeout_s: float = 10) -> None:
    """Delete a folder with all its content, even while a command of a killed owner writes to it.

    Raises:
        LabError: Something is still mounted inside, which would be deleted too.
    """
    if points := _below(folder):
        raise LabError(f"{folder} is not deleted because {points[0]} is still mounted.")
    if folder.is_symlink():
        raise LabError(f"{folder} is not deleted because it is a symbolic link.")
    deadline = time.monotonic() + timeout_s
    while folder.exists():
        try:
            shutil.rmtree(folder)
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.ENOENT} or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _below(folder: Path) -> list[Path]:
    real = folder.resolve()
    return [point for point, _, _ in mount_points() if point == real or real in point.parents]
