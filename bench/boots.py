"""Measures how often and how fast the lab's two microVMs start and serve."""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from bench.result import Bench, Given, Result, lab_for, machine, say, when
from switchproof.deploy.providers.lab.host import SANDBOXES, LabHost

HUNG_S = 60.0
"""Seconds after which a machine that does not serve counts as hung: 26 times the CPU time that a start takes."""

AIM_S = 5.0
"""Seconds within which both must serve in half of the rounds."""

# Starts both at once, and prints for each when it answered, in milliseconds; nothing for one that did not.
_ROUND = """
names=$1 deadline_ms=$2
units=$(printf 'cloud-hypervisor@%s.service ' $(echo "$names" | tr , ' ' | sed 's/:[0-9]*//g'))
now() { echo $(($(date +%s%N) / 1000000)); }
systemctl stop $units
systemctl reset-failed $units 2>/dev/null
began=$(now)
systemctl start $units
for one in $(echo "$names" | tr , ' '); do
  (
    until curl -s -f -o /dev/null -m 0.5 "http://127.0.0.1:${one#*:}/health"; do
      [ $(($(now) - began)) -lt "$deadline_ms" ] || exit 0
      sleep 0.03
    done
    echo "${one%:*} $(($(now) - began))"
  ) &
done
wait
"""


@dataclass(frozen=True)
class Boot:
    """One start of one machine: seconds until it served, or None and its console's last words if it hung."""

    name: str
    seconds: float | None
    words: str = ""


BENCH = Bench("boots", __doc__, rounds=200)


def main(argv: Sequence[str] | None = None) -> int:
    """See `Bench.run`."""
    return BENCH.run(argv, _measure)


def _measure(given: Given) -> Result:
    rounds: list[list[Boot]] = []
    with lab_for(given, ["a"], runtime="microvm") as lab:
        (host, *_) = lab.hosts.values()
        before = ", ".join(f"{part:.1f}" for part in os.getloadavg())
        for number in range(1, given.rounds + 1):
            rounds.append(boot(host))
            say(f"{number}/{given.rounds}  {'  '.join(_outcome(start) for start in rounds[-1])}")
        measured = f"{when(given.rounds, 'of two machines at once')}, before: {before}"
        facts = [measured, lab.state.runtime_text, machine()]
    each = [start for starts in rounds for start in starts]
    hung = [
        f"{start.name} did not serve within {HUNG_S:g} s: {start.words}" for start in each if start.seconds is None
    ]
    served = [start.seconds for start in each if start.seconds is not None]
    numbers = {"starts": float(len(each)), "served": float(len(served))}
    numbers |= {"one serves after": statistics.median(served)} if served else {}
    return Result(render(rounds, facts), numbers, hung)


def boot(host: LabHost) -> list[Boot]:
    """Start both machines of a host at once, and wait until each serves or is given up."""
    names = ",".join(f"{name}:{port}" for name, port in SANDBOXES.items())
    done = host.run(["sh", "-c", _ROUND, "boots", names, f"{HUNG_S * 1000:.0f}"], timeout_s=2 * HUNG_S)
    times = dict(line.split() for line in done.stdout.splitlines())
    return [
        Boot(name, int(times[name]) / 1000) if name in times else Boot(name, None, _last_words(host, name))
        for name in SANDBOXES
    ]


def render(rounds: Sequence[Sequence[Boot]], facts: Sequence[str]) -> str:
    """Write the result as Markdown: facts, table, and the last words of those that hung."""
    each = [start.seconds for starts in rounds for start in starts]
    both = [
        max(start.seconds or HUNG_S for start in starts)
        for starts in rounds
        if all(start.seconds for start in starts)
    ]
    hung = [start for starts in rounds for start in starts if start.seconds is None]
    lines = [
        *(f"- {line}" for line in facts),
        "",
        "| what | starts | came to serve | median | 19 of 20 within | slowest |",
        "|---|---|---|---|---|---|",
        _row("a machine, of two started at once", len(each), [seconds for seconds in each if seconds is not None]),
        _row("both", len(rounds), both),
        "",
        f"- no machine hung: {'no' if hung else 'yes'} ({len(hung)} of {len(each)})",
    ]
    if both:
        median = statistics.median(both)
        lines.append(f"- both serve within {AIM_S:g} s: {'yes' if median <= AIM_S else 'no'} (median {median:.1f} s)")
    lines += [f"\n{start.name} hung:\n\n```\n{start.words}\n```" for start in hung]
    return "\n".join(lines) + "\n"


def _row(what: str, starts: int, seconds: list[float]) -> str:
    if not seconds:
        return f"| {what} | {starts} | 0 | | | |"
    ordered = sorted(seconds)
    most = ordered[min(len(ordered) - 1, len(ordered) * 19 // 20)]
    middle = statistics.median(ordered)
    return f"| {what} | {starts} | {len(ordered)} | {middle:.2f} s | {most:.2f} s | {ordered[-1]:.2f} s |"


def _last_words(host: LabHost, name: str) -> str:
    command = ["journalctl", "--quiet", "--no-pager", "--output=cat", "--lines=20"]
    return host.run([*command, f"--unit=cloud-hypervisor@{name}"], timeout_s=20).stdout.strip()


def _outcome(start: Boot) -> str:
    return f"{start.name} {start.seconds:.2f} s" if start.seconds is not None else f"{start.name} HUNG"


if __name__ == "__main__":
    sys.exit(main())
