"""Sends commands of SSM Run Command once, waits for them with a deadline, and cancels them."""

from __future__ import annotations

import datetime as dt
import math
import random
import threading
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

import msgspec

from switchproof.deploy.connection import AnswerTooLong, ConnectionLost
from switchproof.deploy.providers.aws import status
from switchproof.deploy.providers.aws.bucket import Bucket
from switchproof.deploy.providers.aws.carrier import TooLong
from switchproof.deploy.providers.aws.clients import THROTTLED, Clients, certainly_not_accepted, code_of, explain
from switchproof.deploy.providers.aws.status import Fate, Reading
from switchproof.deploy.providers.aws.table import Ssm

LISTED_S = 15.0
"""Seconds after which an accepted command appears in AWS's lists, which are only eventually consistent."""
SLACK_S = 10.0
"""Seconds beyond a command's own limits after which the run stops waiting for it."""
ASKED_EVERY_S = 0.75
"""Seconds between two requests for a command's status, with a jitter of a fifth."""
SOON_S, LEAST_S, REQUESTS_PER_S = 4.0, 0.2, 10.0
"""For so many seconds after a command was sent, as most end by then, its status is requested more often: each 0.2 s.
With more than two commands it is less often, ten times a second for all, but never less often than later."""
QUIET_S = 20.0
"""Seconds without an answer after which the wait is reported."""


_LOST_REPLY = "; the agent resends a lost reply every 5 min and when it restarts"


class NotSent(ConnectionLost):
    """AWS has certainly not accepted the command."""


class Abandoned(ConnectionLost):
    """The wait for the answer was stopped from another thread."""


class GivenUp(Exception):
    """The waiting was stopped."""


class Ended(msgspec.Struct, frozen=True):
    """The final status of a command, and the output that SSM returned."""

    command: str
    reading: Reading
    stdout: str = ""
    stderr: str = ""


