"""A stand-in for SSM Run Command that really executes what it is sent, on a lab's hosts. See docs/ssm-endpoint.md."""

from __future__ import annotations

NOT_MODELLED: tuple[str, ...] = (
    "IAM: every request that is signed with the endpoint's own key may do everything",
    "AWS's latencies, rates and quotas",
    "MaxConcurrency, MaxErrors, alarms, notifications, service roles and CloudWatch output",
    "Parameter Store references in parameters",
    "other documents than AWS-RunShellScript and Command documents of schema 2.2 with aws:runShellScript",
    "the instance: a host of a lab, which is a container on this machine",
)
"""Behaviour of SSM that this endpoint does not model."""
OF_STAND_IN: tuple[str, ...] = (
    "the reboot that exit code 194 asks an agent for: time passes, and the script is run again",
    "the agent as a process on the host: it runs outside, and enters the host for each command",
)
"""Behaviour of an agent that its stand-in does not model."""
OF_REAL_AGENT: tuple[str, ...] = ("the control channel (ssmmessages): a real agent polls for messages (ec2messages)",)
"""Behaviour of SSM towards a real agent that this endpoint does not model."""
