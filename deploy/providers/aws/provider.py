"""The provider `aws`: finds each host's instance, checks that SSM reaches it, and runs programs there."""

from __future__ import annotations

import contextlib
import math
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from switchproof.deploy.connection import (
    AnswerTooLong,
    AuthenticationFailed,
    Completed,
    ConnectionFacts,
    ConnectionLost,
    ConnectionProblem,
    DeadlineExceeded,
    Program,
    Question,
    RootRefused,
    Unreachable,
)
from switchproof.deploy.errors import Inconclusive, UsageError
from switchproof.deploy.providers.aws import carrier, sending
from switchproof.deploy.providers.aws.bucket import Bucket
from switchproof.deploy.providers.aws.carrier import Answer, Errand, Load, Mangled, TooLong
from switchproof.deploy.providers.aws.clients import Clients, code_of, explain
from switchproof.deploy.providers.aws.commands import Abandoned, Commands, Ended, NotSent
from switchproof.deploy.providers.aws.document import fixed_values, parameters
from switchproof.deploy.providers.aws.status import Fate
from switchproof.deploy.providers.aws.table import RUN_SHELL_SCRIPT, AwsHost, Ssm
from switchproof.deploy.providers.elevation import IS_ROOT, Elevation
from switchproof.deploy.target.types import Host, Target

LOOK_S = 20.0
"""Seconds for a check on the host of a question's state."""
LEAST_S = 5
"""Seconds; the agent treats a shorter limit as an hour."""
AT_ONCE = 4
"""Pieces of output or input that travel in parallel; an agent runs five commands at once."""


class AwsProvider:
    """Reaches the hosts of a target file through SSM Run Command.

    Args:
        target: The hosts, with instance ids or tags.
        prove: Whether every instance first runs a command that proves the connection; otherwise the first question
            does.
        emulated: Receives once a stand-in for AWS, and what it does not model.
        say: Receives progress of long steps, and missing features.

    Raises:
        UsageError: There is no region, no credentials or no such profile.
    """

    def __init__(
        self,
        target: Target,
        *,
        prove: bool,
        emulated: Callable[[str, tuple[str, ...]], None],
        say: Callable[[str], None],
    ) -> None:
        self._target = target
        self._ssm = target.table(Ssm)
        self._hosts = {host.name: host for host in target.hosts}
        self._prove = prove
        self._clients = Clients(self._ssm, emulated)
        self._lock = threading.Lock()
        self._caller = ""
        self._proved: set[str] = set()
        self._were_root: set[str] = set()
        self._say = say
        self._buckets = {name: self._bucket(name) for name in self._hosts}

    def connect(self, host: str) -> AwsConnection:
        """Find the host's instance and check that SSM reaches it; see `Provider.connect`."""
        caller = self._who_am_i(host)
        instance = self._find(self._hosts[host], caller)
        commands = Commands(host, instance, self._clients, self._ssm, bucket=self._buckets[host], say=self._say)
        user = self._ssm.user or "root"
        facts = ConnectionFacts(kind="ssm", address=instance, user=user, become="sudo" if self._ssm.user else "")
        connection = AwsConnection(host, commands, self._target, facts, self._were_root)
        if self._prove and host not in self._proved:
            connection.prove()
            self._proved.add(host)
        return connection

    def close(self) -> None:
        """Nothing is held open."""

    def _bucket(self, host: str) -> Bucket:
        ssm = self._ssm
        return Bucket(ssm.bucket or "", ssm.prefix, self._open_bucket, lambda text: self._say(f"{host}: {text}"))

    def _open_bucket(self) -> Any:
        return self._clients.bucket()

    def _who_am_i(self, host: str) -> str:
        with self._lock:
            if not self._caller:
                try:
                    me = self._clients.sts.get_caller_identity()
                except Exception as error:
                    what, remedy = explain(error)
                    raise AuthenticationFailed(
                        host, f"AWS did not report whose credentials these are: {what}", remedy
                    ) from error
                who = f"{me.get('Arn', 'somebody')} in account {me.get('Account', 'unknown')}"
                self._caller = f"{who}, region {self._clients.region}"
            return self._caller

    def _find(self, host: Host, caller: str) -> str:
        """Find the host's instance, which SSM must know and report as online."""
        own = host.part(AwsHost)
        if own.instance:
            filters, named = [{"Key": "InstanceIds", "Values": [own.instance]}], f"the instance {own.instance}"
        else:
            filters = [{"Key": f"tag:{key}", "Values": [value]} for key, value in own.tags.items()]
            named = "an instance with the tags " + ", ".join(f"{key}={value}" for key, value in own.tags.items())
        try:
            pages = self._clients.reads.get_paginator("describe_instance_information").paginate(Filters=filters)
            entries = [entry for page in pages for entry in page.get("InstanceInformationList", [])]
        except Exception as error:
            if code_of(error) in {"InvalidInstanceId", "InvalidInstanceInformationFilterValue"}:
                entries = []
            else:
                what, remedy = explain(error)
                raise Unreachable(
                    host.name, f"SSM did not report whether it knows {named}: {what}", remedy
                ) from error
        return _only(host.name, entries, named, caller)


