"""Renders a record as one fragment of HTML without JavaScript: the conformance part of the report."""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote, urlsplit

import jinja2
import msgspec
from markupsafe import Markup

from switchproof.deploy.contract import Verdict
from switchproof.deploy.record.facts import LOOKING_AHEAD
from switchproof.deploy.record.record import Evidence, Host, Record
from switchproof.deploy.redact.redactor import plain
from switchproof.reports import advice, causes, reading, text, ways
from switchproof.reports.legs import LEG_WORDS, Leg, clauses_of, leg_title, legs_of
from switchproof.reports.page import attempts, timeline, unseen
from switchproof.reports.page.compiled import compiled
from switchproof.reports.page.difference import differences
from switchproof.reports.page.durations import Duration, durations
from switchproof.reports.page.proof import Proofs, explained_once, proofs

BRIEF_ABOVE = 50
"""Number of hosts above which a page shows little of what passed: a browser needs seconds for a million nodes."""

_SHORT = 12
_INDENTED = re.compile(r"\n\s+(?=<)")
"""The indentation of a tag, which only serves readers of the templates."""
_BETWEEN = re.compile(
    r"\n+(?=</?(?:body|caption|d[dlt]|details|div|g|h[1-6]|li|line|ol|path|pre|rect|section|svg|table|tbody|td|text"
    r"|th|thead|tr|ul)\b)"
)
"""The end of a line before a tag that begins a line of its own anyway; a browser makes a node of each."""


class HostPart(msgspec.Struct, frozen=True):
    """One host as the page shows it.

    Attributes:
        host: The host.
        anchor: Its HTML id.
        legs: Its legs, each with its heading.
        charts: The health of its endpoints on each leg, after the leg's name.
        durations: The durations of its phases.
        folded: Whether the part is closed until a reader opens it.
        causes: The anchors of the causes that the page lists for it.
    """

    host: Host
    anchor: str
    legs: Sequence[tuple[Leg, str]]
    charts: Sequence[tuple[str, attempts.Chart]]
    durations: Sequence[Duration]
    folded: bool
    causes: Sequence[str]

    @property
    def troubled(self) -> bool:
        """Whether a leg of it did not pass."""
        return any(leg.verdict is not Verdict.PASSED for leg, _ in self.legs)


def render(record: Record, folder: Path | None = None) -> str:
    """Render a record as one HTML fragment that loads nothing; `style` is its style sheet.

    All text of the record and of the files beside it is treated as untrusted.

    Args:
        record: The run.
        folder: The run's folder, from which lines of evidence files are quoted; None to quote none.
    """
    kept = {evidence.path: evidence for evidence in record.evidence}
    legs = list(legs_of(record))
    shown = proofs(record, folder)
    first = [] if record.verdict.accepted else _causes(record, legs, shown)
    hosts = list(host_parts(record, legs, [cause for cause, _ in first]))
    brief = len(hosts) > BRIEF_ABOVE
    template = environment().get_template("conformance.html.j2")
    fragment = template.render(
        record=record,
        run=record.run,
        revision=record.revision,
        clauses=clauses_of(record),
        ahead=record.run.mode in LOOKING_AHEAD,
        audited=any(leg.audit for leg in legs),
        legs=legs,
        leg_words=LEG_WORDS,
        hosts=hosts,
        many=reading.MANY,
        brief=brief,
        brief_above=BRIEF_ABOVE,
        groups=Counter(group for host in record.hosts for group in host.groups),
        proofs=shown,
        explained_once=explained_once(record),
        kept=kept,
        files=_files(record),
        anchors={path: f"sp-e{index}" for index, path in enumerate(kept, 1)},
        word=reading.verdict_word(record),
        sentence=reading.sentence(record),
        absence=reading.absence(record),
        aftermath=reading.aftermath(record),
        tally=reading.tally(record),
        exit_meaning=reading.exit_meaning(record),
        steps=advice.next_steps(record),
        cause_anchor=first[0][1][0][1] if first else "",
        causes=first if sum(len(cause.hosts) for cause, _ in first) > 1 else [],
        only=first[0][0] if [len(cause.hosts) for cause, _ in first] == [1] else None,
        differences=differences(record),
        timeline=timeline.draw(record, [part.host for part in hosts if not part.folded] if brief else record.hosts),
        moment_words=timeline.MOMENT_WORDS,
        moment_marks=timeline.MARKS,
        size=timeline,
        unreached=unseen.unreached(record),
        not_made=unseen.not_made(record),
        gaps=unseen.gaps(record),
    )
    return _BETWEEN.sub("", _INDENTED.sub("\n", fragment))


