"""A stand-in for SSM Run Command that really executes what it is sent, on a lab's hosts. See docs/ssm-endpoint.md."""

from __future__ import annotations

NOT_MODELLED: tuple[str, ...] = (
    "IAM: every request that is signed with the endpoint's own key may do everything",
    "AWS's latencies, rates and quotas",
    "MaxConcurrency, MaxErrors, alarms, notifications, service roles and CloudWatch output",
    "Parameter Store references in parameters",
    "other documents than AWS-RunShellScript and Command documents of schema 2.2 with aws:runShellScript",
    "the reboot that exit code 194 asks an agent for: time passes, and the script is run again",
    "the instance: a host of a lab, which is a container on this machine",
    "the agent as a process on the host: it runs outside, and enters the host for each command",
)
"""Behaviour of SSM that this endpoint does not model."""
