"""An instance with its agent: its connection, its commands, and the time of its replies."""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from switchproof.deploy.providers.lab.ssm.agent import Agent
from switchproof.deploy.providers.lab.ssm.commands import Command, Pace
from switchproof.deploy.providers.lab.ssm.documents import Script
from switchproof.deploy.providers.lab.ssm.faults import Fault
from switchproof.deploy.providers.lab.ssm.outputs import REBOOT, REPLY_KEPT, Finished, Reply, reply_to

WORKERS = 5
"""Commands that an agent runs at once (CommandWorkersLimit)."""
WAITING = 5
"""Commands that an agent queues besides these; it refuses more until one has ended (CommandWorkerBufferLimit)."""
REBOOTS = 15
"""How often an agent repeats a script that asks for a reboot."""
DELAYED_S = 1.0
"""Seconds after which a command to an unreachable agent is reported as delayed."""
POLL_S = 0.05
VERSION = "3.3.2746.0"
"""The version of the agent that the stand-in claims to be."""


class Instance:
    """An instance with its agent, which may be unreachable.

    Args:
        agent: The agent.
        pace: The durations of AWS and the agent.
        upload: Uploads a command's whole output to its bucket.
    """

    version = VERSION

    def __init__(self, agent: Agent, pace: Pace, upload: Callable[[Command, Finished], None]) -> None:
        self._agent, self._pace, self._upload = agent, pace, upload
        self._workers = ThreadPoolExecutor(WORKERS)
        self._lock = threading.Lock()
        self._taken: set[str] = set()
        self._present: list[Command] = []
        self._rebooting = False
        self._away_since: float | None = None
        self._back_at: float | None = None
        self._restarted = threading.Event()

    @property
    def online(self) -> bool:
        """Whether the agent is reachable."""
        if self._back_at is not None and time.monotonic() >= self._back_at:
            self._away_since = self._back_at = None
        return self._away_since is None

    def go_offline(self) -> None:
        """Disconnect the agent."""
        if self.online:
            self._away_since = time.monotonic()
        self._back_at = None

    def come_back(self) -> None:
        """Connect the agent again, at its next attempt."""
        if self._away_since is None:
            return
        attempt, pause = self._away_since, self._pace.backoff_s
        while pause > 0 and attempt < time.monotonic():
            attempt += pause
            pause = min(2 * pause, self._pace.backoff_max_s)
        self._back_at = attempt

    def begin(self, command: Command) -> None:
        """Start to process a command."""
        threading.Thread(target=self._deliver, args=(command,), daemon=True).start()

    def die(self) -> None:
        """Kill the agent and its workers with their commands; systemd starts a new agent after a while."""
        for command in list(self._present):
            command.died = True
            command.ending.set()
        self.go_offline()
        self._back_at = time.monotonic() + self._pace.back_s

    def restart(self) -> None:
        """Restart the agent; its workers survive, and lost replies are sent again."""
        self.go_offline()
        self._back_at = time.monotonic() + self._pace.restart_s
        self._restarted.set()

    def close(self) -> None:
        """Stop, and forget all commands."""
        self._workers.shutdown(wait=False, cancel_futures=True)
        self._agent.forget()

    def _deliver(self, command: Command) -> None:
        """Deliver a command to the agent as soon as it accepts one, or give up."""
        script = command.document.script(command.request.get("Parameters", {}))
        # A command counts as undelivered only when both of its limits are over (AWS, monitor-commands).
        expires = command.accepted + command.request.get("TimeoutSeconds", 3600) + script.limit_s
        time.sleep(self._pace.pickup_s)
        if Fault.DELIVERY_TIMEOUT in command.faults:
            expires = 0.0
        while not command.ending.is_set():
            if time.monotonic() > expires:
                command.set("TimedOut", "DeliveryTimedOut")
                return
            if Fault.DROPPED not in command.faults and self._take(command, script):
                if Fault.DELIVERED_TWICE in command.faults:
                    self._take(command, script)
                return
            if not self.online and time.monotonic() > command.accepted + DELAYED_S:
                command.set("Delayed")
            time.sleep(POLL_S)
        command.set("Cancelled")

    def _take(self, command: Command, script: Script) -> bool:
        """Deliver a command to the agent, unless it cannot accept it; it ignores a message that it has already."""
        with self._lock:
            if command.id in self._taken:
                return True
            if self._rebooting or not self.online or len(self._present) >= WORKERS + WAITING:
                return False
            self._taken.add(command.id)
            self._present.append(command)
        # The agent acknowledges a command as soon as it has it, even if all of its workers are busy.
        command.set("InProgress")
        self._workers.submit(self._run, command, script)
        if Fault.RUN_TWICE in command.faults:
            self._workers.submit(self._agent.run, command.id, script, "again", command.ending)
        return True

    def _run(self, command: Command, script: Script) -> None:
        try:
            finished = Finished(1, b"", b"") if command.ending.is_set() else self._execute(command, script)
            self._report(command, finished)
        except Exception as error:  # noqa: BLE001 - the command must not seem to run for ever
            command.conclude(Reply("Failed", "Failed", 1, "", f"the stand-in for the agent broke: {error!r}"))
        finally:
            with self._lock:
                if command in self._present:
                    self._present.remove(command)

    def _execute(self, command: Command, script: Script) -> Finished:
        command.began = dt.datetime.now(dt.UTC)
        if Fault.AGENT_DIES in command.faults:
            command.died = True
            threading.Timer(0.3, command.ending.set).start()
        folder = "awsrunShellScript" if command.document.schema == "1.2" else command.document.plugin
        stdout, stderr = b"", b""
        for _ in range(REBOOTS + 1):
            bare = Fault.BARE_PATH in command.faults
            finished = self._agent.run(command.id, script, folder, command.ending, bare_path=bare)
            stdout, stderr = stdout + finished.stdout, stderr + finished.stderr
            if finished.code != REBOOT or command.ending.is_set():
                break
            # It accepts nothing more until the machine has rebooted; here only the time passes.
            self._rebooting = True
            command.ending.wait(self._pace.reboot_s)
            self._rebooting = False
        command.ended = dt.datetime.now(dt.UTC)
        return Finished(finished.code, stdout, stderr, finished.late, finished.problem)

    def _report(self, command: Command, finished: Finished) -> None:
        """Send the agent's reply, which may take long or never arrive."""
        if command.request.get("OutputS3BucketName"):
            if Fault.BUCKET_AWAY in command.faults:
                time.sleep(2 * self._pace.upload_s)  # for each of the two streams, before the reply
            else:
                self._upload(command, finished)
        with self._lock:
            self._present.remove(command)
        if Fault.AGENT_RESTART in command.faults:
            self.restart()
        if command.died:
            self._await_agent()  # a new agent first misses the worker
            time.sleep(self._pace.worker_lost_s)
            command.ended = dt.datetime.now(dt.UTC)
        time.sleep(self._pace.report_s)
        if Fault.REPLY_LOST in command.faults:
            self._restarted.clear()
            self._restarted.wait(self._pace.repeat_s)
        self._await_agent()  # which keeps its reply until it is connected again
        reply = _with_faults(reply_to(finished, cancelled=command.cancelled), command)
        if reply.size > REPLY_KEPT:
            command.ending.wait()  # the reply never arrives; a client cancels the command
            reply = Reply("Cancelled", "Cancelled", -1, "", "")
        command.conclude(reply)

    def _await_agent(self) -> None:
        while not self.online:
            time.sleep(POLL_S)


def _with_faults(reply: Reply, command: Command) -> Reply:
    """Return the final state after a reply."""
    if Fault.UNDELIVERABLE_BUT_RAN in command.faults:
        return Reply("Failed", "Undeliverable", -1, "", "")
    if command.died:
        return Reply("Failed", "Failed", 1, "", "", "document process failed unexpectedly: check its worker's log")
    if Fault.CUT_OUTPUT in command.faults:
        return Reply(reply.status, reply.details, reply.code, reply.stdout[:200], reply.stderr, reply.both)
    return reply
