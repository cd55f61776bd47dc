"""Runs all benchmarks, one after the other: `python -m bench [--write]`."""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
from collections.abc import Sequence

from bench.result import ROOT, Bench

NAMES = ("startup", "paths", "hostile", "pages", "verify", "fleet", "deploy", "rollback", "ssm", "steady", "boots")
"""All benchmarks in the order in which they run: the quick ones first, so that errors show early."""


def main(argv: Sequence[str]) -> int:
    """Run each with those of the given options that it knows, also after a failed one.

    Returns:
        1 if one failed, and 2 if no benchmark knows an option.
    """
    help_of_one = "Each gets the options that it knows: see `python -m bench.NAME --help`, with NAME one of"
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=f"{__doc__} {help_of_one} {', '.join(NAMES)}.", allow_abbrev=False
    )
    parser.parse_known_args(argv)  # for --help
    unknown = {name: _unknown(name, argv) for name in NAMES}
    if nobody := [word for word in argv if all(word in words for words in unknown.values())]:
        parser.error(f"no benchmark knows {' '.join(nobody)}; see `python -m bench.NAME --help`")
    failed = []
    for name in NAMES:
        sys.stderr.write(f"\n== bench.{name}\n")
        command = [sys.executable, "-m", f"bench.{name}", *_without(argv, unknown[name])]
        if subprocess.run(command, cwd=ROOT, check=False).returncode:
            failed.append(name)
    if failed:
        sys.stderr.write(f"error: these benchmarks failed and wrote nothing: {', '.join(failed)}\n")
    return 1 if failed else 0


def _unknown(name: str, argv: Sequence[str]) -> list[str]:
    """Return the words of a command line that a benchmark does not know."""
    bench: Bench = importlib.import_module(f"bench.{name}").BENCH
    return bench.parser.parse_known_args(argv)[1]


def _without(argv: Sequence[str], unknown: Sequence[str]) -> list[str]:
    left = list(argv)
    for word in unknown:
        left.remove(word)
    return left


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