def _only(host: str, entries: list[dict[str, Any]], named: str, caller: str) -> str:
    """Return the only instance among SSM's entries for a host, after checks."""
    if not entries:
        raise Unreachable(
            host,
            f"SSM does not know {named} ({caller})",
            "Check that account and region are right, the instance and its amazon-ssm-agent run, and its role has "
            "AmazonSSMManagedInstanceCore.",
        )
    if not all(entry.get("InstanceId") for entry in entries):
        raise Unreachable(
            host,
            f"SSM reported {named} without its id",
            "Check that AWS_ENDPOINT_URL_SSM names an endpoint of AWS.",
        )
    if len(entries) > 1:
        ids = ", ".join(sorted(entry["InstanceId"] for entry in entries))
        raise _Ambiguous(
            host, f"{named} is not one instance but {ids}", "Set hosts.instance, or tags that only this instance has."
        )
    entry = entries[0]
    if entry.get("PlatformType") != "Linux":
        raise _Ambiguous(
            host, f"{named} runs {entry.get('PlatformType')}, not Linux", "Name a Linux instance in the target file."
        )
    if entry.get("PingStatus") != "Online":
        last = entry.get("LastPingDateTime")
        raise Unreachable(
            host,
            f"{entry['InstanceId']} is {entry.get('PingStatus')}; its last ping was at {last or 'an unknown time'}",
            "Check that the instance runs, and run `systemctl status amazon-ssm-agent` on it.",
        )
    return str(entry["InstanceId"])


class _Ambiguous(ConnectionProblem, UsageError):
    """The target file's host is not exactly one Linux instance."""


