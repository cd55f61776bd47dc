"""Makes the plan of a run from its options and target file, and reports every mistake in them."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace

from switchproof.deploy.errors import UsageError
from switchproof.deploy.extras import require
from switchproof.deploy.observe.revision import check_form, is_full, is_generation
from switchproof.deploy.plan import PARALLEL, CutoverAsked, Gate, Mode, Options, Plan
from switchproof.deploy.providers import kind_of, load
from switchproof.deploy.providers.aws.table import RUN_SHELL_SCRIPT, Ssm
from switchproof.deploy.providers.lab.kinds import LabOptions, Shape
from switchproof.deploy.record.facts import Shard
from switchproof.deploy.redact.sources import refuse_short
from switchproof.deploy.settings import Settings
from switchproof.deploy.source import Input, Source, find_source, locked_inputs
from switchproof.deploy.target.declared import undeclared
from switchproof.deploy.target.rules import confirm_problem
from switchproof.deploy.target.types import PROVIDER_NAME, Target

CONTRACT = Path(__file__).resolve().parents[1] / "checks"
"""The contract's own checks."""


def make_plan(options: Options, environ: Mapping[str, str], settings: Settings) -> Plan:
    """Check the options and the target file, and make the plan of the run.

    Args:
        options: The command line.
        environ: The environment of the session.
        settings: The folders of the repository.

    Raises:
        UsageError: An option or the target file is wrong; the message names it and the allowed values.
    """
    mode = _mode(options)
    revision = _revision(options, mode)
    if not re.search(PROVIDER_NAME, options.provider):
        raise UsageError(
            f"--provider={options.provider}: must be the name of a target file: at most 40 letters, digits and _.-, "
            "and not starting with . or -"
        )
    path = targets_file(options.provider, options.targets, options.shape, settings)
    if not options.targets and not path.exists():
        raise UsageError(settings.missing(options.provider, path))
    evaluates = mode is Mode.AUDIT and options.build is not None
    target = load(path, environ, options.hosts, options.build if mode.needs_a_system or evaluates else "host")
    refuse_short(path, target, environ)
    target = replace(target, provider=target.provider or options.provider)
    targets_sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    parallel = _parallel(options, mode)
    shard = _shard(options, mode, target, targets_sha256)
    if shard is not None:
        target = replace(target, hosts=target.hosts[shard.index - 1 :: shard.count])
    if target.provider != options.provider:
        raise UsageError(f"{path}: provider: found {target.provider!r}, but --provider={options.provider}")
    if extra := kind_of(target).extra:
        require(extra, f"--provider={target.provider}")
    if options.shape == "aws":
        require("aws", "--shape=aws")
    if options.take_lock and not mode.changes_hosts:
        raise UsageError(f"--take-lock: only for a run that changes hosts; a run with --{mode} takes no lock")
    source = _source(options, mode, target, path)
    if source is not None:
        revision = source.commit
    _check_build(options, mode, target, path)
    given_for_lab = {
        "--lab-keep": options.lab_keep,
        "--lab-runtime": options.lab_runtime,
        "--lab-suite": options.lab_suite,
        "--lab-nixos-rebuild": options.lab_nixos_rebuild is not None,
        "--lab-switch": options.lab_switch is not None,
        "--lab-ssm-agent": options.lab_ssm_agent is not None,
        "--shape": options.shape != "ovh",
    }
    for option, given in given_for_lab.items():
        if given and target.provider != "lab":
            raise UsageError(f"{option}: only for --provider=lab (found --provider={options.provider})")
    if options.lab_ssm_agent is not None and options.shape != "aws":
        raise UsageError(f"--lab-ssm-agent: only for hosts of --shape=aws (found --shape={options.shape})")
    if options.shape == "aws" and options.lab_runtime == "microvm":
        raise UsageError("--lab-runtime=microvm: hosts of --shape=aws have containers instead")
    if options.soak is not None:
        if not 0 <= options.soak <= 86400:  # noqa: PLR2004 - a day in seconds, as in the target file
            raise UsageError(f"--soak={options.soak}: seconds from 0 to 86400")
        health = replace(target.health, soak_s=options.soak)
        target = replace(target, health=health)
        if problem := confirm_problem(target):
            raise UsageError(f"--soak={options.soak:g}: rollback.confirm_s of {path} becomes {problem}")
    if options.keep_runs is not None and options.keep_runs < 1:
        raise UsageError(f"--keep-runs={options.keep_runs}: at least 1, because the run itself is kept")
    if options.drill == "dead-man" and not target.confirm_s:
        raise UsageError(f"--drill=dead-man: rollback.confirm_s is 0 in {path}, so hosts never go back by themselves")
    return Plan(
        mode=mode,
        revision=revision,
        back_to=_back_to(options.rollback),
        drill=options.drill,
        target=target,
        targets_file=path,
        targets_sha256=targets_sha256,
        on_failure=options.on_failure,
        take_lock=options.take_lock,
        report_dir=Path(options.report_dir) if options.report_dir else settings.report_dir,
        keep_runs=options.keep_runs,
        lab=LabOptions(
            keep=options.lab_keep,
            runtime=options.lab_runtime,
            suite=options.lab_suite,
            nixos_rebuild=options.lab_nixos_rebuild,
            switch=options.lab_switch,
            ssm_agent=options.lab_ssm_agent,
            shape=options.shape,
        ),
        sign_key=_sign_key(options, mode),
        gate=None if options.collect_only or options.cutover is not None else _gate(options, mode, target, path),
        checks=own_checks(options.checks, target.checks, path),
        cutover=_cutover(options, mode, target, path),
        evaluates=evaluates,
        parallel=parallel,
        shard=shard,
        source=source,
    )


