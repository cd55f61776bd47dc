"""Options → what this run will do, as data; everything wrong with them is found here."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from deploy.errors import UsageError
from deploy.revision import check_form
from deploy.target import Target, load

TARGETS = Path(__file__).parent / "targets"
LabRuntime = Literal["microvm", "netns"]


class Mode(enum.StrEnum):
    """What a run does."""

    DEPLOY = "deploy"
    AUDIT = "audit"
    PLAN = "plan"


@dataclass(frozen=True, kw_only=True)
class Options:
    """The command line, as given."""

    provider: str
    sha: str | None = None
    audit: bool = False
    plan: bool = False
    targets: str | None = None
    hosts: tuple[str, ...] = ()
    on_failure: Literal["rollback", "keep"] = "rollback"
    soak: float | None = None
    report_dir: str | None = None
    lab_keep: bool = False
    lab_runtime: LabRuntime | None = None
    collect_only: bool = False


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run will do.

    Attributes:
        mode: Deploy, audit or plan.
        revision: The revision that was asked for; None only for an audit.
        target: The target with the selected hosts.
        targets_file: Where the target comes from.
        on_failure: What becomes of a host that was changed and does not pass.
        report_dir: The folder that the run's folder is made in.
        lab_keep: Leave the lab's hosts running.
        lab_runtime: What the lab's sandboxes must be; None takes them as they are.
    """

    mode: Mode
    revision: str | None
    target: Target
    targets_file: Path
    on_failure: Literal["rollback", "keep"]
    report_dir: Path
    lab_keep: bool
    lab_runtime: LabRuntime | None = None


def make_plan(options: Options, environ: Mapping[str, str], default_report_dir: Path) -> Plan:
    """Check the options and the target file, and say what the run will do.

    Raises:
        UsageError: Names the option or the file and key, and what is allowed.
    """
    if options.audit and options.plan:
        raise UsageError("--audit and --plan: give one of them; an audit looks at what runs, a plan at what would")
    mode = Mode.AUDIT if options.audit else Mode.PLAN if options.plan else Mode.DEPLOY
    if options.sha is None and mode is not Mode.AUDIT and not options.collect_only:
        raise UsageError(f"--sha=REV is missing: a {mode} needs the revision")
    revision = check_form(options.sha) if options.sha is not None else None
    path = Path(options.targets) if options.targets else TARGETS / f"{options.provider}.toml"
    known = sorted(file.stem for file in TARGETS.glob("*.toml"))
    if not options.targets and options.provider not in known:
        raise UsageError(f"--provider={options.provider}: unknown provider; known: {', '.join(known)}")
    target = load(path, environ, options.hosts)
    if target.provider != options.provider:
        raise UsageError(f"{path}: provider: found {target.provider!r}, but --provider={options.provider}")
    for option, given in {"--lab-keep": options.lab_keep, "--lab-runtime": options.lab_runtime}.items():
        if given and target.provider != "lab":
            raise UsageError(f"{option}: only for --provider=lab (found --provider={options.provider})")
    if options.soak is not None:
        if not 0 <= options.soak <= 86400:  # noqa: PLR2004 - a day in seconds, as in the target file
            raise UsageError(f"--soak={options.soak}: seconds from 0 to 86400")
        health = msgspec.structs.replace(target.health, soak_s=options.soak)
        target = msgspec.structs.replace(target, health=health)
    return Plan(
        mode=mode,
        revision=revision,
        target=target,
        targets_file=path,
        on_failure=options.on_failure,
        report_dir=Path(options.report_dir) if options.report_dir else default_report_dir,
        lab_keep=options.lab_keep,
        lab_runtime=options.lab_runtime,
    )


def contract_digest(target: Target, files: Iterable[Path]) -> str:
    """Name what was checked: a SHA-256 over what healthy means and the text of the checks.

    Args:
        target: Its endpoints and health count; its hosts do not.
        files: The modules of checks and the host's script.
    """
    digest = hashlib.sha256()
    digest.update(msgspec.json.encode([target.endpoints, target.health], order="deterministic"))
    for file in sorted(files, key=lambda path: path.name):
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()
