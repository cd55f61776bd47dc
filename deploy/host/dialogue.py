"""The dialogue of a run with one host: asks verbs, follows jobs, and reconnects after a lost connection."""

from __future__ import annotations

import base64
import datetime as dt
import math
import re
import secrets
import threading
import time
from collections.abc import Mapping
from contextlib import nullcontext

from switchproof.deploy.connection import (
    AnswerTooLong,
    Completed,
    Connection,
    ConnectionLost,
    ConnectionProblem,
    DeadlineExceeded,
    Provider,
)
from switchproof.deploy.errors import HostUnready, Inconclusive, UsageError
from switchproof.deploy.host import limits
from switchproof.deploy.host.budget import ANSWER_S, Budget
from switchproof.deploy.host.clocks import ClockBounds
from switchproof.deploy.host.first import AskingAhead, Sent
from switchproof.deploy.host.frame import Frame, FrameError, parse
from switchproof.deploy.host.joblog import JobLog
from switchproof.deploy.host.patience import RECONNECT_S, WITHOUT_ANSWER_S, Patience
from switchproof.deploy.host.program import question
from switchproof.deploy.host.waiting import Waiting
from switchproof.deploy.observe.bridge import read_realised
from switchproof.deploy.observe.convergence import Convergence
from switchproof.deploy.observe.earlier import UNREACHED, read_returned
from switchproof.deploy.record.events import ClockSeen, Connected, Happened, LogLine, Noted
from switchproof.deploy.record.facts import Clock
from switchproof.deploy.record.journal import Journal

FOLLOW_S = 5.0
"""Seconds that the host waits for news of a job before it answers without any."""


KNOCK_S = 1.0
"""Seconds between two attempts to open a new connection."""

LET_IN_S = 10.0
"""Seconds, at least, for the answer over a connection that was let in: a busy host answers late."""

TOO_LATE = "the host let one in only after it had begun to go back by itself"
"""The problem of a new connection that the host accepted when it no longer waited for one."""

_NO_LOG = "999999999999"
"""An offset behind the end of every log."""


class Interrupted(Inconclusive):
    """The run was interrupted before the host's answer was complete."""