def _revision(options: Options, mode: Mode) -> str | None:
    """Return the requested revision, if a run of this kind has one."""
    if options.sha is None:
        needs_revision = mode not in {Mode.AUDIT, Mode.PREFLIGHT, Mode.ROLLBACK} and not options.dirty
        if needs_revision and not options.collect_only:
            raise UsageError(f"--sha=REV is missing: a {mode} needs the revision")
        return None
    if mode is Mode.ROLLBACK:
        raise UsageError(f"--sha={options.sha}: a rollback takes its revision from --rollback=REV")
    if mode is Mode.PREFLIGHT:
        raise UsageError(f"--sha={options.sha}: a preflight asks about the hosts only; use --plan for a revision")
    if options.dirty:
        raise UsageError(f"--sha={options.sha}: --dirty deploys the working tree, which is no revision; choose one")
    return check_form(options.sha)


def _source(options: Options, mode: Mode, target: Target, path: Path) -> Source | None:
    """Find the commit that this machine sends to the hosts; None if they fetch."""
    if options.dirty and options.source is None:
        raise UsageError("--dirty: name the clone whose working tree is meant, with --source=PATH")
    if options.source is None or options.collect_only:
        return None
    name = f"--source={options.source}"
    if not mode.needs_a_system:
        raise UsageError(f"{name}: only for a deploy, a drill or a plan; a run with --{mode} sends no source")
    if kind_of(target).name not in {"ssh", "lab", "ssm"}:
        raise UsageError(f"{name}: a source can be sent only over SSH or through SSM; leave out {name}")
    _check_document(name, target)
    if shutil.which("git") is None:
        raise UsageError(f"{name}: git is not installed on this machine")
    if options.dirty and (strict := [host.name for host in target.hosts if not host.allow_dirty]):
        raise UsageError(
            f"--dirty: {', '.join(strict)} must not get what is not committed; set hosts.allow_dirty in {path}, "
            "or select other hosts with --host"
        )
    source = find_source(options.source, options.sha, dirty=options.dirty)
    return replace(source, inputs=_inputs(name, source, target, through_ssm=_is_through_ssm(options, target)))


