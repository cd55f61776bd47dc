"""Renders a run as Markdown for the pages of CI services, with text from hosts inert."""

from __future__ import annotations

import re
from collections.abc import Iterator

from switchproof.deploy.contract import Clause, Verdict
from switchproof.deploy.record.record import Check, Record
from switchproof.reports import advice, reading, text
from switchproof.reports.legs import legs_of

LIMIT = 256 * 1024
"""Bytes of UTF-8. GitHub drops a summary that is larger than 1 MiB."""

_CUT = "*More is in `record.json` and `report.html`.*"
_ROWS = 400
"""Rows of the matrix. Of more rows, those that passed are left out first."""
_CHECKS = 40
"""Checks shown with details, of those that did not pass; `record.json` has all."""
_DETAIL_CHARACTERS = 2000
_MESSAGE_CHARACTERS = 400


def render(record: Record) -> str:
    """Render a run as GitHub Flavored Markdown of at most `LIMIT` bytes."""
    kept: list[str] = []
    left = LIMIT - len(_CUT) - 2
    for block in _blocks(record):
        left -= len(block.encode("utf-8", "replace")) + 2
        if left < 0:
            kept.append(_CUT)
            break
        kept.append(block)
    return "\n\n".join(kept) + "\n"


def _blocks(record: Record) -> Iterator[str]:
    """Yield blocks of the page, the most important first; each can end the page."""
    word = reading.verdict_word(record)
    which = f" of {code(record.revision.sha[:12])}" if record.revision.sha else ""
    emulated = " (emulated: this proves nothing about a real provider)" if record.emulated else ""
    hosts = text.count(len(record.hosts), "host")
    yield (
        f"## {reading.SHAPES.get(word, '')} {word.upper()}: {code(record.run.mode)}{which}, "
        f"{hosts} of {code(record.provider)}{emulated}"
    )
    yield _matrix(record)
    yield code(f"{reading.sentence(record)} {reading.absence(record)}".strip(), _MESSAGE_CHARACTERS)
    for host in record.hosts:
        for warning in host.warnings:
            yield f"**Note well**, {code(host.name)}: {code(warning)}"
    for result in record.waivers:
        if result.state != "not-asked" or result.waiver.expired:
            yield f"Waiver, **{result.state}**: {code(reading.waiver_words(result), _MESSAGE_CHARACTERS)}"
    for host in record.hosts:
        if host.audit:
            yield f"Host {code(host.name)}, audit: {reading.SHAPES[host.audit.verdict]} **{host.audit.verdict}**"
        yield f"Host {code(host.name)} is **{host.state}**: {code(host.state_reason)}"
    for step in advice.next_steps(record):
        yield f"{code(step.text)}" + (f"\n\n{block(step.command)}" if step.command else "")
    yield from _details(record)
    yield (
        f"Run {code(record.run.id)}, {reading.exit_meaning(record)}; "
        f"contract {code(record.contract_sha256[:12])}, {code(record.run.harness)}"
    )


def _matrix(record: Record) -> str:
    lines = [f"| host | {' | '.join(Clause)} | state |", f"|---{'|---' * (len(Clause) + 1)}|"]
    legs = list(legs_of(record))
    if len(legs) > _ROWS:
        legs.sort(key=lambda leg: leg.verdict is Verdict.PASSED)
    for leg in legs[:_ROWS]:
        cells = [f"{reading.SHAPES[clause.verdict]} {clause.verdict}" for clause in leg.clauses]
        state = str(leg.host.state) if leg.name == "forward" else ""
        lines.append(f"| {code(leg.label).replace('|', '¦')} | {' | '.join(cells)} | {state} |")
    if len(legs) > _ROWS:
        lines.append(f"\n*{len(legs) - _ROWS} more rows are in `report.html`.*")
    return "\n".join(lines)


def _details(record: Record) -> Iterator[str]:
    bad = [
        (leg, part.id, check)
        for leg in legs_of(record)
        for part in leg.parts
        for check in part.checks
        if check.verdict in {Verdict.FAILED, Verdict.INCONCLUSIVE, Verdict.WAIVED}
    ]
    for leg, clause, check in bad[:_CHECKS]:
        head = f"**{check.verdict}** {code(leg.label)}, {clause}: {code(check.title)}"
        yield f"{head}  \n{code(check.message, _MESSAGE_CHARACTERS)}{_shown(check)}"
    if len(bad) > _CHECKS:
        yield f"*{len(bad) - _CHECKS} more did not pass; `record.json` has them all.*"


def _shown(check: Check) -> str:
    if not (check.expected or check.seen):
        return ""
    expected, seen = (block(text.clip(value, _DETAIL_CHARACTERS)) for value in (check.expected, check.seen))
    return f"\n\n<details><summary>expected and seen</summary>\n\n{expected}\n\n{seen}\n\n</details>"


def code(content: str, limit: int = 200) -> str:
    """Return the first line of a text as a code span, in which no markup, link or mention works."""
    line = text.one_line(content, limit) or "-"
    fence = "`" * (_longest_run(line) + 1)
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def block(content: str) -> str:
    """Return a text as a code block, in which no markup works."""
    fence = "`" * max(3, _longest_run(content) + 1)
    return f"{fence}text\n{text.inert(content)}\n{fence}"


def _longest_run(content: str) -> int:
    return max((len(run) for run in re.findall("`+", content)), default=0)