class Dialogue:
    """The dialogue with one host. Not thread-safe, except for `break_off`.

    Args:
        host: The host's name.
        provider: Makes connections to it.
        journal: Receives lines of the host's logs, and lost connections.
        stop: Set when the run is to end.
        values: Variables of the host's script for every verb.
        budget: The limit on the host's cost; None for no limit.
    """

    def __init__(
        self,
        host: str,
        provider: Provider,
        journal: Journal,
        *,
        stop: threading.Event,
        values: Mapping[str, str],
        budget: Budget | None = None,
    ) -> None:
        self._host, self._provider, self._journal, self._stop, self._values = host, provider, journal, stop, values
        self._connection: Connection | None = None
        self.kind, self._opened = "", 0
        """The kind of the last connection, empty before the first; and the number of connections so far."""
        self._switched, self._opened_before = "", 0
        self.guard = self.boot_id = ""
        """The last reported state of the dead man's switch, and the id of the boot."""
        self.refused = ""
        """Why the last new connection that was tried beside the questions was not accepted; empty if it was."""
        self.questions = 0
        """The number of questions so far; a repeated question counts again."""
        self.began = dt.datetime.now(dt.UTC)
        """When the host began its last answer, by the runner's clock."""
        self._clock = ClockBounds()
        self._patience = Patience()
        self._budget = budget or Budget(host, math.inf)
        self._silences: set[str] = set()

    @property
    def clock(self) -> Clock | None:
        """The offset of the host's clock; None before the first answer that reports it."""
        return self._clock.clock

    def connect(self) -> None:
        """Connect to the host, unless it is connected.

        Raises:
            ConnectionProblem: The host cannot be reached; the message says what was seen and what to try.
        """
        if self._connection is None:
            self._connection = self._open()

    def break_off(self) -> None:
        """Break off the question of another thread. A job on the host continues."""
        if (connection := self._connection) is not None:
            connection.close()

    def hang_up(self) -> None:
        """Close the connection; the next question opens it again."""
        self.break_off()
        self._connection = None

    def ask(
        self,
        verb: str,
        values: Mapping[str, str],
        timeout_s: float = ANSWER_S,
        *,
        waits: str = "",
        retries: bool = True,
    ) -> Frame:
        """Ask the host one verb. A verb may be asked again, because the host begins nothing twice for one run.

        Args:
            verb: A verb of the host's script.
            values: Its variables, besides those for every verb.
            timeout_s: Seconds for one whole answer.
            waits: The state that the host waits for, for the log; empty if it does not wait.
            retries: Whether to try again when the host is lost.

        Raises:
            Inconclusive: There was no usable answer.
        """
        self._patience.begin(retries=retries)
        asked_again = False
        while True:
            try:
                connection, sent = self._reached(), time.time()
                variables = {**self._values, **values, **self._of_connection}
                ahead = self._asked_ahead(verb, variables)
                nonce = ahead.nonce if ahead else secrets.token_hex(8)
                waiting = Waiting(nonce, waits, timeout_s, self._log_line) if waits else None
                hear = waiting.hear if waiting else None
                self.questions += 1
                with self._budget.waiting(), waiting.ticking() if waiting else nullcontext():
                    if ahead:
                        done, sent, received = ahead.answer(hear), ahead.sent, ahead.received
                    else:
                        asked = question(verb, nonce, variables, hear)
                        done, received = connection.run(asked, timeout_s=timeout_s), time.time()
                self._budget.take(len(done.stdout) + len(done.stderr))
                if not (done.stdout or done.stderr or asked_again or self._stop.is_set()):
                    asked_again = True
                    text = f"{verb!r} returned no output (exit status {done.exit_status}); asking again."
                    self._journal.emit(Noted(host=self._host, text=text))
                    self._journal.emit(Happened(host=self._host, kind="asked-again", text=text))
                    continue
                frame = _parse(done, nonce, verb)
                self._patience.answered()
                self._read_clock(frame.get("clock"), sent, received)
            except AnswerTooLong:
                self.hang_up()
                raise
            except (ConnectionLost, DeadlineExceeded) as error:
                self.hang_up()
                if self._stop.is_set():  # the run itself closed the connection
                    raise Interrupted(
                        f"{self._host}: the run was interrupted before {verb!r} was answered"
                    ) from error
                self._journal.emit(Happened(host=self._host, kind="lost", text=str(error)))
                self._patience.note_lost()
                pause_s = self._patience.next_pause_s()
                if pause_s is None or self._stop.wait(pause_s):
                    raise
                text = f"The connection was lost while asking {verb!r}; reconnecting: {error}"
                self._journal.emit(Noted(host=self._host, text=text))
                continue
            if lacking := frame.get("lacking").strip():
                if values.get("SWITCHPROOF_CLAIM"):
                    raise HostUnready(
                        f"{self._host}: the host cannot be deployed to: it lacks the commands {lacking}"
                    )
                raise Inconclusive(f"{self._host}: the host lacks commands that {verb!r} needs: {lacking}")
            return frame

    def _asked_ahead(self, verb: str, values: Mapping[str, str]) -> Sent | None:
        """Return the question if it was sent before the run needed the answer."""
        if not isinstance(self._provider, AskingAhead):
            return None
        return self._provider.asked_ahead(self._host, verb, values)

    def knock(self, within_s: float, over: threading.Event) -> str | None:
        """Open another connection to the host, repeatedly until the time is over.

        Another thread asks questions meanwhile. Only a host that answers them and accepts no new connection is known
        to be at fault, and not the network.

        Args:
            within_s: Seconds.
            over: Set when the other thread's question was answered or has failed.

        Returns:
            Why it accepted none; empty if it did, or if each question needs its own connection anyway; None if
            unknown.
        """
        if self.kind != "ssh":
            return ""
        opened, deadline = self._opened, time.monotonic() + within_s
        while True:
            is_over = over.is_set()
            problem = self.refused = self._try_new_connection(max(LET_IN_S, deadline - time.monotonic()))
            left_s = deadline - time.monotonic()
            if problem.startswith(UNREACHED):
                return problem
            # A host that lets one in within its time goes back for another reason, such as a reboot.
            if not problem or (left_s > 0 if problem == TOO_LATE else self._opened > opened):
                return ""
            if left_s <= 0 and is_over:
                return problem if self._connection else None
            if self._stop.wait(min(KNOCK_S, left_s) if left_s > 0 else KNOCK_S):
                return None

    def _try_new_connection(self, timeout_s: float) -> str:
        """Report a new connection to the host over that connection; return why that failed, empty if it did not."""
        nonce = secrets.token_hex(8)
        job = self._switched
        values = {**self._values, "SWITCHPROOF_JOB": job, "SWITCHPROOF_AFTER": job, "SWITCHPROOF_OFFSET": _NO_LOG}
        try:
            connection = self._provider.connect(self._host)
            try:
                done = connection.run(question("status", nonce, values), timeout_s=timeout_s)
            finally:
                connection.close()
            frame = _parse(done, nonce, "status")
        except (ConnectionProblem, FrameError) as error:
            return str(error)
        if not self._switched or frame.get("guard").strip() not in {"returning", "returned"}:
            return ""
        went_back = read_returned(frame)
        if went_back is None or went_back.run != self._values.get("SWITCHPROOF_RUN"):
            return TOO_LATE
        return went_back.why if went_back.is_unreached else ""

    def note_switch(self, job: str) -> None:
        """Note the job that switched the host, which awaits a new connection from then on; empty if it goes back."""
        self._switched, self._opened_before = job, self._opened

    @property
    def _of_connection(self) -> dict[str, str]:
        """The variable that names the job after whose end the connection began; empty for an earlier connection."""
        is_new = self.kind != "ssh" or self._opened > self._opened_before
        return {"SWITCHPROOF_AFTER": self._switched} if self._switched and is_new else {}

    def run(self, text: str, timeout_s: float) -> Completed:
        """Run a shell text on the host, once.

        Raises:
            ConnectionProblem: The connection was lost, or the time is over.
        """
        self._patience.begin()
        connection = self._reached()
        self.questions += 1
        try:
            with self._budget.waiting():
                completed = connection.run(text.encode(), timeout_s=timeout_s)
            self._budget.take(len(completed.stdout) + len(completed.stderr))
        except AnswerTooLong:
            self.hang_up()
            raise
        except (ConnectionLost, DeadlineExceeded) as error:
            self.hang_up()
            self._patience.note_lost()
            self._journal.emit(Happened(host=self._host, kind="lost", text=str(error)))
            raise
        self._patience.answered()
        return completed

    def follow(self, job: str, timeout_s: float) -> Convergence:
        """Follow a job by offset until it ends; a lost connection is neither success nor failure.

        Args:
            job: The name of the job; `return` is the host's own return, which also waits for its time.
            timeout_s: Seconds after which the host itself stops it.

        Raises:
            Inconclusive: Its result is unknown.
        """
        log = JobLog(self._journal.redact, self._log_line)
        begun, since = False, time.monotonic()
        deadline = time.monotonic() + timeout_s + RECONNECT_S
        while True:
            values = {
                "SWITCHPROOF_JOB": job,
                "SWITCHPROOF_OFFSET": str(log.offset),
                "SWITCHPROOF_WAIT_S": str(FOLLOW_S),
            }
            asked = time.monotonic()
            frame = self._ask_of_job(values, deadline)
            if left := frame.get("guard.left").strip() if job.startswith("return") else "":
                self._log_line(f"goes back by itself in {left} s")
            self.guard, self.boot_id = frame.get("guard").strip(), frame.get("boot_id").strip()
            if not begun and frame.text("stage").strip() in {"install", "switch", "rollback"}:
                begun = True
                self._journal.emit(Happened(host=self._host, kind="switch-begun", text=job))
            piece, size = _log_piece(frame)
            # A job that has ended sends no more log than this, whatever size the host announces.
            ended = frame.text("state") != "running" and (not piece or log.offset + len(piece) >= size)
            log.take(piece, size, last=ended)
            if ended:
                break
            if not piece or log.full:
                self._stop.wait(max(0.0, limits.PAUSE_S - (time.monotonic() - asked)))
            if time.monotonic() > deadline or self._stop.is_set():
                why = "the run was interrupted" if self._stop.is_set() else "its time limit passed"
                raise Interrupted(f"{self._host}: the job {job!r} was still running on the host when {why}")
        for silence in frame.get("silences").splitlines():
            if silence not in self._silences:
                self._silences.add(silence)
                self._journal.emit(Noted(host=self._host, text=f"systemd did not answer on the host: {silence}"))
        text = self._journal.redact(log.text())  # before any part of it is used
        path = self._journal.keep(self._host, f"{job}.log", f"log of the {job}", text)
        status = frame.text("rc").strip()
        if begun:
            how = f"exit status {status}" if status else f"it did not report how it ended ({frame.text('state')})"
            self._journal.emit(Happened(host=self._host, kind="switch-ended", text=f"{job}: {how}"))
        return Convergence(
            finished=frame.text("state") == "finished",
            status=int(status) if re.fullmatch("[0-9]{1,3}", status) else None,
            stage=frame.text("stage").strip(),
            expected=frame.text("expected").strip(),
            profile=frame.get("profile").strip(),
            unit=frame.text("unit"),
            journal=frame.text("journal"),
            log=text,
            log_path=path,
            closure=frame.text("closure") if "closure" in frame.sections else None,
            seconds=round(time.monotonic() - since, 3),
            limit_s=timeout_s,
            installed=read_realised(frame.get("installed")),
            boot_problem=frame.get("boot.problem").strip(),
            failing=tuple(frame.get("failing").split()),
            secrets=tuple(frame.get("secrets").splitlines()),
            restored="restored" in frame.sections,
        )

    def _ask_of_job(self, values: Mapping[str, str], deadline: float) -> Frame:
        """Ask about a job until the budget of all questions is used up, because a lost host may return by itself."""
        for _ in range(math.ceil(WITHOUT_ANSWER_S / RECONNECT_S)):
            try:
                return self.ask("status", values)
            except ConnectionProblem as error:
                final = isinstance(error, UsageError | AnswerTooLong) or self._patience.is_used_up
                if final or self._stop.is_set() or time.monotonic() > deadline:
                    raise
                self.hang_up()
                text = f"Only the host knows how its job ends, so the run keeps asking: {error}"
                self._journal.emit(Noted(host=self._host, text=text))
        return self.ask("status", values)

    def _log_line(self, text: str) -> None:
        self._journal.emit(LogLine(host=self._host, text=text))

    def _reached(self) -> Connection:
        """Return the connection; open it again if it was lost."""
        while self._connection is None:
            try:
                self._connection = self._open()
            except ConnectionProblem as error:
                if isinstance(error, UsageError):  # waiting does not make a wrong host key right
                    raise
                pause_s = self._patience.next_pause_s()
                if pause_s is None or self._stop.wait(pause_s):
                    raise
        return self._connection

    def _open(self) -> Connection:
        connection = self._provider.connect(self._host)
        self.kind, self._opened = connection.facts.kind, self._opened + 1
        self._journal.emit(Connected(host=self._host, connection=connection.facts))
        return connection

    def _read_clock(self, times: str, sent: float, received: float) -> None:
        """Update the clock's offset from the host's times at the beginning and end of its answer."""
        if clock := self._clock.see(times, sent, received):
            self._journal.emit(ClockSeen(host=self._host, clock=clock))
        began = self._clock.began(times) or sent
        self.began = dt.datetime.fromtimestamp(min(max(began, sent), received), dt.UTC)


def _log_piece(frame: Frame) -> tuple[bytes, int]:
    """Return the new piece of a job's log, and the log's size on the host."""
    size = frame.text("log.size").strip()
    if not re.fullmatch("[0-9]{1,15}", size):
        raise FrameError(f"the host's answer to {frame.verb!r} has {size[:40]!r} as the size of the log")
    try:
        return base64.b64decode("".join(frame.text("log").split()), validate=True), int(size)
    except ValueError as error:
        raise FrameError(f"the log in the host's answer to {frame.verb!r} cannot be read: {error}") from error


def _parse(done: Completed, nonce: str, verb: str) -> Frame:
    """Find the frame in a host's output; without one, add its standard error to the message."""
    try:
        return parse(done.stdout, nonce=nonce, verb=verb)
    except FrameError as error:
        stderr = done.stderr[-2000:].decode("utf-8", "replace").strip().splitlines()[-3:]
        if not stderr:
            raise
        raise FrameError(f"{error}; on standard error: {' / '.join(stderr)}") from error
