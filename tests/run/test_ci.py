"""A run knows which CI run it belongs to, from what each system says of itself."""

from __future__ import annotations

import pytest

from switchproof.deploy.record.facts import CiRun
from switchproof.deploy.run.ci import read_ci

GITHUB = {
    "CI": "true",
    "GITHUB_ACTIONS": "true",
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_REPOSITORY": "choiros/choiros",
    "GITHUB_RUN_ID": "4711",
    "GITHUB_RUN_ATTEMPT": "2",
    "GITHUB_JOB": "deploy",
    "GITHUB_ACTOR": "ada",
    "GITHUB_TRIGGERING_ACTOR": "eve",
    "GITHUB_REF": "refs/heads/main",
}
GITLAB = {
    "CI": "true",
    "GITLAB_CI": "true",
    "CI_JOB_URL": "https://gitlab.example.org/choiros/-/jobs/7",
    "CI_PIPELINE_ID": "12",
    "CI_JOB_NAME": "deploy",
    "GITLAB_USER_LOGIN": "ada",
    "CI_COMMIT_REF_NAME": "main",
}
JENKINS = {
    "JENKINS_URL": "https://ci.example.org/",
    "BUILD_URL": "https://ci.example.org/job/deploy/9/",
    "BUILD_TAG": "jenkins-deploy-9",
    "JOB_NAME": "deploy",
}


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        (
            GITHUB,
            CiRun(
                system="github",
                url="https://github.com/choiros/choiros/actions/runs/4711/attempts/2",
                run="4711",
                job="deploy",
                actor="eve",
                ref="refs/heads/main",
            ),
        ),
        (
            GITLAB,
            CiRun(
                system="gitlab",
                url="https://gitlab.example.org/choiros/-/jobs/7",
                run="12",
                job="deploy",
                actor="ada",
                ref="main",
            ),
        ),
        (
            JENKINS,
            CiRun(
                system="jenkins",
                url="https://ci.example.org/job/deploy/9/",
                run="jenkins-deploy-9",
                job="deploy",
            ),
        ),
        ({"CI": "1"}, CiRun(system="ci")),
        ({"CI": "false"}, None),
        ({"GITHUB_ACTIONS": "false", "HOME": "/root"}, None),
    ],
)
def test_each_system_is_known_by_its_environment(environ: dict[str, str], told: CiRun | None) -> None:
    """System, link, run, job and actor come from the system's own variables; by hand there is nothing."""
    assert read_ci(environ) == told


@pytest.mark.parametrize("url", ["javascript:alert(1)", "https://", "http://[", "ci.example.org/9"])
def test_what_is_no_web_address_is_no_link(url: str) -> None:
    """Only what can be looked at in a browser is taken for a link."""
    found = read_ci(JENKINS | {"BUILD_URL": url})
    assert found is not None
    assert found.url is None
