"""Measures what the installed plugin costs a pytest run that is not a deploy: `python -m bench.startup`."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.result import Bench, Given, Result, machine, when

LIMIT_MS = 15.0
"""Milliseconds that the plugin may add to the start of a user's tests."""


def measure(folder: Path, *options: str) -> float:
    """Measure the CPU time, in milliseconds, in which pytest runs one empty test in a folder."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def added_ms(folder: Path, rounds: int) -> float:
    """Return the milliseconds that the plugin adds: the cheapest run with it beside the cheapest without, in turn.

    Whatever else the machine does only adds to a run, by more than the plugin: the cheapest run has least of it.

    Args:
        folder: An empty folder.
        rounds: The number of pairs.
    """
    (folder / "pyproject.toml").touch()
    (folder / "test_empty.py").write_text("def test(): pass\n", encoding="utf-8")
    measure(folder)
    pairs = [(measure(folder), measure(folder, "-p", "no:switchproof")) for _ in range(rounds)]
    return min(with_it for with_it, _ in pairs) - min(without for _, without in pairs)


BENCH = Bench("startup", __doc__, rounds=30)


def main(argv: Sequence[str] | None = None) -> int:
    """See `Bench.run`."""
    return BENCH.run(argv, _measure)


def _measure(given: Given) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        added = added_ms(Path(folder), given.rounds)
    text = f"- {when(given.rounds)}\n- {machine()}\n\nThe plugin adds {added:.1f} ms; the limit is {LIMIT_MS:g} ms.\n"
    over = [f"the plugin adds {added:.1f} ms, more than {LIMIT_MS:g} ms"] if added > LIMIT_MS else []
    return Result(text, {"added, ms": added}, [] if given.smallest else over)


if __name__ == "__main__":
    sys.exit(main())