def _files(record: Record) -> list[tuple[str, list[Evidence]]]:
    """Return the files kept of the run itself, under an empty name, and then those of each host by name."""
    files: dict[str, list[Evidence]] = {}
    for evidence in record.evidence:
        files.setdefault(evidence.host or "", []).append(evidence)
    return sorted(files.items())


def style() -> str:
    """Return the style sheet of the fragment; each rule applies to the fragment alone, or to print."""
    return environment().get_template("conformance.css.j2").render()


def script() -> str:
    """Return the page's only script of its own: it filters, and the page is complete without it."""
    return environment().get_template("filter.js.j2").render()


@functools.cache
def environment() -> jinja2.Environment:
    """Return the environment with which every page is rendered."""
    env = jinja2.Environment(
        auto_reload=False,  # nobody edits a template during a run, and each include would look
        loader=jinja2.PackageLoader("switchproof.reports.page", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_plain,
        bytecode_cache=compiled(),
    )
    env.filters |= {
        "duration": text.duration,
        "moment": text.moment,
        "rfc3339": text.rfc3339,
        "bytes": text.size,
        "clip": text.clip,
        "one_line": text.one_line,
        "slug": text.slug,
        "counted": text.count,
        "shape": lambda verdict: reading.SHAPES.get(verdict, "?"),
        "href": href,
        "web": web,
        "way": ways.label,
        "vouched_by": ways.vouched_by,
        "short": lambda digest: digest[:_SHORT],
        "file_name": lambda path: path.removeprefix("evidence/").partition("/")[2] or path,
    }
    return env


def prepare() -> None:
    """Load every template, so that rendering does not wait for it."""
    env = environment()
    for name in env.list_templates():
        env.get_template(name)


def host_parts(record: Record, legs: Sequence[Leg], first: Sequence[causes.Cause] = ()) -> Iterator[HostPart]:
    """Yield every host's part; of many hosts, failing ones come first."""
    parts = []
    by_host: dict[str, list[Leg]] = {}
    for leg in legs:
        by_host.setdefault(leg.host.name, []).append(leg)
    for host in record.hosts:
        mine = [(leg, leg_title(record, leg)) for leg in by_host.get(host.name, ())]
        drawn = ((leg, attempts.chart(w for w in host.watches if w.leg == leg.name)) for leg, _ in mine)
        charts = [(LEG_WORDS[leg.name], chart) for leg, chart in drawn if chart is not None]
        passed = all(leg.verdict is Verdict.PASSED for leg, _ in mine)
        folded = len(record.hosts) > reading.MANY and passed
        mine_of = [cause.anchor for cause in first if host.name in cause.hosts]
        parts.append(HostPart(host, mine[0][0].anchor, mine, charts, durations(record, host), folded, mine_of))
    many = len(parts) > reading.MANY
    yield from sorted(parts, key=lambda part: not part.troubled) if many else parts


def _causes(record: Record, legs: Sequence[Leg], shown: Proofs) -> list[tuple[causes.Cause, list[tuple[str, str]]]]:
    """Return each cause with its hosts and, for each host, the anchor of its check."""
    by_host = {(leg.host.name, leg.name): leg for leg in legs}
    return [
        (cause, [(host, _anchor(by_host[host, cause.leg], cause, shown)) for host in cause.hosts])
        for cause in causes.causes_of(record)
    ]


def _anchor(leg: Leg, cause: causes.Cause, shown: Proofs) -> str:
    anchors = (proof.anchor for proof in shown[leg.anchor, cause.clause] if proof.check.id == cause.check.id)
    return next(anchors, f"{leg.anchor}_{cause.clause}")


def _plain(value: object) -> object:
    return plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def href(path: str) -> str:
    """Return a link to a file below the run's folder; empty for a path that leads out of it."""
    if re.search(r"(^|/)\.\.(/|$)", path) or path.startswith("/"):
        return ""
    return f"./{quote(path, errors='replace')}"


def web(address: str | None) -> str:
    """Return a web address; empty for any other kind of link."""
    try:
        parts = urlsplit(address or "")
    except ValueError:
        return ""
    fits = parts.scheme in {"http", "https"} and parts.hostname and not re.search(r"[\s\"'<>\\]", address or "")
    return plain(address or "") if fits else ""
