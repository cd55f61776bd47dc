"""Identifies the CI run by its environment (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from switchproof.deploy.record.facts import CiRun


def read_ci(environ: Mapping[str, str]) -> CiRun | None:
    """Return the CI run of an environment; None outside of CI.

    GitHub's variables are also those of Gitea and Forgejo.
    """
    get = environ.get
    if get("GITHUB_ACTIONS") == "true":
        place = "/".join(part.strip("/") for part in (get("GITHUB_SERVER_URL", ""), get("GITHUB_REPOSITORY", "")))
        run = get("GITHUB_RUN_ID", "")
        return CiRun(
            system="github",
            url=_url(f"{place}/actions/runs/{run}/attempts/{get('GITHUB_RUN_ATTEMPT', '1')}"),
            run=run or None,
            job=get("GITHUB_JOB") or None,
            actor=get("GITHUB_TRIGGERING_ACTOR") or get("GITHUB_ACTOR") or None,
            ref=get("GITHUB_REF") or None,
        )
    if get("GITLAB_CI") == "true":
        return CiRun(
            system="gitlab",
            url=_url(get("CI_JOB_URL") or get("CI_PIPELINE_URL")),
            run=get("CI_PIPELINE_ID") or None,
            job=get("CI_JOB_NAME") or None,
            actor=get("GITLAB_USER_LOGIN") or None,
            ref=get("CI_COMMIT_REF_NAME") or None,
        )
    if get("JENKINS_URL"):
        return CiRun(
            system="jenkins",
            url=_url(get("BUILD_URL")),
            run=get("BUILD_TAG") or get("BUILD_ID") or None,
            job=get("JOB_NAME") or None,
            actor=get("BUILD_USER_ID") or get("BUILD_USER") or None,
            ref=get("BRANCH_NAME") or get("GIT_BRANCH") or None,
        )
    return CiRun(system="ci") if get("CI", "").lower() in {"1", "true", "yes"} else None


def _url(text: str | None) -> str | None:
    """Return a web address; None for anything else."""
    try:
        parts = urlsplit(text or "")
    except ValueError:
        return None
    return text if parts.scheme in {"http", "https"} and parts.hostname else None
