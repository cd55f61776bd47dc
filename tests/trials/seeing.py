"""Made-up observations of a trial: a host on which all went right, which tests change."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec

from switchproof.deploy.providers.lab.revisions import FAILS_BESIDE
from switchproof.deploy.providers.lab.trial.seen import Activation, Ended, Request, System, Witness
from switchproof.trials.case import Seen
from switchproof.trials.scenario import SCENARIOS, Scenario

START = dt.datetime(2026, 11, 23, 12, 0, 0, tzinfo=dt.UTC)
BEFORE, ASKED, OTHER = "a" * 40, "b" * 40, "c" * 40
UNITS = {
    "hypervisor": ("hypervisor.service",),
    "live": ("cloud-hypervisor@live.service", "socat-sandbox@live.service"),
    "dev": ("cloud-hypervisor@dev.service", "socat-sandbox@dev.service"),
}
WORDS = {"hypervisor": "word1", "live": "word2", "dev": "word3", FAILS_BESIDE: "word4"}
LIMIT_S = 60.0

DIAGNOSTICS = """
● hypervisor.service - ChoirOS hypervisor
     Loaded: loaded (/etc/systemd/system/hypervisor.service; linked)
     Active: activating (auto-restart) (Result: exit-code)
Nov 23 12:00:20 choiros-a start[1]: GET /login 500 word1
● cloud-hypervisor@live.service - ChoirOS sandbox live
     Active: active (running)
Nov 23 12:00:20 choiros-a sandbox[1]: GET /health 200 word2
● socat-sandbox@dev.service - Forward
     Active: active (running)
Nov 23 12:00:20 choiros-a sandbox[1]: word3
State  Recv-Q Send-Q Local Address:Port Peer Address:Port
LISTEN 0      64     127.0.0.1:8080     0.0.0.0:*
"""


def at(seconds: float) -> dt.datetime:
    """The time so long after the path began."""
    return START + dt.timedelta(seconds=seconds)


def toplevel(commit: str) -> str:
    """The system of a commit."""
    return f"/nix/store/{commit[:4]}-nixos-system"


def system(commit: str, **other: str) -> System:
    """A host that runs, has set and boots the system of a commit, but for what is said otherwise."""
    top = toplevel(commit)
    made = System(running=top, profile=top, boots=top, generation="2", revision=commit)
    return msgspec.structs.replace(made, **other)


def activation(
    commit: str = ASKED, began: float = 5.0, finished: float | None = 7.0, failed: int | None = None
) -> Activation:
    """A switch to the system of a commit."""
    done = None if finished is None else at(finished)
    return Activation(began=at(began), finished=done, toplevel=toplevel(commit), revision=commit, failed=failed)


def request(endpoint: str, seconds: float, path: str | None = None) -> Request:
    """A request that an endpoint answered."""
    path = path or ("/login" if endpoint == "hypervisor" else "/health")
    return Request(endpoint=endpoint, at=at(seconds), method="GET", path=path, status="200")


def ended(
    code: int | None = 0, *, output: str = "", asked: str = ASKED, after: float = 10.0, cut: bool = False
) -> Ended:
    """How a path ended."""
    return Ended(asked=asked, began=START, ended=at(after), exit_code=code, output=output, cut=cut)


def scenario(name: str) -> Scenario:
    """A scenario by its name."""
    return next(each for each in SCENARIOS if each.name == name)


UNCHANGED: dict[str, Any] = {"after": system(BEFORE), "activations": (), "requests": ()}
"""A host that the path did nothing to."""
PROBES = tuple(request(name, 8.0) for name in UNITS)


def seen(name: str, *runs: Ended, **witness: Any) -> Seen:
    """What was seen of a scenario: a deploy that went well, but for what is said otherwise."""
    good: dict[str, Any] = {
        "before": system(BEFORE),
        "after": system(ASKED),
        "expected": toplevel(ASKED),
        "activations": (activation(),),
        "nixos_rebuild": True,
        "requests": PROBES,
        "words": WORDS,
        "cut": True,
    }
    return Seen(scenario(name), runs or (ended(),), Witness(**(good | witness)), UNITS, LIMIT_S)
