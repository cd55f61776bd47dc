"""Starts the lab's two microVMs again and again, as their units do, and tells how many of them came to serve."""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import os
import platform
import signal
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from switchproof.deploy.errors import SwitchproofError
from switchproof.deploy.providers.lab.host import SANDBOXES, LabHost
from switchproof.deploy.providers.lab.lab import Lab

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "bench-boots.md"
MARK = "<!-- what follows is written by `python -m bench.boots --write` -->"
HUNG_S = 60.0
"""Seconds after which a machine that does not serve counts as hung: 26 times the CPU time that a start takes."""

AIM_S = 5.0
"""Seconds within which both are to serve, half of the times."""

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


def main(argv: Sequence[str] | None = None) -> int:
    """Boot, say what came of it, and write it down if asked to. The exit status is 1 if any machine hung."""
    given = _parser().parse_args(argv)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    rounds: list[list[Boot]] = []
    try:
        with _lab(given.lab) as lab:
            (host, *_) = lab.hosts.values()
            before = _load()
            told = _facts(lab, given.times)
            for number in range(1, given.times + 1):
                rounds.append(boot(host))
                _say(f"{number}/{given.times}  {'  '.join(_told(one) for one in rounds[-1])}")
    except (SwitchproofError, OSError) as error:
        _say(str(error))
        return 1
    text = render(rounds, [*told, f"load average before: {before}; after: {_load()}"])
    print(text)
    if given.write:
        above, _, _ = PAGE.read_text("utf-8").partition(MARK)
        PAGE.write_text(f"{above}{MARK}\n\n{text}", "utf-8")
    return 1 if any(one.seconds is None for boots in rounds for one in boots) else 0


def boot(host: LabHost) -> list[Boot]:
    """Start both machines of a host at once, and wait until each serves or is given up."""
    names = ",".join(f"{name}:{port}" for name, port in SANDBOXES.items())
    done = host.run(["sh", "-c", _ROUND, "boots", names, f"{HUNG_S * 1000:.0f}"], timeout_s=2 * HUNG_S)
    times = dict(line.split() for line in done.stdout.splitlines())
    return [
        Boot(name, int(times[name]) / 1000) if name in times else Boot(name, None, _last_words(host, name))
        for name in SANDBOXES
    ]


def render(rounds: Sequence[Sequence[Boot]], told: Sequence[str]) -> str:
    """Write the result as Markdown: facts, table, and the last words of those that hung."""
    each = [one.seconds for boots in rounds for one in boots]
    both = [max(one.seconds or HUNG_S for one in boots) for boots in rounds if all(one.seconds for one in boots)]
    hung = [one for boots in rounds for one in boots if one.seconds is None]
    lines = [
        *(f"- {line}" for line in told),
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
    lines += [f"\n{one.name} hung:\n\n```\n{one.words}\n```" for one in hung]
    return "\n".join(lines) + "\n"


def _row(what: str, starts: int, seconds: list[float]) -> str:
    if not seconds:
        return f"| {what} | {starts} | 0 | | | |"
    ordered = sorted(seconds)
    most = ordered[min(len(ordered) - 1, len(ordered) * 19 // 20)]
    middle = statistics.median(ordered)
    return f"| {what} | {starts} | {len(ordered)} | {middle:.2f} s | {most:.2f} s | {ordered[-1]:.2f} s |"


def _facts(lab: Lab, times: int) -> list[str]:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines()
            if line.startswith("model name")
        ),
        "unknown",
    )
    return [
        f"{dt.datetime.now(dt.UTC):%Y-%m-%d}, {times} times two machines at once, {lab.state.told}",
        f"{os.cpu_count()} CPUs ({model}), Linux {platform.release()}",
    ]


def _load() -> str:
    return ", ".join(f"{part:.1f}" for part in os.getloadavg())


def _last_words(host: LabHost, name: str) -> str:
    command = ["journalctl", "--quiet", "--no-pager", "--output=cat", "--lines=20"]
    return host.run([*command, f"--unit=cloud-hypervisor@{name}"], timeout_s=20).stdout.strip()


def _lab(name: str | None) -> contextlib.AbstractContextManager[Lab]:
    if name is not None:
        return contextlib.nullcontext(Lab.attach(name))
    return Lab.up(("a",), name=f"boots-{os.getpid()}", progress=_say)


def _told(one: Boot) -> str:
    return f"{one.name} {one.seconds:.2f} s" if one.seconds is not None else f"{one.name} HUNG"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.boots", description=__doc__)
    parser.add_argument("--times", type=int, default=200, metavar="N", help="how many times (default: 200)")
    parser.add_argument("--lab", metavar="NAME", help="use a lab that is up instead of making one")
    parser.add_argument("--write", action="store_true", help=f"write the result to {PAGE.relative_to(ROOT)}")
    return parser


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
