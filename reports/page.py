"""Whole HTML pages around the conformance part, with or without pytest-html's test log."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass

from markupsafe import Markup

from deploy.record import Record
from reports import conformance

_STYLE = re.compile(r'<style type="text/css">(.*?)</style>', re.DOTALL)
_BODY = re.compile(r"<body>(.*)</body>", re.DOTALL)
_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)
_OWN_TITLE = re.compile(r'<h1 id="title">.*?</h1>', re.DOTALL)
_CHANGES = (
    ("<h2>", "<h3>"),
    ("</h2>", "</h3>"),
    (' onclick="location.reload()"', ""),  # of a button that is hidden once a session has ended
)


@dataclass(frozen=True)
class SessionLog:
    """What of pytest-html's page goes into ours.

    Attributes:
        style: Its style sheet.
        body: What its body holds, without its title.
        script_sha256: Digest of its one script, as a content security policy names it.
    """

    style: Markup
    body: Markup
    script_sha256: str


def session_log(page: str) -> SessionLog:
    """Take pytest-html's self-contained page apart.

    Raises:
        ValueError: The page does not have the parts that pytest-html's pages have.
    """
    style, body, scripts = _STYLE.search(page), _BODY.search(page), _SCRIPT.findall(page)
    if not style or not body or len(scripts) != 1 or 'id="data-container"' not in body[1]:
        raise ValueError("pytest-html wrote a page of an unknown form")
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    parts = _OWN_TITLE.sub("", body[1], count=1)
    for theirs, ours in _CHANGES:
        parts = parts.replace(theirs, ours)
    return SessionLog(style=Markup(style[1]), body=Markup(parts), script_sha256=digest)  # noqa: S704 - scripts are held back by the policy


def title(record: Record) -> str:
    """Return the title of a record's page."""
    which = f" of {record.revision.sha[:7]}" if record.revision.sha else ""
    return f"{record.verdict}: {record.run.mode}{which}, {record.provider} | Switchproof"


def standalone(record: Record, log: SessionLog | None = None, log_problem: str = "") -> str:
    """Render a whole page that needs nothing beside it.

    The page's content security policy lets no script run but the test log's own, and nothing be fetched.

    Args:
        record: The run.
        log: pytest-html's part, which follows the conformance part.
        log_problem: Why there is no test log, if there should be one.
    """
    policy = [
        "default-src 'none'",
        "style-src 'unsafe-inline'",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    if log:
        policy += [f"script-src 'sha256-{log.script_sha256}'", "img-src data:", "media-src data:"]
    return (
        conformance.environment()
        .get_template("page.html.j2")
        .render(
            policy="; ".join(policy),
            title=title(record),
            fragment=Markup(conformance.render(record)),  # noqa: S704 - rendered with autoescape on
            log=log,
            log_problem=log_problem,
        )
    )