class AwsConnection:
    """A connection to one instance; each program is a command of its own.

    Args:
        host: The host's name.
        commands: The instance's commands.
        target: The target file.
        facts: The properties of the connection.
        were_root: The hosts on which the user became root in this run; this one is added to them.
    """

    def __init__(
        self, host: str, commands: Commands, target: Target, facts: ConnectionFacts, were_root: set[str]
    ) -> None:
        self.host = host
        self.facts = facts
        self._commands = commands
        self._ssm = target.table(Ssm)
        self._fixed = fixed_values(target)
        self._were_root = were_root

    def run(self, program: Program, *, timeout_s: float) -> Completed:
        """Run a program; see `Connection.run`. Before an answer counts as lost, the host is asked for it."""
        try:
            return self._run(program, timeout_s)
        except TooLong as error:
            raise AnswerTooLong(self.host, str(error)) from error

    def feed(self, command: str, chunks: Iterable[bytes], *, stall_s: float) -> Completed:
        """Send a stream in pieces, and run a command with it once the host has checked all; see `Feeding.feed`.

        Raises:
            Inconclusive: The stream is longer than what is sent through SSM.
        """
        name, content = secrets.token_hex(8), sending.pack(self.host, chunks)
        programs = sending.pieces(name, content)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            ended = list(pool.map(lambda program: self.run(program, timeout_s=stall_s), programs))
        if failed := next((done for done in ended if done.exit_status != 0), None):
            return failed
        return self.run(sending.last(name, content, command), timeout_s=stall_s)

    def _run(self, program: Program, timeout_s: float) -> Completed:
        began = time.monotonic()
        load = Load.of(program, self._ssm.user)
        if self._restricted and not isinstance(program, Question):
            raise Inconclusive(
                f"{self.host}: the document {self._ssm.document} runs only the verbs of host-switch.sh"
            )
        # A question's script is the largest part of a command, and the host keeps it until its next boot.
        question, answer = self._ask(load, timeout_s, whole=not isinstance(program, Question))
        if answer.outcome == "needs":  # nothing was run
            question, answer = self._ask(load, timeout_s, whole=True)
        if answer.outcome in {"needs", "corrupt"}:
            raise Inconclusive(
                f"{self.host}: the program did not arrive complete ({answer.outcome}); "
                + (
                    f"create the document {self._ssm.document} again, because it contains another version"
                    if self._restricted
                    else "check that /run on the host has free space"
                )
            )
        stdout = self._collect(question, answer)
        status = int(answer.status) if re.fullmatch("[0-9]{1,3}", answer.status) else None
        if self._ssm.user:
            stdout = self._without_marker(stdout, answer, self._ssm.user)
        return Completed(stdout, answer.stderr, status, time.monotonic() - began)

    def _without_marker(self, stdout: bytes, answer: Answer, user: str) -> bytes:
        """Return what a program printed after root's shell had begun.

        Raises:
            RootRefused: The user did not become root there.
            NotRoot: The same, after that worked in this run.
        """
        marker, _, printed = stdout.partition(b"\n")
        if marker == IS_ROOT:
            self._were_root.add(self.host)
            return printed
        elevation = Elevation(self.host, "sudo", user)
        error = elevation.refused(elevation.begin(), answer.stderr, f"exit status {answer.status}")
        raise error if self.host in self._were_root else RootRefused(self.host, error.what, error.remedy)

    def prove(self) -> None:
        """Run a command that does nothing, as a proof.

        Raises:
            Unreachable: The instance did not run it; the message says why.
        """
        question = secrets.token_hex(8)
        ended = self._send(carrier.look(question), LOOK_S, bucket=True)
        try:
            carrier.parse(ended.stdout, question)
        except Mangled as error:
            raise Unreachable(
                self.host,
                f"SSM reports the instance online, but it did not run a command: {ended.reading.text}: "
                f"{ended.stderr.strip() or error}",
                "Read `journalctl -u amazon-ssm-agent` on it.",
            ) from error

    def close(self) -> None:
        """Stop waiting. A command on the host continues or is cancelled."""
        self._commands.stop()

    @property
    def _restricted(self) -> bool:
        return self._ssm.document != RUN_SHELL_SCRIPT

    def _ask(self, load: Load, timeout_s: float, *, whole: bool) -> tuple[str, Answer]:
        """Run a program once, and return its question and answer."""
        question = secrets.token_hex(8)
        give_up = time.monotonic() + timeout_s + self._ssm.start_s
        limit = carrier.UNLIMITED if self._commands.long_output else carrier.PIECE
        errand = carrier.ask(question, load, whole=whole, limit=limit, patience_s=math.ceil(timeout_s))
        try:
            ended = self._send(errand, timeout_s, bucket=True)
            why = ended.reading.text
            with contextlib.suppress(Mangled):
                answer = carrier.parse(ended.stdout, question)
                if answer.outcome not in {"running", "lost"}:
                    return question, answer
            if ended.stderr.strip():
                why += f": {ended.stderr.strip()[-300:]}"
            cut_off = ended.reading.fate in {Fate.CUT_OFF, Fate.UNCERTAIN}
        except (NotSent, Abandoned):
            raise
        except ConnectionLost as error:
            # It may have run nevertheless; only the host knows.
            why, cut_off = str(error), False
        return question, self._look_for(question, why, give_up, cut_off=cut_off)

    def _look_for(self, question: str, why: str, give_up: float, *, cut_off: bool) -> Answer:
        """Ask the host for the state of a question whose answer did not arrive."""
        while True:
            answer = self._look(question, why)
            match answer.outcome:
                case "answered":
                    return answer
                case "running" if time.monotonic() < give_up:
                    self._commands.rest(1.0)
                case "running":
                    raise DeadlineExceeded(
                        self.host,
                        f"no complete answer in time: {why}",
                        f"The command still runs there as process {answer.status}; check the host first.",
                    )
                case "unknown":
                    raise ConnectionLost(
                        self.host,
                        f"the host did not get the command: {why}",
                        "The host started nothing, and will start nothing if the command arrives later.",
                    )
                case _:
                    kind = DeadlineExceeded if cut_off else ConnectionLost
                    raise kind(
                        self.host,
                        f"the program ended without an answer: {why}",
                        "It no longer runs there; check what it left before you try again.",
                    )

    def _look(self, question: str, why: str) -> Answer:
        try:
            ended = self._send(carrier.withdraw(question), LOOK_S)
            return carrier.parse(ended.stdout, question)
        except (Mangled, ConnectionLost) as error:
            raise ConnectionLost(
                self.host,
                f"{why}; and the host did not report the command's status: {error}",
                "A command may still run there; check the host before you try again.",
            ) from error

    def _collect(self, question: str, answer: Answer) -> bytes:
        """Fetch the rest of the output that did not fit into one answer, and check that it is complete."""
        pieces = {0: answer.piece}
        offsets = list(range(len(answer.piece), answer.size, carrier.PIECE))
        for batch in (offsets[first : first + AT_ONCE] for first in range(0, len(offsets), AT_ONCE)):
            problems: list[Exception] = []

            def fetch(offset: int, problems: list[Exception] = problems) -> None:
                try:
                    ended = self._send(carrier.look(question, offset=offset), LOOK_S)
                    pieces[offset] = carrier.parse(ended.stdout, question).piece
                except (Mangled, TooLong, ConnectionProblem) as error:
                    problems.append(error)

            threads = [threading.Thread(target=fetch, args=(offset,), daemon=True) for offset in batch]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            if problems:
                raise ConnectionLost(self.host, f"part of the output did not arrive: {problems[0]}", "Try again.")
        try:
            return carrier.whole_output(answer, b"".join(pieces[offset] for offset in sorted(pieces)))
        except Mangled as error:
            raise ConnectionLost(self.host, str(error), "Try again.") from error

    def _send(self, errand: Errand, limit_s: float, *, bucket: bool = False) -> Ended:
        seconds = max(LEAST_S, math.ceil(limit_s))
        if self._restricted:
            given = parameters(errand, self._fixed, seconds)
        else:
            given = {"commands": [errand.text()], "executionTimeout": [str(seconds)]}
        return self._commands.run(errand.question, given, limit_s, bucket=bucket)
