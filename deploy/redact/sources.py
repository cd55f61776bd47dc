"""Collects the secrets of known value: those that a target file names, and those of CI services and tools."""

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
"""Variables that are always secret, so that no target file needs to name them."""
_PLACEHOLDER = 8
"""Characters below which the value of a variable in `_OF_TOOLS` is a placeholder."""


def known_secrets(target: Target, environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the names and values of all known secrets of a run."""
    secrets = [(name, environ[name]) for name in target.secrets if environ.get(name)]
    secrets += of_tools(environ)
    urls = {
        "repository.url": target.repository.url,
        "build.repository": target.build.repository,
        "build.substituter": target.build.substituter,
    }
    return [*secrets, *((key, form) for key, url in urls.items() for form in _of_url(url or ""))]


def unset_secrets(target: Target, environ: Mapping[str, str]) -> list[str]:
    """Return the names that the target file lists under `secrets` and that have no value."""
    return [name for name in target.secrets if not environ.get(name)]


def of_tools(environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the names and values of variables that are always secret."""
    return [(name, environ[name]) for name in _OF_TOOLS if len(environ.get(name, "")) >= _PLACEHOLDER]


def mentioned_secrets(path: Path, environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the known secrets as far as an invalid target file names them, for the error message about it."""
    try:
        names = tomllib.loads(path.read_text(encoding="utf-8")).get("secrets", [])
    except (OSError, ValueError):
        names = []
    wanted = (
        [*(name for name in names if isinstance(name, str)), *_OF_TOOLS] if isinstance(names, list) else _OF_TOOLS
    )
    return [(name, environ[name]) for name in wanted if len(environ.get(name, "")) >= SHORTEST]


def refuse_short(path: Path, target: Target, environ: Mapping[str, str]) -> None:
    """Refuse a secret that is too short to be hidden.

    Raises:
        UsageError: A secret is too short; the message names the file and the variable.
    """
    for name in target.secrets:
        value = environ.get(name, "").strip()
        if 0 < len(value) < SHORTEST:
            raise UsageError(
                f"{path}: secrets: the value of {name} has {len(value)} characters; a value of fewer than {SHORTEST} "
                "cannot be hidden without hiding ordinary text. Set a longer value, or remove the name from the list"
            )


def _of_url(url: str) -> Iterator[str]:
    """Yield every secret of a URL, as written and unquoted."""
    secrets = secrets_of_url(url)
    for secret in sorted({*secrets, *map(unquote, secrets)}):
        if len(secret) >= SHORTEST:
            yield secret
