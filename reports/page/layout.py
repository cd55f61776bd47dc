"""Whole HTML pages around the conformance part, with or without pytest-html's test log."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from switchproof.deploy.record.record import Record
from switchproof.reports import reading
from switchproof.reports.page import conformance

_STYLE = re.compile(r'<style type="text/css">(.*?)</style>', re.DOTALL)
_BODY = re.compile(r"<body>(.*)</body>", re.DOTALL)
_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)
_OWN_TITLE = re.compile(r'<h1 id="title">.*?</h1>', re.DOTALL)
_DATA = re.compile(r'data-jsonblob="([^"]*)"')
_LOG_CHARACTERS = 800
"""Characters of one test's log that are shown: above, its check tells the whole."""
_LOG_ROWS = 400
"""Tests above which the log has no rows of passed ones: its script takes seconds to draw thousands."""
_CHANGES = (
    ("<h2>", "<h3>"),
    ("</h2>", "</h3>"),
    (' onclick="location.reload()"', ""),  # of a button that is hidden once a session has ended
    ('<div class="logwrapper">', '<div class="logwrapper" tabindex="0" role="region" aria-label="Output">'),
)
_FILTER = re.compile(r'(<input [^>]*data-test-result="(\w+)")')
"""A box to tick, which pytest-html gives no label."""


@dataclass(frozen=True)
class SessionLog:
    """What of pytest-html's page goes into ours.

    Attributes:
        style: Its style sheet.
        body: What its body holds, without its title.
        script_sha256: Digest of its one script, as a content security policy names it.
        left_out: How many tests that passed have no row.
    """

    style: Markup
    body: Markup
    script_sha256: str
    left_out: int = 0


def session_log(page: str) -> SessionLog:
    """Take pytest-html's self-contained page apart.

    Raises:
        ValueError: The page does not have the parts that pytest-html's pages have.
    """
    style, body, scripts = _STYLE.search(page), _BODY.search(page), _SCRIPT.findall(page)
    if not style or not body or len(scripts) != 1 or 'id="data-container"' not in body[1]:
        raise ValueError("pytest-html wrote a page of an unknown form")
    parts = _OWN_TITLE.sub("", body[1], count=1)
    for theirs, ours in _CHANGES:
        parts = parts.replace(theirs, ours)
    parts = _FILTER.sub(r'\1 aria-label="Show \2"', parts)
    found = _DATA.search(parts)
    if found is None:
        raise ValueError("pytest-html wrote a page without data")
    data, left_out = _denser(found[1])
    return SessionLog(
        style=Markup(style[1]),  # noqa: S704 - a file of pytest-html
        body=Markup(parts.replace(found[0], data)),  # noqa: S704 - scripts are held back by the policy
        script_sha256=_digest(scripts[0]),
        left_out=left_out,
    )


def _denser(attribute: str) -> tuple[str, int]:
    """Write the log's data in half the room: quotes of JSON as they are, nothing that nobody reads, and logs cut.

    Returns:
        The attribute with its name, and how many rows of passed tests are left out.
    """
    data = json.loads(html.unescape(attribute))
    tests = list(data["tests"].values())
    few = tests if len(tests) <= _LOG_ROWS else [rows for rows in tests if any(r["result"] != "Passed" for r in rows)]
    data["tests"] = dict(enumerate(few))
    for row in (row for rows in few for row in rows):
        if not row["extras"]:
            del row["extras"]
        if len(row["log"]) > _LOG_CHARACTERS:
            end = row["log"].rfind("\n", 0, _LOG_CHARACTERS)  # between lines, so that no escape is cut
            row["log"] = f"{row['log'][: max(end, 0)]}\n[the whole stands with the check, above]"
    written = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
    escaped = written.replace("&", "&amp;").replace("<", "&lt;").replace("'", "&#39;")
    return f"data-jsonblob='{escaped}'", len(tests) - len(few)


def _digest(content: str) -> str:
    """Digest the content of a script or style element as a content security policy names it."""
    return base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def title(record: Record) -> str:
    """Return the title of a record's page."""
    which = f" of {record.revision.sha[:7]}" if record.revision.sha else ""
    emulated = " (emulated)" if record.emulated else ""
    return f"{reading.verdict_word(record)}: {record.run.mode}{which}, {record.provider}{emulated} | Switchproof"


def standalone(
    record: Record, folder: Path | None = None, log: SessionLog | None = None, log_problem: str = ""
) -> str:
    """Render a whole page that needs nothing beside it.

    The page's content security policy lets no script run but the test log's own, no style count but those of the
    page, and nothing be fetched.

    Args:
        record: The run.
        folder: The run's folder, from which the telling lines of evidence files are taken; None if it is not at hand.
        log: pytest-html's part, which follows the conformance part.
        log_problem: Why there is no test log, if there should be one.
    """
    environment = conformance.environment()
    style = conformance.style() + environment.get_template("page.css.j2").render(log=log)
    policy = [
        "default-src 'none'",
        f"style-src 'sha256-{_digest(style)}'",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    if log:
        policy += [f"script-src 'sha256-{log.script_sha256}'", "img-src data:", "media-src data:"]
    return environment.get_template("page.html.j2").render(
        policy="; ".join(policy),
        title=title(record),
        style=Markup(style),  # noqa: S704 - our own templates and pytest-html's style sheet
        fragment=Markup(conformance.render(record, folder)),  # noqa: S704 - rendered with autoescape on
        log=log,
        log_problem=log_problem,
    )
