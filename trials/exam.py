"""Tries a deploy path with scenarios, each on a fresh lab host, some at a time, and judges what was seen."""

from __future__ import annotations

import dataclasses
import os
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from deploy.errors import SwitchproofError
from deploy.plan import LabRuntime, Shape
from deploy.providers.lab.trial.arguments import Arguments
from deploy.providers.lab.trial.seen import Witness
from deploy.providers.lab.trial.stage import Stage
from deploy.providers.lab.trial.subject import Command, Subject, environment
from deploy.redact import Redactor
from trials.judge import Seen, find, judge
from trials.record import ScenarioResult, redacted, unseen, verdict_of
from trials.scenario import MOVED, OTHER, Scenario, Truth

AT_ONCE = 2
"""Scenarios that are tried at the same time."""
NO_SUCH_COMMIT = "5ca1ab1e" * 5
RIVAL_S = 8.0
"""Seconds that a second deploy has to give up, or to get into the first one's way, while that is held."""


class Stopped(SwitchproofError):
    """The trial was interrupted before this was seen."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """What is the same for every scenario of a trial.

    Attributes:
        command: The path on trial.
        shape: Of the hosts.
        runtime: What their sandboxes are.
        environ: The environment of the session.
        folder: Where evidence is kept.
        token: A secret that the path is given: a token for the repository, which needs none.
    """

    command: Command
    shape: Shape
    runtime: LabRuntime
    environ: Mapping[str, str]
    folder: Path
    token: str = dataclasses.field(default_factory=lambda: f"lab-{secrets.token_hex(16)}")


class Exam:
    """Tries scenarios in the background for as long as the block lasts.

    Args:
        setting: What is the same for all.
        redact: Takes secrets out of what is kept.
    """

    def __init__(self, setting: Setting, redact: Redactor) -> None:
        self._setting = setting
        self._redact = redact
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="trial")
        self._stop = threading.Event()
        self._tried: dict[str, Future[ScenarioResult]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def begin(self, scenarios: list[Scenario]) -> None:
        """Begin to try scenarios, in this order."""
        for number, scenario in enumerate(scenarios):
            self._tried[scenario.name] = self._pool.submit(self._try, number, scenario)

    def result(self, name: str) -> ScenarioResult:
        """Wait until a scenario has been tried, and return what came of it."""
        return self._tried[name].result()

    @property
    def results(self) -> list[ScenarioResult]:
        """What has been tried by now."""
        done = [each for each in self._tried.values() if each.done() and not each.cancelled()]
        return [each.result() for each in done if each.exception() is None]

    def _try(self, number: int, scenario: Scenario) -> ScenarioResult:
        began = time.monotonic()
        try:
            seen, evidence = self._see(number, scenario)
        except (SwitchproofError, OSError, ValueError) as error:
            why = f"it could not be tried or seen: {error}"
            return self._result(scenario, began, judgements=unseen(scenario, why), problem=str(error))
        return self._result(
            scenario,
            began,
            judgements=tuple(judge(seen)),
            findings=tuple(find(seen)),
            asked=tuple(ended.asked for ended in seen.ended),
            exit_codes=tuple(ended.exit_code for ended in seen.ended),
            witness=seen.witness,
            evidence=evidence,
        )

    def _result(self, scenario: Scenario, began: float, **known: object) -> ScenarioResult:
        made = ScenarioResult(
            name=scenario.name,
            title=scenario.title,
            truth=scenario.truth,
            clause=scenario.clause,
            verdict=verdict_of(known["judgements"]),  # type: ignore[arg-type]
            seconds=round(time.monotonic() - began, 3),
            **known,  # type: ignore[arg-type]
        )
        return redacted(made, self._redact)

    def _see(self, number: int, scenario: Scenario) -> tuple[Seen, tuple[str, ...]]:
        setting = self._setting
        folder = Path(tempfile.mkdtemp(prefix="switchproof-trial-"))
        name = f"trial-{os.getpid()}-{number}"
        try:
            with Stage.set_up(
                name, token=setting.token, shape=setting.shape, runtime=setting.runtime
            ) as stage:
                self._alive()
                seen = _Attempt(setting, stage, scenario, folder, self._stop.is_set).made()
                self._alive()
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return seen, self._keep(scenario, seen)

    def _alive(self) -> None:
        if self._stop.is_set():
            raise Stopped("the trial was interrupted")

    def _keep(self, scenario: Scenario, seen: Seen) -> tuple[str, ...]:
        folder = self._setting.folder / "evidence" / scenario.name
        folder.mkdir(parents=True, exist_ok=True)
        kept = []
        for name, ended in zip(("output.txt", "output-of-the-second.txt"), seen.ended, strict=False):
            (folder / name).write_text(self._redact(ended.output), encoding="utf-8")
            kept.append(f"evidence/{scenario.name}/{name}")
        return tuple(kept)


class _Attempt:
    """One scenario on its stage."""

    def __init__(
        self, setting: Setting, stage: Stage, scenario: Scenario, folder: Path, given_up: Callable[[], bool]
    ) -> None:
        self._setting = setting
        self._stage = stage
        self._scenario = scenario
        self._folder = folder
        self._given_up = given_up

    def made(self) -> Seen:
        """Prepare, let the path run, look, and return what was seen."""
        stage, scenario = self._stage, self._scenario
        asked = stage.commit(scenario.revision) if scenario.revision else NO_SUCH_COMMIT
        self._prepare()
        before = stage.seen.system()
        cut = False
        with Arguments(stage.secrets()) as arguments:
            match scenario.truth:
                case Truth.CUT:
                    subject, cut = self._cut(asked)
                    subjects = [subject]
                case Truth.RIVALS:
                    subjects = self._rivals(asked, stage.commit(OTHER))
                case _:
                    subjects = [self._run(asked)]
            ended = tuple(subject.end() for subject in subjects)
        # Whoever says success speaks of what there is at that very moment.
        at_once = ended[0].succeeded and scenario.truth is not Truth.RIVALS
        if not at_once and not stage.seen.rest():
            raise SwitchproofError("a switch was still under way long after the path had ended")
        after = stage.seen.system()
        left = [process for subject in subjects for process in subject.leftovers()] + stage.seen.leftovers()
        sent = stage.sent()
        witness = Witness(
            before=before,
            after=after,
            expected=stage.seen.built(asked) if scenario.revision and ended[0].succeeded else "",
            activations=stage.seen.activations(),
            nixos_rebuild=stage.seen.used_nixos_rebuild(),
            requests=stage.seen.requests(),
            restarted=stage.seen.restarted(),
            logins=stage.seen.logins(),
            checkouts=stage.seen.checkouts(),
            leftovers=tuple(left),
            exposed=(
                *arguments.found,
                *(f"{name} was sent to AWS" for name, value in stage.secrets().items() if value in sent),
            ),
            words=stage.words,
            cut=cut,
        )
        return Seen(scenario, ended, witness, stage.units, self._setting.command.limit_s)

    def _prepare(self) -> None:
        stage = self._stage
        if self._scenario.name == MOVED:
            stage.move_branch("main", stage.commit(OTHER))
        match self._scenario.truth:
            case Truth.IMPOSTOR:
                stage.change_host_key()
            case Truth.HANGS:
                stage.let_hang(self._scenario.unit or "live")
            case Truth.CUT | Truth.RIVALS:
                stage.hold_activation()

    def _start(self, asked: str, name: str = "first") -> Subject:
        folder = self._folder / name
        given = environment(self._stage.given(asked, folder), self._setting.environ)
        return Subject.start(self._setting.command, asked=asked, given=given, folder=folder)

    def _run(self, asked: str) -> Subject:
        subject = self._start(asked)
        subject.wait(self._limit(), given_up=self._given_up)
        return subject

    def _cut(self, asked: str) -> tuple[Subject, bool]:
        subject = self._start(asked)
        until = self._limit()
        over = lambda: not subject.running or self._given_up()  # noqa: E731 - two words
        if held := self._stage.await_held(until=until, given_up=over):
            self._stage.cut()
        self._stage.let_go()
        subject.wait(until, given_up=self._given_up)
        return subject, held

    def _rivals(self, asked: str, other: str) -> list[Subject]:
        first = self._start(asked)
        until = self._limit()
        self._stage.await_held(until=until, given_up=lambda: not first.running or self._given_up())
        second = self._start(other, "second")
        second.wait(min(until, time.monotonic() + RIVAL_S), given_up=self._given_up)
        self._stage.let_go()
        for subject in (first, second):
            subject.wait(until, given_up=self._given_up)
        return [first, second]

    def _limit(self) -> float:
        return time.monotonic() + self._setting.command.limit_s