class Commands:
    """The commands to one instance.

    Args:
        host: The host's name, for errors.
        instance: Its instance id.
        clients: AWS's clients.
        ssm: The target file's table.
        bucket: The bucket for long output.
        say: Receives progress of long steps.
    """

    def __init__(
        self, host: str, instance: str, clients: Clients, ssm: Ssm, *, bucket: Bucket, say: Callable[[str], None]
    ) -> None:
        self._host, self._instance, self._clients, self._ssm = host, instance, clients, ssm
        self._bucket, self._say = bucket, say
        self._stop = threading.Event()

    def run(self, name: str, parameters: Mapping[str, list[str]], limit_s: float, *, bucket: bool = False) -> Ended:
        """Send a command and wait until SSM reports its end; cancel it when its time is over.

        Args:
            name: The name in the command's comment, for a search.
            parameters: The parameters of the document.
            limit_s: Seconds that it may run.
            bucket: Whether to send long output to the bucket, if there is one.

        Raises:
            NotSent: AWS refused it, or could not be reached.
            Abandoned: The waiting was stopped.
            ConnectionLost: It is unknown whether it was sent.
        """
        try:
            self._pause(0)
            began = time.monotonic()
            bucket = bucket and self._bucket.usable
            command = self._send(name, parameters, bucket=bucket)
            self._clients.awaited.add(command)
            try:
                return self._await(command, began, limit_s, bucket=bucket)
            finally:
                self._clients.awaited.discard(command)
        except GivenUp:
            raise self._abandoned() from None

    def stop(self) -> None:
        """Stop all waits for good, from another thread."""
        self._stop.set()

    @property
    def long_output(self) -> bool:
        """Whether an answer may be longer than SSM returns."""
        return self._bucket.usable

    def rest(self, seconds: float) -> None:
        """Wait a while.

        Raises:
            Abandoned: The waiting was stopped.
        """
        if self._stop.wait(seconds):
            raise self._abandoned()

    def _send(self, name: str, parameters: Mapping[str, list[str]], *, bucket: bool) -> str:
        request: dict[str, Any] = {
            "InstanceIds": [self._instance],
            "DocumentName": self._ssm.document,
            "Parameters": parameters,
            "TimeoutSeconds": math.ceil(self._ssm.start_s),
            "Comment": f"switchproof {name}",
        }
        if self._ssm.document_version:
            request["DocumentVersion"] = self._ssm.document_version
        if bucket:
            request |= {"OutputS3BucketName": self._bucket.name, "OutputS3KeyPrefix": self._bucket.prefix}
        give_up = time.monotonic() + self._ssm.start_s
        pace = _Pace(5.0)
        while True:
            asked = dt.datetime.now(dt.UTC)
            try:
                return str(self._clients.sends.send_command(**request)["Command"]["CommandId"])
            except Exception as error:
                if not certainly_not_accepted(error):
                    return self._find(name, asked, error)
                if code_of(error) not in THROTTLED or time.monotonic() > give_up:
                    what, remedy = explain(error)
                    raise NotSent(
                        self._host, f"{self._instance}: the command was not sent: {what}", remedy
                    ) from error
            self._pause(pace.next_s())

    def _find(self, name: str, asked: dt.datetime, error: Exception) -> str:
        """Search a command when it is unknown whether AWS accepted it."""
        since = (asked - dt.timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%SZ")
        give_up = time.monotonic() + LISTED_S
        problem: Exception = error
        pace = _Pace(2.0)
        while time.monotonic() < give_up:
            try:
                pages = self._clients.reads.get_paginator("list_commands").paginate(
                    InstanceId=self._instance, Filters=[{"key": "InvokedAfter", "value": since}]
                )
                for page in pages:
                    for command in page["Commands"]:
                        if command.get("Comment") == f"switchproof {name}":
                            return str(command["CommandId"])
            except Exception as unreadable:  # noqa: BLE001 - the search is repeated until the time is over
                problem = unreadable
            self._pause(pace.next_s())
        raise self._lost(
            f"it is unknown whether AWS accepted the command ({explain(error)[0]}): AWS does not list it"
            + ("" if problem is error else f" ({explain(problem)[0]})"),
            "Try again: the command runs at most once, even if it is sent again.",
        ) from error

    def _await(self, command: str, began: float, limit_s: float, *, bucket: bool) -> Ended:
        sent = time.monotonic()
        started: float | None = None
        reading = Reading(Fate.UNCERTAIN, "SSM has not reported a status")
        pace = _Pace(ASKED_EVERY_S, self._clients.awaited)
        quiet_until = sent + QUIET_S
        slack_s = SLACK_S + (self._bucket.extra_s if bucket else 0.0)
        while not self._stop.wait(pace.next_s()):
            now = time.monotonic()
            try:
                answer = self._clients.reads.get_command_invocation(CommandId=command, InstanceId=self._instance)
            except Exception as error:  # noqa: BLE001 - the status is requested again
                if code_of(error) in THROTTLED:
                    pace.slow_down(5.0)
                if code_of(error) != "InvocationDoesNotExist" or now > sent + LISTED_S:
                    reading = Reading(Fate.UNCERTAIN, f"SSM did not report the command's status: {explain(error)[0]}")
            else:
                reading = status.read(answer)
                if reading.fate is not Fate.WAIT:
                    return self._read(command, reading, answer, bucket=bucket)
                if started is None and answer.get("Status") == "InProgress":
                    started = now
            give_up = sent + self._ssm.start_s + SLACK_S if started is None else started + limit_s + slack_s
            if now > give_up:
                waited = f"given up {self._cancel(command)} after {now - began:.0f} s"
                return Ended(command, Reading(Fate.UNCERTAIN, f"{waited}; the last status was: {reading.text}"))
            if now > quiet_until:
                quiet_until = math.inf
                self._say(
                    f"{self._host}: waiting for {'the end' if started else 'the start'} of command {command} on "
                    f"{self._instance}, for at most {give_up - now:.0f} s before asking the host; {reading.text}"
                    + (_LOST_REPLY if started else "")
                )
        self._cancel(command)
        raise GivenUp

    def _cancel(self, command: str) -> str:
        """Ask AWS to cancel a command, and describe the result; the host knows whether it ended."""
        try:
            self._clients.reads.cancel_command(CommandId=command, InstanceIds=[self._instance])
        except Exception as error:  # noqa: BLE001 - the host is asked in any case
            return f"and not cancelled ({explain(error)[0]})"
        return "and cancelled"

    def _read(self, command: str, reading: Reading, answer: Mapping[str, Any], *, bucket: bool) -> Ended:
        stdout = str(answer.get("StandardOutputContent") or "")
        if bucket and reading.fate is Fate.READ and stdout:
            self._bucket.check(command, self._instance)
            if self._bucket.usable and "truncated" in stdout[-40:]:
                try:
                    stdout = self._bucket.fetch(command, self._instance) or stdout
                except TooLong as error:
                    raise AnswerTooLong(self._host, str(error)) from error
        return Ended(command, reading, stdout, str(answer.get("StandardErrorContent") or ""))

    def _pause(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise GivenUp

    def _abandoned(self) -> Abandoned:
        return Abandoned(
            self._host,
            f"{self._instance}: given up",
            "A command may still run there; check the host before you try again.",
        )

    def _lost(self, what: str, remedy: str) -> ConnectionLost:
        return ConnectionLost(self._host, f"{self._instance}: {what}", remedy)


class _Pace:
    """The pause between two requests: short at first, at most about `longest_s`, with jitter.

    Args:
        longest_s: Seconds.
        awaited: The commands of the run whose ends are awaited, if it is the end of one that is requested.
        clock: Returns the seconds since any moment.
    """

    def __init__(
        self, longest_s: float, awaited: Collection[str] = (), clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._longest_s, self._awaited, self._clock = longest_s, awaited, clock
        self._soon_until = clock() + SOON_S if awaited else 0.0
        self._pause_s = longest_s if awaited else 0.25

    def slow_down(self, longest_s: float) -> None:
        """Request less often from now on."""
        self._longest_s, self._soon_until = longest_s, 0.0

    def next_s(self) -> float:
        jitter = random.uniform(0.8, 1.2)  # noqa: S311 - spreads requests, hides nothing
        if self._clock() < self._soon_until:
            return min(max(LEAST_S, len(self._awaited) / REQUESTS_PER_S), self._longest_s) * jitter
        pause = self._pause_s * jitter
        self._pause_s = min(self._pause_s * 1.5, self._longest_s)
        return pause
