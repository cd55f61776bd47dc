"""Puts the conformance part and pytest-html's test log into one HTML page."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from pathlib import Path

import msgspec
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
"""Characters shown of one test's log; its check, above, has all of it."""
_CHANGES = (
    ("<h2>", "<h3>"),
    ("</h2>", "</h3>"),
    (' onclick="location.reload()"', ""),  # of a button that is hidden after the session
    ('<div class="logwrapper">', '<div class="logwrapper" tabindex="0" role="region" aria-label="Output">'),
)
_FILTER = re.compile(r'(<input [^>]*data-test-result="(\w+)")')
"""A check box, which pytest-html gives no label."""


class SessionLog(msgspec.Struct, frozen=True):
    """The parts of pytest-html's page that our page contains.

    Attributes:
        style: Its style sheet.
        body: The contents of its body, without the title.
        script_sha256: The digest of its script, for a content security policy.
        left_out: The number of passed tests without a row.
    """

    style: Markup
    body: Markup
    script_sha256: str
    left_out: int = 0


def session_log(page: str, left_out: int = 0) -> SessionLog:
    """Parse pytest-html's self-contained page.

    Args:
        page: The page.
        left_out: The number of passed tests without a row in it.

    Raises:
        ValueError: The page lacks a part of pytest-html's pages.
    """
    style, body, scripts = _STYLE.search(page), _BODY.search(page), _SCRIPT.findall(page)
    if not style or not body or len(scripts) != 1 or 'id="data-container"' not in body[1]:
        raise ValueError("pytest-html wrote a page in an unknown format")
    parts = _OWN_TITLE.sub("", body[1], count=1)
    for theirs, ours in _CHANGES:
        parts = parts.replace(theirs, ours)
    parts = _FILTER.sub(r'\1 aria-label="Show \2"', parts)
    attribute = _DATA.search(parts)
    if attribute is None:
        raise ValueError("pytest-html wrote a page without data")
    return SessionLog(
        style=Markup(style[1]),  # noqa: S704 - a file of pytest-html
        body=Markup(parts.replace(attribute[0], _denser(attribute[1]))),  # noqa: S704 - scripts are held back by the policy
        script_sha256=_digest(scripts[0]),
        left_out=left_out,
    )


def _denser(attribute: str) -> str:
    """Return the log's data, shrunk: quotes stay unescaped, unused fields are removed and long logs are cut."""
    data = json.loads(html.unescape(attribute))
    for row in (row for rows in data["tests"].values() for row in rows):
        if not row["extras"]:
            del row["extras"]
        if len(row["log"]) > _LOG_CHARACTERS:
            end = row["log"].rfind("\n", 0, _LOG_CHARACTERS)  # between lines, so that no escape is cut
            row["log"] = f"{row['log'][: max(end, 0)]}\n[the check above has all of it]"
    data["tests"] = dict(enumerate(rows for rows in data["tests"].values() if rows))
    written = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
    escaped = written.replace("&", "&amp;").replace("<", "&lt;").replace("'", "&#39;")
    return f"data-jsonblob='{escaped}'"


def _digest(content: str) -> str:
    """Return the digest of a script or style element, for a content security policy."""
    return base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def title(record: Record) -> str:
    """Return the title of a record's page."""
    which = f" of {record.revision.sha[:7]}" if record.revision.sha else ""
    emulated = " (emulated)" if record.emulated else ""
    return f"{reading.verdict_word(record)}: {record.run.mode}{which}, {record.provider}{emulated} | Switchproof"


def standalone(
    record: Record, folder: Path | None = None, log: SessionLog | None = None, log_problem: str = ""
) -> str:
    """Render a self-contained page.

    The page's content security policy allows its own styles, its filter and the test log's script, and no request.

    Args:
        record: The run.
        folder: The run's folder, from which lines of evidence files are quoted; None to quote none.
        log: pytest-html's test log, which follows the conformance part.
        log_problem: The reason why the test log is missing, if there should be one.
    """
    environment = conformance.environment()
    style = conformance.style() + environment.get_template("page.css.j2").render(log=log)
    script = conformance.script()
    scripts = [_digest(script), *([log.script_sha256] if log else [])]
    policy = [
        "default-src 'none'",
        "script-src " + " ".join(f"'sha256-{digest}'" for digest in scripts),
        f"style-src 'sha256-{_digest(style)}'",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    if log:
        policy += ["img-src data:", "media-src data:"]
    return environment.get_template("page.html.j2").render(
        policy="; ".join(policy),
        title=title(record),
        style=Markup(style),  # noqa: S704 - our own templates and pytest-html's style sheet
        fragment=Markup(conformance.render(record, folder)),  # noqa: S704 - rendered with autoescape on
        script=Markup(script),  # noqa: S704 - our own template
        log=log,
        log_problem=log_problem,
    )
