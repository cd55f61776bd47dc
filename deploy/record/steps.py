"""The steps of the cutover and what is proven of them, as data."""

from __future__ import annotations

import datetime as dt
import enum
from typing import Annotated

import msgspec

from switchproof.deploy.contract import Verdict

Time = Annotated[dt.datetime, msgspec.Meta(tz=True)]

TITLES = ("AWS is canonical", "OVH is ready", "OVH is production", "AWS is gone")
"""What is true after each step, in order."""


class Lack(enum.StrEnum):
    """Why something does not count: nobody has shown it, it was seen to be otherwise, or it could not be seen."""

    ABSENT = "absent"
    REFUTED = "refuted"
    UNSEEN = "unseen"


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """What proves something of a step.

    Attributes:
        what: What is proven.
        run: The run whose record shows it; empty for this audit itself.
        folder: Where that run's record is, from the folder of runs.
        when: When that run ended.
        commit: The commit that it is about, None for none.
        signer: The allowed signer whose signature stands on it, None where none was asked for.
        emulated: Whether a stand-in took the place of the real provider.
    """

    what: str
    run: str = ""
    folder: str = ""
    when: Time
    commit: str | None = None
    signer: str | None = None
    emulated: bool = False


class Missing(msgspec.Struct, frozen=True, kw_only=True):
    """What is missing for a step, in a sentence that says what to do."""

    lack: Lack
    words: str


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One step of the cutover.

    Attributes:
        number: From 1.
        title: What is true after it.
        proven: Whether it is proven, and so are all before it.
        proofs: What was proven of it.
        missing: What is missing of it.
    """

    number: int
    title: str
    proven: bool
    proofs: tuple[Proof, ...] = ()
    missing: tuple[Missing, ...] = ()


class Cutover(msgspec.Struct, frozen=True, kw_only=True):
    """How far the cutover is.

    Attributes:
        steps: The four steps, in order.
        reached: The last step that is proven with all before it; 0 for none.
        before: The last step that an earlier audit had proven.
        demanded: The step that this audit was asked to prove, None for none.
        backwards: Whether it has been seen that a step that was proven holds no more.
        verdict: Whether what was asked for is so; it counts in the verdict of the run.
        words: That in a sentence.
        repository: Where the deploy paths were read.
        records: The folder of the records.
        signed: Whether only signed records counted.
    """

    steps: tuple[Step, ...]
    reached: int
    before: int
    demanded: int | None
    backwards: bool
    verdict: Verdict
    words: str
    repository: str
    records: str
    signed: bool