def _inputs(name: str, source: Source, target: Target, *, through_ssm: bool) -> tuple[Input, ...]:
    """Return the inputs of a flake to send with its commit: all where hosts build and nix is here, else none."""
    if target.build.on != "host" or target.repository.file is not None:
        return ()
    inputs = locked_inputs(source)
    if not through_ssm and all(shutil.which(program) for program in ("nix", "nix-store")):
        return inputs
    if (private := next((each for each in inputs if each.is_private), None)) is not None:
        why = (
            "nix is not installed on this machine to send it; install nix here, or choose a builder that can fetch it"
        )
        if through_ssm:
            why = "inputs are not sent through SSM; give it an address from which the hosts can fetch it"
        raise UsageError(
            f"{name}: hosts cannot fetch the input {private.name} of flake.lock, which is {private.url}, and {why}"
        )
    return ()


def _check_document(name: str, target: Target) -> None:
    """Check that something can be sent through SSM, if that is the way to the hosts."""
    if (document := target.table(Ssm).document) != RUN_SHELL_SCRIPT:
        raise UsageError(
            f"{name}: the document {document} (ssm.document) runs only the verbs of host-switch.sh, so nothing can "
            "be sent through it; let the hosts fetch and build"
        )


def _is_through_ssm(options: Options, target: Target) -> bool:
    return options.shape == "aws" or kind_of(target).name == "ssm"


def _check_build(options: Options, mode: Mode, target: Target, path: Path) -> None:
    """Check that systems can be built where they shall be."""
    on = target.build.on
    name = f"--build={options.build}" if options.build else f"{path}: build.on"
    if options.build is not None and not mode.needs_a_system:
        if mode is not Mode.AUDIT:
            raise UsageError(
                f"{name}: only for a deploy, a drill, a plan or an audit; a run with --{mode} builds nothing"
            )
        if on == "host" or options.sha is None:
            raise UsageError(
                f"{name}: an audit compares hosts with what a commit evaluates to on the runner or on a builder: set "
                "--sha=REV, and --build=runner or a builder's name"
            )
    if on == "host":
        return
    if kind_of(target).name not in {"ssh", "lab", "ssm"}:
        raise UsageError(f"{name}: built systems can be copied only over SSH or through SSM; let the host build")
    if _is_through_ssm(options, target) and on != "runner":
        raise UsageError(
            f"{name}: only the runner can build for hosts through SSM; set --build=runner or --build=host"
        )
    if mode.needs_a_system:
        _check_document(name, target)
    if not (options.source or target.build.repository or target.repository.url):
        raise UsageError(f"{name}: there is no repository to fetch from; set build.repository or repository.url")
    needed = ("git", "nix", "nix-store") if on == "runner" else ()
    if missing := next((program for program in needed if shutil.which(program) is None), None):
        raise UsageError(
            f"{name}: {missing} is not installed on this machine; install it, or let the hosts build (--build=host)"
        )


def targets_file(provider: str, given: str | None, shape: Shape, settings: Settings) -> Path:
    """Return the path of the target file: the given one, or that of the provider and the shape of its lab."""
    name = f"{provider}-aws" if (provider, shape) == ("lab", "aws") else provider
    return Path(given) if given else settings.target_file(name)


