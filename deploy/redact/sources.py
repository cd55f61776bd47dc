"""The secrets whose values we know: those that a target file names, and what a CI service sets."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote

from switchproof.deploy.errors import UsageError
from switchproof.deploy.redact.values import SHORTEST
from switchproof.deploy.target.repository_url import secrets_of_url
from switchproof.deploy.target.types import Target

_OF_TOOLS = (
    *("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
    *("GITHUB_TOKEN", "GH_TOKEN", "ACTIONS_RUNTIME_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"),
    *("CI_JOB_TOKEN", "CI_REGISTRY_PASSWORD", "CI_DEPLOY_PASSWORD", "GITLAB_TOKEN", "CACHIX_AUTH_TOKEN"),
)
"""Variables that are secrets wherever they are set, so that no target file needs to name them."""
_PLACEHOLDER = 8
"""Characters. A shorter value of a variable that nobody named is a placeholder."""


def known_secrets(target: Target, environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the names and values of everything that must never be shown."""
    found = [(name, environ[name]) for name in target.secrets if environ.get(name)]
    found += of_tools(environ)
    found += [("repository.url", form) for form in _of_url(target.repository.url or "")]
    return found


def unset_secrets(target: Target, environ: Mapping[str, str]) -> list[str]:
    """Return the names that the target file lists under `secrets` and that have no value."""
    return [name for name in target.secrets if not environ.get(name)]


def of_tools(environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the names and values of what is a secret wherever it is set."""
    return [(name, environ[name]) for name in _OF_TOOLS if len(environ.get(name, "")) >= _PLACEHOLDER]


def mentioned_secrets(path: Path, environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the same as far as it can be told of a target file that is wrong, for the message that says so."""
    try:
        names = tomllib.loads(path.read_text(encoding="utf-8")).get("secrets", [])
    except (OSError, ValueError):
        names = []
    wanted = (
        [*(name for name in names if isinstance(name, str)), *_OF_TOOLS] if isinstance(names, list) else _OF_TOOLS
    )
    return [(name, environ[name]) for name in wanted if len(environ.get(name, "")) >= SHORTEST]


def refuse_short(path: Path, target: Target, environ: Mapping[str, str]) -> None:
    """Refuse a secret that cannot be hidden.

    Raises:
        UsageError: Names the file and the variable.
    """
    for name in target.secrets:
        value = environ.get(name, "").strip()
        if 0 < len(value) < SHORTEST:
            raise UsageError(
                f"{path}: secrets: the value of {name} has {len(value)} characters, and to hide fewer than "
                f"{SHORTEST} would hide ordinary text. Set a longer value, or take the name out of the list"
            )


def _of_url(url: str) -> Iterator[str]:
    """Yield every secret of a repository's URL, as it stands there and as it is meant."""
    secrets = secrets_of_url(url)
    for secret in sorted({*secrets, *map(unquote, secrets)}):
        if len(secret) >= SHORTEST:
            yield secret
