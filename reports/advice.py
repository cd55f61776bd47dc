"""What a person does after a run."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from deploy.contract import ExitCode, HostState, RunVerdict
from deploy.record import Host, Record
from reports import reading, text


@dataclass(frozen=True)
class Step:
    """Something to do, and the command that does it, if there is one."""

    text: str
    command: str = ""


def next_steps(record: Record, folder: str = "") -> list[Step]:
    """Say what to do next, the most urgent first.

    Args:
        record: The run.
        folder: What stands before the path of an evidence file, such as the run's folder and a slash.
    """
    match record.run.exit_code:
        case ExitCode.CANONICAL if record.run.mode == "plan":
            return [Step("If the plan is what you want, deploy it:", _command(record, sha=True))]
        case ExitCode.CANONICAL if record.verdict is RunVerdict.WITH_WAIVERS:
            ends = min(one.waiver.expires for one in record.waivers if one.state == "used")
            return [Step(f"Mend what is waived: the first waiver that was used ends at {text.moment(ends)}.")]
        case ExitCode.CANONICAL:
            if record.provider == "lab":
                return [Step("Nothing to do. The lab's hosts are gone with the run, unless they were up before.")]
            audit = _command(record, "--audit", sha=record.run.mode != "rollback")
            return [Step("Nothing to do. To verify again without changing anything:", audit)]
        case ExitCode.SAFE_FAILURE if reading.waivers_alone(record):
            return [Step("No host needs help. Put the waivers of the target file right and run again.")]
        case ExitCode.SAFE_FAILURE:
            return [Step("No host needs help now. Repair the first cause and run again.")]
        case ExitCode.UNSAFE:
            unsafe = (host for host in record.hosts if host.state is HostState.UNSAFE)
            return [step for host in unsafe for step in _rescue(record, host, folder)]
        case ExitCode.LOCKED:
            who = reading.first_cause(record)
            said = f" ({text.one_line(who.check.message)})" if who and who.check.started else ""
            return [Step(f"Wait until the other deploy has ended{said}, then run again.")]
        case ExitCode.USAGE:
            return [Step("Nothing was touched. Correct the command line or the target file and run again.")]
        case _:
            return [Step("Find out what the hosts run; this changes nothing:", _command(record, "--audit"))]


def _rescue(record: Record, host: Host, folder: str) -> list[Step]:
    steps = [Step(f"Look at host {host.name} now. Its diagnostics: {folder}evidence/{host.name}/")]
    if host.before and host.before.generation:
        steps.append(
            Step(
                f"To bring {host.name} back to the system that it had before, and verify that:",
                _command(record, f"--rollback={host.before.generation}", host=host.name),
            )
        )
    return steps


def _command(record: Record, *words: str, sha: bool = False, host: str | None = None) -> str:
    parts = ["pytest", f"--provider={record.provider}", *words]
    if sha and record.revision.sha:
        parts.append(f"--sha={record.revision.sha}")
    options = record.run.options
    if options.get("targets"):
        parts.append(f"--targets={options['targets']}")
    hosts = [host] if host else options.get("host", "").replace(",", " ").split()
    parts += [f"--host={name}" for name in hosts]
    parts += [f"--checks={folder}" for folder in shlex.split(options.get("checks", ""))]
    return shlex.join(parts)