def own_checks(asked: Sequence[str], declared: Sequence[str], path: Path) -> tuple[Path, ...]:
    """Find the folders with checks of the team's own.

    Args:
        asked: The folders on the command line.
        declared: The folders in the target file.
        path: The target file.

    Raises:
        UsageError: A folder cannot be used; the message names the option, or the file and key.
    """
    named = [(f"--checks={given}", Path(given).expanduser()) for given in asked]
    named += [
        (f"{path}: checks[{index}]", path.parent / Path(given).expanduser()) for index, given in enumerate(declared)
    ]
    folders = []
    for name, folder in named:
        whole = folder.resolve()
        if not whole.is_dir():
            raise UsageError(f"{name}: no such folder (looked for {whole})")
        if whole.is_relative_to(CONTRACT) or CONTRACT.is_relative_to(whole):
            raise UsageError(
                f"{name}: the contract's own checks are there ({CONTRACT}); keep yours in another folder"
            )
        folders.append(whole)
    inner = {folder for folder in folders for other in folders if folder != other and folder.is_relative_to(other)}
    return tuple(dict.fromkeys(folder for folder in folders if folder not in inner))


def _parallel(options: Options, mode: Mode) -> int:
    """Return how many hosts an audit connects to at the same time, after a check of the option."""
    if options.parallel is None:
        return PARALLEL
    if mode is not Mode.AUDIT:
        raise UsageError(
            f"--parallel={options.parallel}: only for an audit (found a {mode}); a run that changes hosts is "
            "connected to all of them, because none may continue before all are ready: select fewer with --host"
        )
    if options.parallel < 1:
        raise UsageError(f"--parallel={options.parallel}: at least 1 host at a time")
    return options.parallel


def _shard(options: Options, mode: Mode, target: Target, targets_sha256: str) -> Shard | None:
    """Return the shard of an audit: every Nth of the selected hosts, from the Kth on."""
    if options.shard is None:
        return None
    if mode is not Mode.AUDIT:
        raise UsageError(f"--shard={options.shard}: only an audit can be split into parts (found a {mode})")
    if options.cutover is not None:
        raise UsageError(
            f"--shard={options.shard}: an audit with --cutover judges all hosts together: use only one of them"
        )
    given = re.fullmatch(r"([1-9][0-9]{0,4})/([1-9][0-9]{0,4})", options.shard, re.ASCII)
    if given is None or int(given[1]) > int(given[2]):
        raise UsageError(f"--shard={options.shard}: must be K/N, part K of N parts, such as 2/8, with K from 1 to N")
    index, count = int(given[1]), int(given[2])
    if count > len(target.hosts):
        raise UsageError(
            f"--shard={options.shard}: only {len(target.hosts)} hosts are selected: use at most that many parts"
        )
    hosts = tuple(host.name for host in target.hosts)
    return Shard(index=index, count=count, hosts=hosts, targets_sha256=targets_sha256)


def _sign_key(options: Options, mode: Mode) -> Path | None:
    if options.sign_key is None:
        return None
    if mode in {Mode.PLAN, Mode.PREFLIGHT}:
        raise UsageError(f"--sign-key={options.sign_key}: a {mode} proves nothing, so it cannot be signed")
    return Path(options.sign_key).expanduser()


def _cutover(options: Options, mode: Mode, target: Target, path: Path) -> CutoverAsked | None:
    """Return the request for an audit of the cutover, after a check of the options."""
    if options.cutover is None:
        if given := next((f"--{name}" for name in ("repo", "records") if getattr(options, name) is not None), None):
            raise UsageError(f"{given}: only for an audit with --cutover")
        return None
    if mode is not Mode.AUDIT:
        raise UsageError(f"--cutover: only for an audit: add --audit (found a {mode})")
    if kind_of(target).name not in {"ssh", "lab"} or options.shape != "ovh":
        raise UsageError(
            "--cutover: use a provider over SSH, or the lab: these are the hosts that the cutover moves to"
        )
    if options.cutover and not 1 <= options.cutover <= 4:  # noqa: PLR2004 - the steps that there are
        raise UsageError(
            f"--cutover={options.cutover}: must be a step from 1 to 4, or have no value to report the proven step"
        )
    for name in ("repo", "records"):
        if not getattr(options, name):
            raise UsageError(f"--{name}=DIR is missing: --cutover needs the repository and the folder of records")
        if not Path(getattr(options, name)).is_dir():
            raise UsageError(f"--{name}={getattr(options, name)}: no such folder")
    if options.require_record:
        raise UsageError("--require-record: only for a deploy or a drill; use --records=DIR")
    if options.revoked_signers and not options.allowed_signers:
        raise UsageError("--allowed-signers is missing: --revoked-signers needs it")
    if problem := undeclared(target.declared, target.contract_units):
        raise UsageError(f"{path}: {problem}")
    signers = [
        Path(given).expanduser() if given else None for given in (options.allowed_signers, options.revoked_signers)
    ]
    for file in signers:
        if file is not None and not file.is_file():
            raise UsageError(f"{file}: no such file of signers")
    return CutoverAsked(
        step=options.cutover or None,
        repository=Path(options.repo or ""),
        records=Path(options.records or ""),
        allowed_signers=signers[0],
        revoked_signers=signers[1],
        checks=options.checks,
    )


