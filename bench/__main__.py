"""Runs all benchmarks, one after the other: `python -m bench [--write]`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

from bench.result import ROOT

NAMES = ("startup", "paths", "hostile", "pages", "verify", "fleet", "deploy", "rollback", "ssm", "steady", "boots")
"""All benchmarks in the order in which they run: the quick ones first, so that errors show early."""


def main(argv: Sequence[str]) -> int:
    """Run each with the given options, also after a failed one, and return 1 if one failed."""
    failed = []
    for name in NAMES:
        sys.stderr.write(f"\n== bench.{name}\n")
        if subprocess.run([sys.executable, "-m", f"bench.{name}", *argv], cwd=ROOT, check=False).returncode:
            failed.append(name)
    if failed:
        sys.stderr.write(f"error: these benchmarks failed and wrote nothing: {', '.join(failed)}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
