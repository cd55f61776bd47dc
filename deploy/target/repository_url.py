"""Finds the secrets in a repository's URL, and URLs that must not be used (pure)."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, parse_qsl, urlsplit

_WITHOUT_SECRET_USER = {"", "file", "ssh", "git+ssh", "ssh+git"}
"""Schemes whose user is a login name; over HTTP it is a token, or belongs to one."""
_NAMES = {"git", "oauth2", "x-access-token", "x-token-auth", "gitlab-ci-token"}
"""Users that forges require beside a token, and that are not secret."""
_NO_PASSWORDS = {"", "x-oauth-basic"}
"""Passwords beside a user that is the token."""
_TOKENISH = 16
"""Characters; a shorter user beside a password, or value of a query, is an ordinary word that stays readable."""
_SECRET_KEY = re.compile(r"token|secret|key|pass|auth|sig|cred", re.IGNORECASE)


def secrets_of_url(url: str) -> set[str]:
    """Return the parts of a URL that must never be shown, as spelled in the URL."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return set()
    user, password = parts.username or "", parts.password or ""
    secrets = {password} - _NO_PASSWORDS
    if _is_secret_user(parts) and (password in _NO_PASSWORDS or len(user) >= _TOKENISH):
        secrets.add(user)
    if parts.query:
        secrets.add(parts.query)
        for pair in parts.query.split("&"):
            key, _, value = pair.partition("=")
            if _SECRET_KEY.search(key) or len(value) >= _TOKENISH:
                secrets.add(value)
    return secrets - {""}


def transport_problem(url: str) -> str | None:
    """Return why git on the hosts must not fetch from a URL; None if no reason is known."""
    if helper := re.match(r"([A-Za-z0-9][A-Za-z0-9+.-]*)::", url):
        return f"{helper[1]}:: makes git run a program; use https, ssh, git, file or a path"
    return None


def public_problem(url: str) -> str | None:
    """Return why a URL must not be published; None if it may."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        return f"is not a URL: {error}"
    if parts.password:
        return "contains a password"
    if _is_secret_user(parts):
        return "contains a user, which over HTTP is a token or belongs to one"
    if parts.query:
        return f"has a query ({', '.join(sorted({key for key, _ in parse_qsl(parts.query)})) or 'without a key'})"
    return None


def _is_secret_user(parts: SplitResult) -> bool:
    user = parts.username or ""
    return bool(user) and user not in _NAMES and parts.scheme not in _WITHOUT_SECRET_USER
