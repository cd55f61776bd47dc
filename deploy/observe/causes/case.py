"""The known causes of an unhealthy workload, and those that an answer alone shows (pure)."""

from __future__ import annotations

import enum

import msgspec

from switchproof.deploy.observe.answers import json_problem
from switchproof.deploy.observe.health import EndpointSeen

CUT_SHORT = {1, 8, 18, 56, 63}
"""curl's exit codes for an answer that came but cannot be used."""


class Case(enum.StrEnum):
    """The known causes, each as the beginning of a message."""

    KILLED = "the machine's process was killed and started again"
    PANICKED = "the guest's kernel panicked and the machine was started again"
    ENDED = "the machine ended by itself and was started again"
    RESTARTED = "somebody stopped the machine and started it again"
    CRASH_LOOP = "the machine crashes again and again"
    START_LIMIT = "systemd has given the machine up, as it was started too often in a row"
    FAILED = "the machine has failed"
    MACHINE_DOWN = "the machine is down while its forward still listens"
    STOPPED = "the machine's process is stopped by a signal"
    PAUSED = "the machine is paused"
    HALTED = "the machine is halted"
    TAP_OFF_BRIDGE = "the machine's tap is not on its bridge"
    BOOTING = "the machine is still booting"
    UNREACHABLE = "the machine runs and its network does not answer"
    NOT_LISTENING = "the guest's network is up and its program does not listen: it is slow, or has ended"
    HANGING = "the workload accepts connections and never answers"
    GARBLED = "the workload's answer is cut short, too large or no HTTP"
    BAD_STATUS = "the workload answers with an error"
    UNHEALTHY = "the workload says that it is not healthy"
    OTHER_RELEASE = "the machine runs another release than the host"
    CROSSED = "the forward leads to another workload"
    WRONG_ROLE = "the workload itself says that it is another one"
    FORWARD_DOWN = "the forward is down while the workload answers"
    FORWARD_STUCK = "the forward passes nothing on while the workload answers"
    FORWARD_RESTARTED = "the forward was started again"

    CONTAINER_DOWN = "the container is down"
    CONTAINER_STARTING = "the container is still starting"
    CONTAINER_FAILED = "the container has failed"
    CONTAINER_GIVEN_UP = "systemd has given the container up, as it was started too often in a row"
    CONTAINER_LOOP = "the container ends again and again"
    CONTAINER_ENDED = "the container ended and was started again"
    CONTAINER_RESTARTED = "somebody stopped the container and started it again"
    SYSTEMD_SILENT = "the systemd inside the container does not answer"
    NETWORK_DOWN = "the network inside the container is down"
    UNIT_MISSING = "there is no such unit inside the container"
    UNIT_DOWN = "the unit inside is down while its container is up"
    UNIT_FAILED = "the unit inside the container has failed"
    UNIT_GIVEN_UP = "the systemd inside has given the unit up, as it was started too often in a row"
    UNIT_LOOP = "the program inside the container crashes again and again"
    UNIT_KILLED = "the program inside the container was killed and started again"
    UNIT_ENDED = "the program inside the container ended by itself and was started again"
    UNIT_RESTARTED = "somebody stopped the unit inside the container and started it again"
    UNIT_STOPPED = "the program inside the container is stopped by a signal"
    UNIT_NOT_LISTENING = "the program inside the container runs and does not listen: it is slow, or hangs"
    OTHER_RELEASE_INSIDE = "the container runs another release than the host"
    MISTAKEN = "the container runs another workload"


class Cause(msgspec.Struct, frozen=True):
    """The cause of an unhealthy workload: the case, the evidence for it, and a remedy."""

    case: Case
    seen: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.case} ({self.seen})"


def from_answer(endpoint: EndpointSeen, *, mistaken: Case, other_release: Case) -> Cause | None:
    """Find a cause in the content of an answer.

    Args:
        endpoint: The endpoint with its last answer.
        mistaken: The case if another workload answers.
        other_release: The case if the same workload of another release answers.
    """
    last = endpoint.answers[-1] if endpoint.answers else None
    if last is None or last.curl != 0:
        return None
    if last.code != endpoint.want.code:
        return Cause(Case.BAD_STATUS, endpoint.seen)
    for name, peer in endpoint.peers.items():
        # The values that differ between the two identify the other workload.
        marks = {key: value for key, value in peer.json.items() if endpoint.want.json.get(key) != value}
        if marks and endpoint.json_problem(marks) is None:
            direct = endpoint.direct
            itself = direct is not None and direct.curl == 0 and json_problem(direct.body or b"", marks) is None
            if itself and endpoint.want.backend:
                return Cause(
                    Case.WRONG_ROLE, f"asked at {endpoint.want.backend}, it answers as {name}: {endpoint.seen}"
                )
            return Cause(mistaken, f"{name} answers: {endpoint.seen}")
    if problem := endpoint.json_problem(endpoint.want.json):
        return Cause(Case.UNHEALTHY, f"{problem}; {endpoint.seen}")
    if problem := endpoint.json_problem(endpoint.due):
        return Cause(other_release, f"{problem}, as the running system says; {endpoint.seen}")
    return None
