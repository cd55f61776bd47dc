"""The steps of the cutover with their proofs, as published data (pure)."""

from __future__ import annotations

import datetime as dt
import enum
from typing import Annotated

import msgspec

from switchproof.deploy.contract import Verdict

Time = Annotated[dt.datetime, msgspec.Meta(tz=True)]

TITLES = ("AWS is canonical", "OVH is ready", "OVH is production", "AWS is gone")
"""The state after each step, in order."""


class Lack(enum.StrEnum):
    """Why a proof is missing: nothing shows it, the opposite was seen, or it could not be seen."""

    ABSENT = "absent"
    REFUTED = "refuted"
    UNSEEN = "unseen"


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """A proof of a part of a step.

    Attributes:
        what: The proven statement.
        run: The run whose record shows it; empty for this audit itself.
        folder: The folder of that run's record, from the folder of runs.
        when: When that run ended.
        commit: The commit of that run; None without one.
        signer: The allowed signer who signed it; None if no signature was required.
        emulated: Whether a stand-in replaced the real provider.
    """

    what: str
    run: str = ""
    folder: str = ""
    when: Time
    commit: str | None = None
    signer: str | None = None
    emulated: bool = False


class Missing(msgspec.Struct, frozen=True, kw_only=True):
    """A missing proof of a step, as a sentence that says what to do."""

    lack: Lack
    words: str


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One step of the cutover.

    Attributes:
        number: From 1.
        title: The state after it.
        proven: Whether it and all steps before it are proven.
        proofs: Its proofs.
        missing: Its missing proofs.
    """

    number: int
    title: str
    proven: bool
    proofs: tuple[Proof, ...] = ()
    missing: tuple[Missing, ...] = ()


class Cutover(msgspec.Struct, frozen=True, kw_only=True):
    """The progress of the cutover.

    Attributes:
        steps: The four steps, in order.
        reached: The last step that is proven, with all before it; 0 without one.
        before: The last step that an earlier audit had proven.
        demanded: The step that this audit must prove; None without one.
        backwards: Whether a step that was proven no longer holds.
        verdict: Whether the demanded step is proven; it counts in the verdict of the run.
        words: The verdict as a sentence.
        repository: The repository whose deploy paths were read.
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
