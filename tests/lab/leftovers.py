"""Finds everything that a lab left on this machine."""

from pathlib import Path

from switchproof.deploy.providers.lab import cgroup, folders, mounts


def leftovers(lab: str) -> list[str]:
    """Return every mount, process, interface, cgroup, namespace and file that still carries a lab's name."""
    mark = f"switchproof-{lab}-"
    folder = folders.labs() / lab
    found = [f"mount {point}" for point, _, _ in mounts.mount_points() if folder in (point, *point.parents)]
    found += [f"process {pid}: {line}" for pid, line in _command_lines() if mark in line or str(folder) in line]
    for root in filter(None, cgroup.hierarchies()):
        found += [f"cgroup {path}" for path in root.glob(f"{mark}*")]
    for place in ("/run/systemd/nspawn", "/run/netns", "/var/lib/machines", "/run/systemd/machines"):
        found += [f"file {path}" for path in Path(place).rglob(f"*{mark}*")]
    if folder.exists():
        found.append(f"folder {folder}")
    return found


def _command_lines() -> list[tuple[int, str]]:
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append((int(path.parent.name), path.read_bytes().replace(b"\0", b" ").decode(errors="replace")))
        except OSError:  # it ended meanwhile
            continue
    return lines
