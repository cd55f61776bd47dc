"""Run all benchmarks, one after the other: `python -m bench [--write]`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

from bench.result import ROOT

NAMES = ("startup", "hostile", "pages", "verify", "fleet", "deploy", "rollback", "ssm", "steady", "boots")
"""All of them, in the order in which they run: the quick ones first, so that what is broken is seen early."""


def main(argv: Sequence[str]) -> int:
    """Run each with the given options, the later ones also after one has failed, and return 1 if one has."""
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
