"""Keeps cores busy until it is ended, or its parent has ended: `python -m bench.load [CORES]`; by default all.

It prints one line once they are busy.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence

MOST = 1024
"""Cores at most; more is a mistake."""


def main(argv: Sequence[str]) -> int:
    """Keep as many cores busy as are asked for, each by a process of its own."""
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=__doc__)
    parser.add_argument("cores", nargs="?", type=int, metavar="CORES", default=len(os.sched_getaffinity(0)))
    cores = parser.parse_args(argv).cores
    if not 1 <= cores <= MOST:
        parser.error(f"CORES: found {cores}, must be from 1 to {MOST}")
    parent, this = os.getppid(), os.getpid()
    for _ in range(cores):
        if os.fork() == 0:
            burn(this)
            os._exit(0)
    print(f"{cores} cores are busy", flush=True)
    while os.getppid() == parent:
        time.sleep(0.1)
    return 0


def burn(parent: int) -> None:
    """Keep a core busy as long as this process has the parent."""
    while os.getppid() == parent:
        sum(range(100_000))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
