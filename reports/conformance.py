"""The conformance part of the report: a record as one fragment of HTML that needs no JavaScript."""

from __future__ import annotations

import functools
import os
import re
from pathlib import Path
from urllib.parse import quote

import jinja2
from markupsafe import Markup

from deploy.contract import Clause
from deploy.record import Record
from deploy.redact import plain
from reports import advice, reading, text

_SHORT = 12


def render(record: Record) -> str:
    """Render a record as one HTML fragment, which brings its own style and loads nothing.

    Everything in the record is treated as untrusted text.
    """
    kept = {evidence.path: evidence for evidence in record.evidence}
    legs = list(reading.legs(record))
    template = environment().get_template("conformance.html.j2")
    return template.render(
        record=record,
        run=record.run,
        revision=record.revision,
        clauses=list(Clause),
        legs=legs,
        leg_words=reading.LEG_WORDS,
        kept=kept,
        anchors={path: f"sp-evidence-{index}" for index, path in enumerate(kept, 1)},
        sentence=reading.sentence(record),
        exit_meaning=reading.exit_meaning(record),
        steps=advice.next_steps(record),
        cause_anchor=_cause_anchor(record, legs),
    )


@functools.cache
def environment() -> jinja2.Environment:
    """Make the environment that every page of the report is rendered in."""
    env = jinja2.Environment(
        loader=jinja2.PackageLoader("reports", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_plain,
        bytecode_cache=_compiled(),
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
        "short": lambda digest: digest[:_SHORT],
    }
    return env


def _compiled() -> jinja2.BytecodeCache | None:
    """Keep compiled templates where Python keeps compiled modules, if it does: compiling takes 50 ms of every run."""
    folder = Path(__file__).parent / "__pycache__"
    return jinja2.FileSystemBytecodeCache(os.fspath(folder)) if os.access(folder, os.W_OK) else None


def _cause_anchor(record: Record, legs: list[reading.Leg]) -> str:
    cause = reading.first_cause(record)
    if cause is None:
        return ""
    leg = next(leg for leg in legs if (leg.host.name, leg.name) == (cause.host, cause.leg))
    return f"{leg.anchor}-{cause.clause}"


def _plain(value: object) -> object:
    return plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def href(path: str) -> str:
    """Return a link to a file below the run's folder, empty for a path that leads out of it."""
    if re.search(r"(^|/)\.\.(/|$)", path) or path.startswith("/"):
        return ""
    return f"./{quote(path, errors='replace')}"
