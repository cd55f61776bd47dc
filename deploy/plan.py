"""Options → what this run will do, as data; everything wrong with them is found here."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import msgspec

from deploy.errors import UsageError
from deploy.revision import check_form, is_generation
from deploy.secret_sources import refuse_short
from deploy.target import ProviderName, Target, confirm_problem, load

TARGETS = Path(__file__).parent / "targets"
LabRuntime = Literal["microvm", "netns"]
Shape = Literal["ovh", "aws"]


class Mode(enum.StrEnum):
    """What a run does."""

    DEPLOY = "deploy"
    AUDIT = "audit"
    PLAN = "plan"
    ROLLBACK = "rollback"
    DRILL = "drill"

    @property
    def changes_hosts(self) -> bool:
        """Whether such a run takes the hosts for itself."""
        return self in {Mode.DEPLOY, Mode.ROLLBACK, Mode.DRILL}


Drill: TypeAlias = Literal["orderly", "dead-man"]
"""How a drill goes back: by a rollback that is asked for, or by the host itself, as nothing confirms the system."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """The command line, as given."""

    provider: str
    sha: str | None = None
    audit: bool = False
    plan: bool = False
    rollback: str | None = None
    drill: Drill | None = None
    targets: str | None = None
    hosts: tuple[str, ...] = ()
    on_failure: Literal["rollback", "keep"] = "rollback"
    soak: float | None = None
    report_dir: str | None = None
    lab_keep: bool = False
    lab_runtime: LabRuntime | None = None
    shape: Shape = "ovh"
    collect_only: bool = False


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run will do.

    Attributes:
        mode: What the run does.
        revision: The revision that was asked for; None only for an audit or a rollback.
        back_to: The generation or revision that a rollback was asked for, None if it was left open.
        drill: How a drill goes back.
        target: The target with the selected hosts.
        targets_file: Where the target comes from.
        on_failure: What becomes of a host that was changed and does not pass.
        report_dir: The folder that the run's folder is made in.
        lab_keep: Leave the lab's hosts running.
        lab_runtime: What the lab's sandboxes must be; None takes them as they are.
        shape: Which shape of host the lab makes.
    """

    mode: Mode
    revision: str | None
    back_to: str | None = None
    drill: Drill | None = None
    target: Target
    targets_file: Path
    on_failure: Literal["rollback", "keep"]
    report_dir: Path
    lab_keep: bool
    lab_runtime: LabRuntime | None = None
    shape: Shape = "ovh"


def make_plan(options: Options, environ: Mapping[str, str], default_report_dir: Path) -> Plan:
    """Check the options and the target file, and say what the run will do.

    Raises:
        UsageError: Names the option or the file and key, and what is allowed.
    """
    mode = _mode(options)
    if mode is Mode.ROLLBACK and options.sha is not None:
        raise UsageError(f"--sha={options.sha}: a rollback names what it goes back to itself: --rollback=REV")
    if options.sha is None and mode not in {Mode.AUDIT, Mode.ROLLBACK} and not options.collect_only:
        raise UsageError(f"--sha=REV is missing: a {mode} needs the revision")
    revision = check_form(options.sha) if options.sha is not None else None
    path = targets_file(options.provider, options.targets, options.shape)
    known = sorted(get_args(ProviderName))
    if options.provider not in known:
        raise UsageError(f"--provider={options.provider}: unknown provider; known: {', '.join(known)}")
    target = load(path, environ, options.hosts)
    refuse_short(path, target, environ)
    if target.provider != options.provider:
        raise UsageError(f"{path}: provider: found {target.provider!r}, but --provider={options.provider}")
    given_for_lab = {
        "--lab-keep": options.lab_keep,
        "--lab-runtime": options.lab_runtime,
        "--shape": options.shape != "ovh",
    }
    for option, given in given_for_lab.items():
        if given and target.provider != "lab":
            raise UsageError(f"{option}: only for --provider=lab (found --provider={options.provider})")
    if options.shape == "aws" and options.lab_runtime == "microvm":
        raise UsageError("--lab-runtime=microvm: hosts of --shape=aws have containers instead")
    if options.soak is not None:
        if not 0 <= options.soak <= 86400:  # noqa: PLR2004 - a day in seconds, as in the target file
            raise UsageError(f"--soak={options.soak}: seconds from 0 to 86400")
        health = msgspec.structs.replace(target.health, soak_s=options.soak)
        target = msgspec.structs.replace(target, health=health)
        if problem := confirm_problem(target):
            raise UsageError(f"--soak={options.soak:g}: rollback.confirm_s of {path} becomes {problem}")
    if options.drill == "dead-man" and not target.confirm_s:
        raise UsageError(
            f"--drill=dead-man: rollback.confirm_s is 0 in {path}, so the hosts never go back themselves"
        )
    return Plan(
        mode=mode,
        revision=revision,
        back_to=_back_to(options.rollback),
        drill=options.drill,
        target=target,
        targets_file=path,
        on_failure=options.on_failure,
        report_dir=Path(options.report_dir) if options.report_dir else default_report_dir,
        lab_keep=options.lab_keep,
        lab_runtime=options.lab_runtime,
        shape=options.shape,
    )


def targets_file(provider: str, given: str | None, shape: Shape) -> Path:
    """Return where the target file is that is given, or else the one of the provider, and of the shape of its lab."""
    name = f"{provider}-aws" if (provider, shape) == ("lab", "aws") else provider
    return Path(given) if given else TARGETS / f"{name}.toml"


def _mode(options: Options) -> Mode:
    given = {
        "--audit": options.audit,
        "--plan": options.plan,
        "--rollback": options.rollback is not None,
        "--drill": options.drill is not None,
    }
    names = [name for name, is_given in given.items() if is_given]
    if len(names) > 1:
        raise UsageError(
            f"{' and '.join(names)}: give one of them; an audit looks at what runs, a plan at what would, "
            "a rollback restores what ran, a drill deploys, goes back and deploys again"
        )
    return Mode(names[0].removeprefix("--")) if names else Mode.DEPLOY


def _back_to(asked: str | None) -> str | None:
    """Check what a rollback shall go back to: a generation's number, a revision, or nothing in particular."""
    if not asked:
        return None
    if Path(asked).exists():
        raise UsageError(
            f"--rollback {asked}: that is a path here; write --rollback=REV, or put the option after the paths"
        )
    return asked if is_generation(asked) else check_form(asked, "--rollback")


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