def _gate(options: Options, mode: Mode, target: Target, path: Path) -> Gate | None:
    """Return the record that a deploy requires, after a check of the options and the target file."""
    given = {
        "--require-record": options.require_record,
        "--allowed-signers": options.allowed_signers,
        "--revoked-signers": options.revoked_signers,
    }
    names = [name for name, value in given.items() if value is not None]
    if empty := next((name for name in names if not given[name]), None):
        raise UsageError(f"{empty}= is empty: set a path, or remove it")
    if names and mode not in {Mode.DEPLOY, Mode.DRILL}:
        raise UsageError(f"{names[0]}: only for a deploy or a drill; a run with --{mode} needs no record")
    if not (options.require_record and options.allowed_signers):
        if names:
            missing = next(name for name, value in given.items() if not value)
            raise UsageError(
                f"{missing} is missing: {names[0]} needs --require-record=PATH and --allowed-signers=FILE"
            )
        requires = target.requires
        if requires is None or mode not in {Mode.DEPLOY, Mode.DRILL}:
            return None
        gated = [host.name for host in target.hosts if requires.group not in host.groups]
        if gated:
            raise UsageError(
                f"{path}: requires: a deploy to {', '.join(gated)} needs the signed record of a run of the same "
                f"commit on group {requires.group}: give --require-record=PATH and --allowed-signers=FILE"
            )
        return None
    if not is_full(options.sha or ""):
        raise UsageError(
            f"--sha={options.sha}: --require-record needs the full commit of 40 hexadecimal digits, because a name "
            f"or short form can change its meaning: use the output of `git rev-parse {options.sha}`"
        )
    revoked = Path(options.revoked_signers).expanduser() if options.revoked_signers else None
    allowed = Path(options.allowed_signers).expanduser()
    return Gate(record=Path(options.require_record).expanduser(), allowed_signers=allowed, revoked_signers=revoked)


def _mode(options: Options) -> Mode:
    given = {
        "--audit": options.audit,
        "--plan": options.plan,
        "--preflight": options.preflight,
        "--rollback": options.rollback is not None,
        "--drill": options.drill is not None,
    }
    names = [name for name, is_given in given.items() if is_given]
    if len(names) > 1:
        raise UsageError(
            f"{' and '.join(names)}: use only one of them; an audit verifies what runs, a plan shows what would "
            "change, a preflight shows what would keep a deploy from beginning, a rollback restores an earlier "
            "system, a drill deploys, goes back and deploys again"
        )
    return Mode(names[0].removeprefix("--")) if names else Mode.DEPLOY


def _back_to(asked: str | None) -> str | None:
    """Return the destination of a rollback after a check: a generation's number, a revision, or None."""
    if not asked:
        return None
    if Path(asked).exists():
        raise UsageError(
            f"--rollback {asked}: {asked} is an existing path; write --rollback=REV, or put the option last"
        )
    return asked if is_generation(asked) else check_form(asked, "--rollback")
