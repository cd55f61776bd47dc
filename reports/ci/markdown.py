"""Renders a run as Markdown for the pages of CI services, with text from hosts inert."""

from __future__ import annotations

import re
from collections.abc import Iterator

from switchproof.deploy.contract import Clause, Verdict
from switchproof.deploy.record.facts import LOOKING_AHEAD
from switchproof.deploy.record.record import Check, Record
from switchproof.reports import advice, causes, reading, text
from switchproof.reports.legs import legs_of

LIMIT = 256 * 1024
"""Bytes of UTF-8. GitHub drops a summary that is larger than 1 MiB."""

_CUT = "*More is in `record.json` and `report.html`.*"
_ROWS = 400
"""Rows of the matrix."""
_SHOWN = (Verdict.FAILED, Verdict.INCONCLUSIVE, Verdict.WAIVED)
_CHECKS = 40
"""Causes listed, and checks shown with details, of those that did not pass; `record.json` has all."""
_DETAIL_CHARACTERS = 2000
_MESSAGE_CHARACTERS = 400
_SENTENCE_CHARACTERS = 1500


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
    sentence = f"{reading.sentence(record)} {reading.absence(record)}".strip()
    yield code(sentence, _SENTENCE_CHARACTERS)
    if others := causes.others(record):
        lines = [f"- {code(f'{cause.where}: {cause.what}', _MESSAGE_CHARACTERS)}" for cause in others[:_CHECKS]]
        yield "\n".join([*lines, *([f"- and {len(others) - _CHECKS} more causes"] if others[_CHECKS:] else [])])
    if record.run.mode not in LOOKING_AHEAD:
        yield _matrix(record)
    yield from _ahead(record)
    for host in record.hosts:
        for warning in host.warnings:
            yield f"**Note well**, {code(host.name)}: {code(warning)}"
    for result in record.waivers:
        if result.state != "not-asked" or result.waiver.expired:
            yield f"Waiver, **{result.state}**: {code(reading.waiver_words(result), _MESSAGE_CHARACTERS)}"
    for host in record.hosts:
        if host.audit:
            yield f"Host {code(host.name)}, audit: {reading.SHAPES[host.audit.verdict]} **{host.audit.verdict}**"
    for left in reading.states(record) if record.run.mode not in LOOKING_AHEAD else ():
        verb, _, state = left.words.partition(" ")
        yield f"{code(causes.named(left.hosts))} {verb} **{state}**" + (
            f": {code(left.reason, _MESSAGE_CHARACTERS)}" if left.reason else ""
        )
    for step in advice.next_steps(record):
        yield f"{code(step.text, _MESSAGE_CHARACTERS)}" + (f"\n\n{block(step.command)}" if step.command else "")
    if record.run.mode not in LOOKING_AHEAD:
        yield from _details(record)
    exit_code = "" if record.run.exit_code is None else f"exit {record.run.exit_code}, "
    yield (
        f"Run {code(record.run.id)}, {exit_code}{reading.exit_meaning(record)}; "
        f"contract {code(record.contract_sha256[:12])}, {code(record.run.harness)}"
    )


def _ahead(record: Record) -> Iterator[str]:
    """Yield what a preflight found, or what a plan would change on each host."""
    if record.run.mode == "preflight":
        for each in reading.findings(record):
            message = code(text.brief(each.message), _MESSAGE_CHARACTERS)
            yield f"{reading.SHAPES[each.verdict]} **{each.verdict}** {code(causes.named(each.hosts))}: {message}"
    elif reading.verdict_word(record) == "planned":
        for plan in reading.plans(record):
            yield f"{code(causes.named(plan.hosts))} would change\n\n{block(chr(10).join(plan.lines))}"


def _matrix(record: Record) -> str:
    """Return a row for each leg; of many hosts, a row for those that are alike, and none for those that passed."""
    rows, passed = reading.matrix(record)
    lines = [f"| host | {' | '.join(Clause)} | state |", f"|---{'|---' * (len(Clause) + 1)}|"] if rows else []
    for row in rows[:_ROWS]:
        cells = [f"{reading.SHAPES[verdict]} {verdict}" for verdict in row.verdicts]
        state = row.state.replace("-", " ") if row.state else ""
        lines.append(f"| {code(row.label).replace('|', '¦')} | {' | '.join(cells)} | {state} |")
    if len(rows) > _ROWS:
        lines.append(f"\n*{len(rows) - _ROWS} more rows are in `report.html`.*")
    if passed:
        lines.append(f"\n{text.count(passed, 'host')} passed every clause.")
    return "\n".join(lines).strip()


def _details(record: Record) -> Iterator[str]:
    """Yield each check that did not pass, once for all legs on which it has the same message."""
    alike: dict[tuple[str, ...], tuple[list[str], Check]] = {}
    missing = 0
    for leg in legs_of(record):
        for part in leg.parts:
            for check in part.checks:
                if check.verdict not in _SHOWN:
                    continue
                if check.started is None:
                    missing += 1
                    continue
                key = (part.id, check.id, check.verdict, text.brief(check.message))
                alike.setdefault(key, ([], check))[0].append(leg.label)
    for (clause, _, verdict, message), (labels, check) in [*alike.items()][:_CHECKS]:
        head = f"**{verdict}** {code(causes.named(labels))}, {clause}: {code(check.title)}"
        yield f"{head}  \n{code(message, _MESSAGE_CHARACTERS)}{_seen(check)}"
    if len(alike) > _CHECKS:
        yield f"*{len(alike) - _CHECKS} more did not pass; `record.json` has them all.*"
    if missing:
        yield f"*{text.count(missing, 'check')} did not run; `record.json` names them.*"


def _seen(check: Check) -> str:
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
