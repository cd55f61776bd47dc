"""Lists the scenarios of a trial: a commit, changes to host and repository, and what is true then."""

from __future__ import annotations

import enum
from typing import Final

import msgspec

from switchproof.deploy.contract import Clause
from switchproof.deploy.providers.lab.kinds import Shape
from switchproof.deploy.providers.lab.revisions import FAILS_BESIDE


class Truth(enum.StrEnum):
    """What is true of a deploy in a scenario, with which the path's report is compared."""

    GOOD = "good"
    """The commit can be deployed, and is healthy."""
    BAD = "bad"
    """The commit is activated, and the contract does not hold then."""
    REFUSED = "refused"
    """The commit cannot be deployed; nothing may change on the host."""
    CUT = "cut"
    """The connection is cut during the activation; the deploy may succeed or fail, if the path reports which."""
    IMPOSTOR = "impostor"
    """The host has another key than the known one; nothing may be done to it."""
    RIVALS = "rivals"
    """Two deploys of different commits begin at the same time; one of the two may succeed, or one after the other."""
    HANGS = "hangs"
    """An endpoint never answers; a path that waits forever reaches its time limit."""


class Scenario(msgspec.Struct, frozen=True):
    """A scenario of a trial.

    Attributes:
        name: The name for the command line.
        title: The event, as a sentence.
        truth: What is true in it.
        clause: The examined clause of the contract.
        revision: The requested revision of the sample repository; empty for a commit that does not exist.
        amiss: The fault, for the message if the path reports success.
        unit: The faulty unit of the contract, whose journal must be shown: hypervisor, live or dev.
        beside: The failing unit beside the contract's, whose journal counts as well; without `.service`.
        words: The lab's words for the fault of that unit, if the revision does not cause it.
        diagnosed: Whether a failure must come with diagnostics.
        shapes: The shapes of hosts on which it can run.
    """

    name: str
    title: str
    truth: Truth
    clause: Clause
    revision: str = "refs/heads/main"
    amiss: str = ""
    unit: str | None = None
    words: str = ""
    beside: str = ""
    diagnosed: bool = False
    shapes: tuple[Shape, ...] = ("ovh", "aws")


def _bad(
    name: str, title: str, clause: Clause, *, revision: str, amiss: str, unit: str | None = None, beside: str = ""
) -> Scenario:
    ref = f"refs/heads/broken/{revision}"
    return Scenario(name, title, Truth.BAD, clause, ref, amiss, unit, beside=beside, diagnosed=True)


def _unwell(name: str, title: str, *, words: str, amiss: str, truth: Truth = Truth.BAD) -> Scenario:
    unit = name.partition("-")[0]
    return Scenario(name, title, truth, Clause.RUNTIME, amiss=amiss, unit=unit, words=words, diagnosed=True)


def _refused(name: str, title: str, revision: str, amiss: str) -> Scenario:
    ref = f"refs/heads/broken/{revision}"
    return Scenario(name, title, Truth.REFUSED, Clause.CONVERGE, ref, amiss, diagnosed=True)


MOVED: Final = "branch-moved"
OTHER: Final = "refs/tags/v3"
"""The good release to which the branch moves, and that the second of two rivals requests."""

SCENARIOS: Final = (
    Scenario("good", "A good commit is deployed", Truth.GOOD, Clause.CONVERGE),
    Scenario(
        MOVED, "A good commit is deployed while its branch has moved on to a later one", Truth.GOOD, Clause.REVISION
    ),
    Scenario(
        "unknown-commit",
        "The requested commit does not exist",
        Truth.REFUSED,
        Clause.REVISION,
        "",
        "the repository has no such commit",
    ),
    _refused("evaluation-error", "The flake does not evaluate", "evaluation-error", "the flake does not evaluate"),
    _refused("build-failure", "The system does not build", "build-failure", "the system does not build"),
    _bad(
        "activation-failure",
        "The activation script fails",
        Clause.CONVERGE,
        revision="activation-failure",
        amiss="the activation script failed",
    ),
    _bad(
        "new-unit-failing",
        "A unit beside the contract's, new with the commit, fails",
        Clause.CONVERGE,
        revision="new-unit-failing",
        amiss="a unit failed in the switch",
        beside=FAILS_BESIDE,
    ),
    _bad(
        "old-process-kept",
        "The hypervisor changes but is not restarted, so the old process still answers",
        Clause.CONVERGE,
        revision="stale-process",
        amiss="the hypervisor still ran from the earlier system",
        unit="hypervisor",
    ),
    _bad(
        "hypervisor-down",
        "The hypervisor does not start",
        Clause.HYPERVISOR,
        revision="hypervisor-not-starting",
        amiss="the hypervisor did not run",
        unit="hypervisor",
    ),
    _bad(
        "hypervisor-500",
        "The hypervisor answers 500",
        Clause.HYPERVISOR,
        revision="hypervisor-500",
        amiss="the hypervisor answered 500",
        unit="hypervisor",
    ),
    _bad(
        "hypervisor-redirect",
        "The hypervisor redirects to a page that answers 200",
        Clause.HYPERVISOR,
        revision="hypervisor-redirect",
        amiss="the hypervisor answered 303, and only the page behind that 200",
        unit="hypervisor",
    ),
    _bad(
        "live-degraded",
        "live answers 200 and reports that it is degraded",
        Clause.RUNTIME,
        revision="live-degraded",
        amiss='live reported the status "degraded"',
        unit="live",
    ),
    _bad(
        "dev-not-listening",
        "dev does not listen on its port",
        Clause.RUNTIME,
        revision="dev-not-listening",
        amiss="nothing listened on dev's port",
        unit="dev",
    ),
    _bad(
        "dev-workload-dead",
        "The workload of dev is dead while its unit is active, and its forward listens",
        Clause.RUNTIME,
        revision="dev-workload-dead",
        amiss="dev's workload answered nothing",
        unit="dev",
    ),
    _unwell(
        "live-workload-dead",
        "The workload of live is dead while its unit is active, and its forward listens",
        words="sandbox.program=3600",
        amiss="live's workload answered nothing",
    ),
    _unwell(
        "dev-degraded",
        "dev answers 200 and reports that it is degraded",
        words="sandbox.status=degraded",
        amiss='dev reported the status "degraded"',
    ),
    _unwell(
        "live-hangs",
        "live accepts connections and never answers",
        words="sandbox.answer=hang",
        amiss="live never answered",
        truth=Truth.HANGS,
    ),
    Scenario("connection-cut", "The connection is cut while the host is activated", Truth.CUT, Clause.CONVERGE),
    Scenario(
        "host-key-changed",
        "The host has an SSH key other than the known one",
        Truth.IMPOSTOR,
        Clause.CONVERGE,
        shapes=("ovh",),
    ),
    Scenario(
        "second-deploy", "A second deploy, of another commit, begins during the first", Truth.RIVALS, Clause.CONVERGE
    ),
)


def of_shape(shape: Shape) -> tuple[Scenario, ...]:
    """Return the scenarios for a shape of hosts, in order."""
    return tuple(scenario for scenario in SCENARIOS if shape in scenario.shapes)
