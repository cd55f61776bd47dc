"""Chooses the next steps that a run advises, with their commands."""

from __future__ import annotations

import shlex

import msgspec

from switchproof.deploy.contract import ExitCode, HostState, RunVerdict, Verdict
from switchproof.deploy.record.record import Host, Record
from switchproof.reports import causes, reading, text

RETURN = "converge/no-return-is-pending"
"""The id of the check that fails while a host waits for a confirmation."""

_LAB_DOWN = "switchproof lab down"
_COMMANDS = 3
"""Hosts for which a command is shown."""


class Step(msgspec.Struct, frozen=True):
    """A step for a person, and the command that does it; empty if there is none."""

    text: str
    command: str = ""


def next_steps(record: Record, folder: str = "") -> list[Step]:
    """Return what to do after a run, the most urgent first.

    Args:
        record: The run.
        folder: The prefix of evidence paths in the text, such as the run's folder and a slash.
    """
    match record.run.exit_code:
        case ExitCode.CANONICAL if record.run.mode == "plan":
            return [Step("If the plan is what you want, deploy it:", _command(record, sha=True))]
        case ExitCode.CANONICAL if record.run.mode == "preflight":
            return [Step("Nothing to do. Deploy a revision, or plan one first, with --sha=REV.")]
        case ExitCode.SAFE_FAILURE if record.run.mode == "preflight":
            return [Step("Nothing was changed. Correct what was found, and run the preflight again.")]
        case ExitCode.CANONICAL if record.verdict is RunVerdict.WITH_WAIVERS:
            ends = min(waiver.waiver.expires for waiver in record.waivers if waiver.state == "used")
            return [Step(f"Fix what is waived: the first waiver that was used ends at {text.moment(ends)}.")]
        case ExitCode.CANONICAL:
            if record.provider == "lab" and record.run.options.get("lab_keep"):
                return [Step("Nothing to do. The lab's hosts stay up; take them down with:", _LAB_DOWN)]
            if record.provider == "lab":
                kept = "Hosts of `switchproof lab up` stay up; those that this run started are gone."
                return [Step(f"Nothing to do. {kept}")]
            audit = _command(record, "--audit", sha=record.run.mode != "rollback")
            return [Step("Nothing to do. To verify again without changing anything:", audit)]
        case ExitCode.SAFE_FAILURE if reading.waivers_alone(record):
            return [Step("No host needs help. Correct the waivers in the target file and run again.")]
        case ExitCode.SAFE_FAILURE if record.cutover and causes.first_cause(record) is None:
            return [Step("No host needs help. Complete what the cutover lacks, as listed above, and run again.")]
        case ExitCode.SAFE_FAILURE if record.run.mode == "audit":
            return _heal(record)
        case ExitCode.SAFE_FAILURE if reading.split(record):
            moved = (host for host in record.hosts if host.state is HostState.CONVERGED)
            back = [host for host in moved if host.before and host.before.generation]
            return [
                Step("Fix the first cause and deploy to all hosts again."),
                *(
                    Step(f"Or bring {host.name} back to the system that it had before:", _back(record, host))
                    for host in back[:_COMMANDS]
                ),
            ]
        case ExitCode.SAFE_FAILURE:
            return [Step("No host needs help now. Fix the first cause and run again.")]
        case ExitCode.INTERRUPTED:
            return [Step("No host needs help now. To do what was interrupted, run the same command again.")]
        case ExitCode.UNSAFE:
            unsafe = (host for host in record.hosts if host.state is HostState.UNSAFE)
            return [step for host in unsafe for step in _rescue(record, host, folder)]
        case ExitCode.LOCKED:
            return [Step("When no run holds the hosts any longer, run again.")]
        case ExitCode.USAGE:
            refusal = record.run.refusal
            asked = "what was refused" if refusal else "the command line or the target file"
            return [Step(f"Correct {asked} and run again.")]
        case ExitCode.UNSIGNED:
            return [Step("No host needs help. Fix what kept the run from being signed, and run again.")]
        case ExitCode.INCONCLUSIVE if record.run.dirty and record.judged.accepted:
            return [Step("Every check passed. To prove it, commit the tree, and deploy the commit.")]
        case ExitCode.INCONCLUSIVE if record.run.selected:
            return [Step("To audit the whole contract, remove the selection:", _command(record, "--audit"))]
        case _ if remedy := causes.nobody_let_in(record):
            return [Step(remedy)]
        case _:
            return [Step("Find out what the hosts run; this changes nothing:", _command(record, "--audit"))]


def _rescue(record: Record, host: Host, folder: str) -> list[Step]:
    steps = [Step(f"Look at host {host.name} now. Its diagnostics: {folder}evidence/{host.name}/")]
    if host.before and host.before.generation:
        steps.append(
            Step(
                f"To bring {host.name} back to the system that it had before, and verify that:",
                _back(record, host),
            )
        )
    return steps


def _heal(record: Record) -> list[Step]:
    """Return the steps for hosts that an audit found unhealthy."""
    hosts = [host.name for host in record.hosts if host.state is HostState.FOUND_UNHEALTHY]
    if not hosts:
        return [Step("Nothing was changed. Fix the first cause and audit again.")]
    returning = [name for name in hosts if _is_returning(record.host(name))]
    sick = [name for name in hosts if name not in returning]
    steps = []
    if returning:
        switcher = "the run that switched it" if len(returning) == 1 else "the run that switched them"
        will = f"{causes.named(returning)} will go back unless {switcher} confirms."
        steps.append(Step(f"{will} Wait until then, and audit again:", _command(record, "--audit")))
    if sick:
        needs = "needs help" if len(sick) == 1 else "need help"
        steps.append(Step(f"{causes.named(sick)} {needs}. Fix the first cause, or deploy again."))
    return steps + [
        Step(
            f"To bring {host} back to the last system that a canonical run left:",
            _command(record, "--rollback", host=host),
        )
        for host in sick[:_COMMANDS]
    ]


def _is_returning(host: Host) -> bool:
    """Whether the host waits for a confirmation, and so refuses every other run."""
    return any(
        check.id == RETURN and check.verdict is Verdict.FAILED for clause in host.clauses for check in clause.checks
    )


def _back(record: Record, host: Host) -> str:
    assert host.before is not None  # checked by the caller
    return _command(record, f"--rollback={host.before.generation}", host=host.name)


def _command(record: Record, word: str = "", *, sha: bool = False, host: str | None = None) -> str:
    """Format a command for the program that started the run: `switchproof` or pytest."""
    provider = f"--provider={record.provider}"
    parts = ["pytest", provider, *([word] if word else [])]
    if record.run.options.get("args", "").startswith("switchproof "):
        option, _, value = word.partition("=")
        parts = ["switchproof", option.removeprefix("--") or "deploy", provider, *([value] if value else [])]
    if sha and record.revision.sha:
        parts.append(f"--sha={record.revision.sha}")
    options = record.run.options
    if options.get("targets"):
        parts.append(f"--targets={options['targets']}")
    hosts = [host] if host else options.get("host", "").replace(",", " ").split()
    parts += [f"--host={name}" for name in hosts]
    parts += [f"--checks={folder}" for folder in shlex.split(options.get("checks", ""))]
    return shlex.join(parts)
