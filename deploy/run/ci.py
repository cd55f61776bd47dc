"""Which run of which CI system this is, as its environment says (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from switchproof.deploy.record.facts import CiRun


def read_ci(environ: Mapping[str, str]) -> CiRun | None:
    """Say which CI run an environment belongs to; None if to none.

    GitHub's variables are also those of Gitea and Forgejo.
    """
    say = environ.get
    if say("GITHUB_ACTIONS") == "true":
        place = "/".join(part.strip("/") for part in (say("GITHUB_SERVER_URL", ""), say("GITHUB_REPOSITORY", "")))
        run = say("GITHUB_RUN_ID", "")
        return CiRun(
            system="github",
            url=_url(f"{place}/actions/runs/{run}/attempts/{say('GITHUB_RUN_ATTEMPT', '1')}"),
            run=run or None,
            job=say("GITHUB_JOB") or None,
            actor=say("GITHUB_TRIGGERING_ACTOR") or say("GITHUB_ACTOR") or None,
            ref=say("GITHUB_REF") or None,
        )
    if say("GITLAB_CI") == "true":
        return CiRun(
            system="gitlab",
            url=_url(say("CI_JOB_URL") or say("CI_PIPELINE_URL")),
            run=say("CI_PIPELINE_ID") or None,
            job=say("CI_JOB_NAME") or None,
            actor=say("GITLAB_USER_LOGIN") or None,
            ref=say("CI_COMMIT_REF_NAME") or None,
        )
    if say("JENKINS_URL"):
        return CiRun(
            system="jenkins",
            url=_url(say("BUILD_URL")),
            run=say("BUILD_TAG") or say("BUILD_ID") or None,
            job=say("JOB_NAME") or None,
            actor=say("BUILD_USER_ID") or say("BUILD_USER") or None,
            ref=say("BRANCH_NAME") or say("GIT_BRANCH") or None,
        )
    return CiRun(system="ci") if say("CI", "").lower() in {"1", "true", "yes"} else None


def _url(text: str | None) -> str | None:
    """Return an address that can be looked at, None for anything else."""
    try:
        parts = urlsplit(text or "")
    except ValueError:
        return None
    return text if parts.scheme in {"http", "https"} and parts.hostname else None
