"""What the installed plugin costs a run of pytest that is no deploy: `python -m bench.startup`."""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LIMIT_MS = 15.0
"""Milliseconds that the plugin may add to the start of somebody else's tests."""

_TIMES = 15


def measure(folder: Path, *words: str) -> float:
    """Measure the CPU time, in milliseconds, in which pytest runs one empty test in a folder."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *words],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def added_ms(folder: Path, times: int = _TIMES) -> float:
    """Return the median of what the plugin adds, in milliseconds, with each run beside one without it.

    Args:
        folder: An empty folder.
        times: How many pairs of runs.
    """
    (folder / "pyproject.toml").touch()
    (folder / "test_empty.py").write_text("def test(): pass\n", encoding="utf-8")
    measure(folder)
    return statistics.median(measure(folder) - measure(folder, "-p", "no:switchproof") for _ in range(times))


def main() -> int:
    """Measure and print; 1 if the plugin costs more than it may."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        added = added_ms(Path(folder))
        print(
            f"the plugin adds {added:.1f} ms (limit: {LIMIT_MS:g} ms; measured in {time.monotonic() - began:.0f} s)"
        )
    return int(added > LIMIT_MS)


if __name__ == "__main__":
    sys.exit(main())
