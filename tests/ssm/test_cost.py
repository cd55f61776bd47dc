"""A whole deploy through SSM sends few commands, and asks AWS for little beside their ends."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from switchproof.deploy.providers.aws.commands import ASKED_EVERY_S, LEAST_S, SOON_S
from switchproof.deploy.providers.lab.ssm.endpoint import SsmEndpoint
from tests.deploys.sessions import session, target_file

pytestmark = pytest.mark.lab

NEWS_S = 2
"""Seconds after which the host answers with the news of a job that goes on; as in its script."""


def test_a_deploy_costs_seven_commands_and_little_beside(endpoint: SsmEndpoint, tmp_path: Path) -> None:
    """A switch that takes long costs a command every two seconds; the rate of requests for a command is bounded."""
    targets = target_file(tmp_path, ["i"], provider="aws")
    line = 'flake_attr = "choiros-a"\n'
    text = targets.read_text("utf-8")
    targets.write_text(text.replace(line, f'{line}instance = "{endpoint.instance_ids["i"]}"\n'), "utf-8")
    # The host gets the script in a command of its own, once, and keeps it until its next boot.
    first = session("--provider=aws", "--audit", f"--targets={targets}", runs=tmp_path / "audit")
    assert first.status == 0, first.output
    before, commands = len(endpoint.calls), len(endpoint.spent)

    ended = session("--provider=aws", "--sha=main", f"--targets={targets}", runs=tmp_path / "deploy")

    assert ended.status == 0, ended.output
    calls, spent = endpoint.calls[before:], endpoint.spent[commands:]
    sent = [given["Parameters"]["commands"][0] for name, given in calls if name == "SendCommand"]
    actions = [re.search(r"^action='(.*)'", text, re.MULTILINE) for text in sent]
    verbs = [re.search(r"^argument='(.*)'", text, re.MULTILINE) for text in sent]
    asked = Counter((verb and verb[1]) or (action and action[1]) for action, verb in zip(actions, verbs, strict=True))
    (converge,) = (phase for phase in ended.record.host("i").phases if phase.phase == "converge")
    assert converge.finished
    converge_s = (converge.finished - converge.started).total_seconds()
    assert asked.pop("status") <= 2 + converge_s / NEWS_S, ended.output
    assert asked == dict.fromkeys(("look", "resolve", "converge", "observe", "confirm"), 1)

    asked_of_aws = Counter(name for name, _ in calls)
    ends = asked_of_aws.pop("GetCommandInvocation")
    # Each new connection asks whether the instance is online; the confirmation goes over one of its own.
    assert asked_of_aws == {"SendCommand": len(sent), "DescribeInstanceInformation": 2}
    assert len(spent) == len(sent)
    lasted = [part.host_s + part.aws_s + part.wait_s for part in spent]
    soon = sum(min(SOON_S, seconds) / (0.8 * LEAST_S) for seconds in lasted)
    later = sum(max(0.0, seconds - SOON_S) / (0.8 * ASKED_EVERY_S) for seconds in lasted)
    assert ends <= 4 * len(sent) + soon + later
