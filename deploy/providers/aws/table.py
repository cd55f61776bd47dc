"""The provider `aws` in target files: its table, the keys of its hosts, and its rules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from switchproof.deploy.connection import Provider
from switchproof.deploy.providers.kind import Kind, Opening
from switchproof.deploy.target.repository_url import public_problem
from switchproof.deploy.target.table import Table
from switchproof.deploy.target.types import Line, Target

InstanceId: TypeAlias = Annotated[str, Meta(pattern=r"^(i-([0-9a-f]{8}|[0-9a-f]{17})|mi-[0-9a-f]{17})$(?!\n)")]

RUN_SHELL_SCRIPT = "AWS-RunShellScript"
"""AWS's own document, which runs any shell text as root."""


class Ssm(Table, frozen=True, kw_only=True):
    """The settings for hosts behind AWS Systems Manager.

    Attributes:
        region: The hosts' region; by default AWS_REGION, or the profile's.
        profile: A profile of the AWS configuration files; by default the credentials that boto3 finds.
        role: The ARN of a role to assume.
        document: The document that runs commands: AWS's own, or the output of `switchproof schema ssm-document`.
        document_version: The version of the document; by default its default version.
        user: A user as whom the agent, which is root, runs commands; that user becomes root with sudo, without a
            password. By default they run as root at once.
        bucket: An S3 bucket for output that is longer than SSM returns; without it, output is fetched in pieces.
        prefix: The prefix of keys in the bucket.
        start_s: Seconds within which the instance must start a command.
    """

    region: Annotated[str, Meta(pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9]$(?!\n)")] | None = None
    profile: Line | None = None
    role: Annotated[str, Meta(pattern=r"^arn:[a-z-]+:iam::[0-9]{12}:role/[\w+=,.@/-]+$(?!\n)")] | None = None
    document: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.:/-]{3,200}$(?!\n)")] = RUN_SHELL_SCRIPT
    document_version: Annotated[str, Meta(pattern=r"^([1-9][0-9]*|\$DEFAULT|\$LATEST)$(?!\n)")] | None = None
    user: Annotated[str, Meta(pattern=r"^[a-z_][a-z0-9_-]{0,31}$(?!\n)")] | None = None
    bucket: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$(?!\n)")] | None = None
    prefix: Annotated[str, Meta(pattern=r"^[A-Za-z0-9!_.*'()/-]{1,400}$(?!\n)")] = "switchproof"
    start_s: Annotated[float, Meta(ge=30, le=3600)] = 60.0


class AwsHost(Table, frozen=True, kw_only=True):
    """The keys of a host that is an EC2 instance.

    Attributes:
        instance: Its instance id, for the provider `aws`.
        tags: Tags that select exactly this instance, such as `Name`, in place of `instance`.
    """

    instance: InstanceId | None = None
    tags: Annotated[dict[Line, Line], Meta(max_length=5)] = msgspec.field(default_factory=dict)


def _find_problems(target: Target, is_own: bool) -> Iterator[str]:
    for index, host in enumerate(target.hosts):
        key, keys = f"hosts[{index}]", host.part(AwsHost)
        if not is_own and (keys.instance or keys.tags):
            name = "instance" if keys.instance else "tags"
            yield f"{key}.{name}: only hosts of the provider 'aws' have {name}"
        if is_own and keys.instance and keys.tags:
            yield f"{key}.tags: {key}.instance already names the instance; remove one of them"
        if is_own and not keys.instance and not keys.tags:
            yield f"{key}.instance: missing; set the instance's id, or tags that only this instance has"
    if is_own and (problem := public_problem(target.repository.url or "")):
        yield (
            f"repository.url: {problem}; what is sent through SSM can be read in ListCommands and CloudTrail, "
            "so give the hosts their own login, such as a deploy key"
        )


def _open(target: Target, opening: Opening) -> Provider:
    from switchproof.deploy.providers.aws.provider import AwsProvider

    return AwsProvider(target, prove=opening.changes_hosts, emulated=opening.emulated, say=opening.say)


AWS = Kind(
    name="ssm",
    providers=("aws",),
    table=Ssm,
    host=AwsHost,
    find_problems=_find_problems,
    patterns={
        r"^([1-9][0-9]*|\$DEFAULT|\$LATEST)$(?!\n)": ("a number, $DEFAULT or $LATEST", "3"),
        r"^(i-([0-9a-f]{8}|[0-9a-f]{17})|mi-[0-9a-f]{17})$(?!\n)": ("an instance id", "i-0123456789abcdef0"),
        r"^[A-Za-z0-9!_.*'()/-]{1,400}$(?!\n)": ("a prefix of letters, digits and !_.*'()/-", "switchproof"),
        r"^[A-Za-z0-9_.:/-]{3,200}$(?!\n)": ("an SSM document's name or ARN", "Switchproof-Deploy"),
        r"^[a-z_][a-z0-9_-]{0,31}$(?!\n)": ("a user's name", "deploy"),
        r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$(?!\n)": ("an S3 bucket's name", "deploy-output"),
        r"^[a-z]{2}(-[a-z]+)+-[0-9]$(?!\n)": ("an AWS region", "eu-central-1"),
        r"^arn:[a-z-]+:iam::[0-9]{12}:role/[\w+=,.@/-]+$(?!\n)": (
            "a role's ARN",
            "arn:aws:iam::123456789012:role/deploy",
        ),
    },
    stand_ins={"instance": "i-00000000"},
    reconnect_s=120.0,
    open=_open,
    extra="aws",
    label="SSM",
    vouched_by="AWS says who it is",
)
