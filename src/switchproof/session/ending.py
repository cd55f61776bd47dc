"""Decides the exit code of a run, and writes and signs its record."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from pathlib import Path

import msgspec

from switchproof.deploy.contract import ExitCode, HostState, RunVerdict, Verdict, combine, exit_code
from switchproof.deploy.errors import SwitchproofError
from switchproof.deploy.plan import Mode, Plan
from switchproof.deploy.record.fold import proven
from switchproof.deploy.record.record import Record, write_record
from switchproof.deploy.trust.attestation import RECORD, attest

_UNTOUCHED = {HostState.UNCHANGED, HostState.FOUND_HEALTHY, HostState.FOUND_UNHEALTHY}
_SAFE = {*_UNTOUCHED, HostState.ROLLED_BACK, HostState.CONVERGED}


class Ending(msgspec.Struct, frozen=True):
    """Everything that decides the exit code of a session.

    Attributes:
        mode: What the run does.
        begun: Whether the run reached the point of asking hosts.
        pytest_code: The code that pytest would end with.
        locked: Whether a host was refused because another deploy has it.
        refused: Whether the run was refused because of what was requested.
        interrupted: Whether it was ended early.
        selected: Whether the command line left checks out.
        unreported: Whether something of the report could not be written.
        unsigned: Whether a signature was asked for and could not be made.
    """

    mode: Mode
    begun: bool
    pytest_code: ExitCode
    locked: bool = False
    refused: bool = False
    interrupted: bool = False
    selected: bool = False
    unreported: bool = False
    unsigned: bool = False

    def code(self, record: Record) -> ExitCode:
        """Return the code; pytest's own only where it leaves no host in doubt."""
        code = self._code(record)
        if code in {ExitCode.CANONICAL, ExitCode.SAFE_FAILURE} and (self.unreported or self.selected):
            return ExitCode.INCONCLUSIVE
        if code is ExitCode.CANONICAL and record.run.dirty and self.mode is not Mode.PLAN:
            return ExitCode.INCONCLUSIVE
        if code is ExitCode.CANONICAL and self.unsigned and record.verdict is RunVerdict.CANONICAL:
            return ExitCode.UNSIGNED
        return code

    def _code(self, record: Record) -> ExitCode:
        states: AbstractSet[HostState] = {host.state for host in record.hosts}
        untouched = self.mode is Mode.AUDIT or states <= _UNTOUCHED
        safe = self.mode is Mode.AUDIT or states <= _SAFE
        if not self.begun or (self.pytest_code is ExitCode.INTERNAL and safe):
            return self.pytest_code
        if self.mode is Mode.PREFLIGHT:
            return self._preflight(record)
        if self.locked and untouched:
            return ExitCode.LOCKED
        if self.refused and untouched:
            return ExitCode.USAGE
        if self.interrupted and safe:
            return ExitCode.INTERRUPTED
        if self.mode is Mode.PLAN:
            all_passed = all(verdict is Verdict.PASSED for verdict in _verdicts(record))
            return ExitCode.CANONICAL if all_passed else ExitCode.INCONCLUSIVE
        # An audit leaves no host in doubt: what it could not see is in its verdict.
        return exit_code(proven(record), states - {HostState.UNKNOWN} if self.mode is Mode.AUDIT else states)

    def _preflight(self, record: Record) -> ExitCode:
        """Return the code of a preflight, which leaves every host as it was."""
        if self.interrupted:
            return ExitCode.INTERRUPTED
        seen = combine(_verdicts(record))
        if seen is Verdict.PASSED:
            return ExitCode.CANONICAL
        # A waiver lets no deploy begin.
        return ExitCode.SAFE_FAILURE if seen in {Verdict.FAILED, Verdict.WAIVED} else ExitCode.INCONCLUSIVE


def _verdicts(record: Record) -> list[Verdict]:
    return [check.verdict for host in record.hosts for part in host.clauses for check in part.checks]


def keep_record(record: Record, folder: Path) -> str:
    """Write the record of a run. Return the reason if it could not be written; else an empty text."""
    try:
        write_record(record, folder / RECORD)
    except OSError as error:
        (folder / f"{RECORD}.partial").unlink(missing_ok=True)
        return f"{RECORD}: {error.strerror}"
    return ""


def sign_record(record: Record, folder: Path, plan: Plan) -> str:
    """Sign the record of a run as its plan asks. Return the reason if it could not be signed; else an empty text."""
    if plan.sign_key is None:
        return ""
    try:
        attest(record, folder, plan.sign_key, plan.targets_file, plan.targets_sha256)
    except (SwitchproofError, OSError) as error:
        return str(error)
    return ""
