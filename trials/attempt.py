"""Tries a deploy path with one scenario on a fresh lab host."""

from __future__ import annotations

import datetime as dt
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
from msgspec.structs import replace

from switchproof.deploy.contract import Verdict
from switchproof.deploy.errors import SwitchproofError
from switchproof.deploy.providers.lab.kinds import Runtime, Shape
from switchproof.deploy.providers.lab.trial.arguments import Arguments
from switchproof.deploy.providers.lab.trial.seen import System, Witness
from switchproof.deploy.providers.lab.trial.stage import Stage
from switchproof.deploy.providers.lab.trial.subject import Command, Subject, environment
from switchproof.deploy.redact.redactor import Redactor
from switchproof.trials import account
from switchproof.trials.case import NOT_FOUND, Seen, how
from switchproof.trials.findings import find
from switchproof.trials.judge import LOG_DELAY_S, judge
from switchproof.trials.record import Cause, ScenarioResult, fails_anyway, redacted, unseen, verdict_of
from switchproof.trials.scenario import MOVED, OTHER, Scenario, Truth

SHOWN = 500_000
"""Characters kept of an output's beginning, and of its end; the whole output is judged."""
FIRST = "refs/tags/v1"
"""The release that each host runs before the scenario."""
NO_SUCH_COMMIT = "5ca1ab1e" * 5
CUT_S = 2.0
"""Seconds after a cut during which the host stays unchanged, so that a premature success is seen to be untrue."""
RIVAL_S = 8.0
"""Seconds that a second deploy has to give up or to disturb the first one, while that is held."""


class Stopped(SwitchproofError):
    """The trial was interrupted before the end of a scenario."""


class NotPrepared(SwitchproofError):
    """The path did not deploy the first system of the scenario."""

    def __init__(self, message: str, cause: Cause | None) -> None:
        super().__init__(message)
        self.cause = cause


class Setting(msgspec.Struct, frozen=True):
    """The settings that all scenarios of a trial share.

    Attributes:
        command: The deploy path on trial.
        shape: The shape of the hosts.
        runtime: The kind of their sandboxes.
        environ: The environment of the session.
        folder: The folder for evidence.
        sets_first: Whether the path deploys the first system of each host itself, before the scenario.
        token: A secret for the path: a token for the repository, which does not need one.
    """

    command: Command
    shape: Shape
    runtime: Runtime
    environ: Mapping[str, str]
    folder: Path
    sets_first: bool = False
    token: str = msgspec.field(default_factory=lambda: f"lab-{secrets.token_hex(16)}")


def attempt(
    setting: Setting,
    scenario: Scenario,
    *,
    lab: str,
    redact: Redactor,
    given_up: Callable[[], bool],
    first: ScenarioResult | None = None,
) -> ScenarioResult:
    """Try one scenario; a failure of the trial itself leaves the examined clauses open.

    Args:
        setting: The deploy path and the hosts.
        scenario: The scenario.
        lab: The name of the lab to make.
        redact: Removes secrets from the result and the evidence.
        given_up: Whether nobody waits for the result any more.
        first: The result of the first scenario, in any other one.
    """
    began = time.monotonic()
    made = ScenarioResult(
        name=scenario.name,
        title=scenario.title,
        truth=scenario.truth,
        clause=scenario.clause,
        verdict=Verdict.INCONCLUSIVE,
        seconds=0.0,
    )
    try:
        seen = _see(setting, scenario, lab, given_up)
        seen = replace(seen, fails_anyway=fails_anyway(first))
        judgements = tuple(judge(seen))
        made = replace(
            made,
            findings=tuple(find(seen)),
            prepared=account.prepared(seen),
            host_saw=account.host_saw(seen),
            path_said=account.path_said(seen),
            asked=tuple(ended.asked for ended in seen.ended),
            exit_codes=tuple(ended.exit_code for ended in seen.ended),
            witness=seen.witness,
            evidence=_keep(setting.folder, seen, redact),
        )
    except (SwitchproofError, OSError, ValueError, AssertionError) as error:
        cause = error.cause if isinstance(error, NotPrepared) else None
        judgements = unseen(scenario, f"it could not be tried or seen: {error}", cause)
        made = replace(made, problem=str(error) or repr(error))
    seconds = round(time.monotonic() - began, 3)
    made = replace(made, judgements=judgements, verdict=verdict_of(judgements), seconds=seconds)
    return redacted(made, redact)


def _see(setting: Setting, scenario: Scenario, lab: str, given_up: Callable[[], bool]) -> Seen:
    folder = Path(tempfile.mkdtemp(prefix="switchproof-trial-"))
    try:
        with Stage.set_up(lab, token=setting.token, shape=setting.shape, runtime=setting.runtime) as stage:
            under_way = _Attempt(setting, stage, scenario, folder, given_up)
            try:
                seen = under_way.made()
            except BaseException:
                under_way.abandon()
                raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if given_up():
        raise Stopped("the trial was interrupted")
    return seen


def _keep(parent: Path, seen: Seen, redact: Redactor) -> tuple[str, ...]:
    """Keep the path's output and files, and return their paths below the trial's folder."""
    name = seen.scenario.name
    folder = parent / "evidence" / name
    folder.mkdir(parents=True, exist_ok=True)
    kept = []
    for file, ended in zip(("output.txt", "output-of-the-second.txt"), seen.ended, strict=False):
        (folder / file).write_text(redact(_middle_cut(ended.output)), encoding="utf-8")
        kept.append(f"evidence/{name}/{file}")
    return tuple(kept)


def _middle_cut(text: str) -> str:
    """Return the beginning and the end of a text, with the number of characters missing between them."""
    missing = len(text) - 2 * SHOWN
    return text if missing <= 0 else f"{text[:SHOWN]}\n[{missing} characters are left out here]\n{text[-SHOWN:]}"


class _Attempt:
    """A run of one scenario on its stage."""

    def __init__(
        self, setting: Setting, stage: Stage, scenario: Scenario, folder: Path, given_up: Callable[[], bool]
    ) -> None:
        self._setting = setting
        self._stage = stage
        self._scenario = scenario
        self._folder = folder
        self._given_up = given_up
        self._started: list[Subject] = []
        self._then: System | None = None  # the host's system when the path ended, if it is known already

    def made(self) -> Seen:
        """Prepare the host, run the path, and return what was seen."""
        stage, scenario = self._stage, self._scenario
        asked = stage.commit(scenario.revision) if scenario.revision else NO_SUCH_COMMIT
        if self._setting.sets_first:
            self._set_first(stage.commit(FIRST))
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
        # A path that reports success makes a claim about the system at that very moment.
        at_once = ended[0].succeeded and scenario.truth is not Truth.RIVALS
        if not at_once and not stage.seen.rest():
            raise SwitchproofError("a switch was still under way long after the path had ended")
        after = (self._then if at_once else None) or stage.seen.system()
        left = [process for subject in subjects for process in subject.leftovers()] + stage.seen.leftovers()
        if scenario.truth is Truth.GOOD:
            # A program logs a request after its answer, so the path's last probe may not be in the log yet.
            time.sleep(max(0.0, LOG_DELAY_S - (dt.datetime.now(dt.UTC) - ended[0].ended).total_seconds()))
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
                *arguments.findings,
                *(f"{name} was sent to AWS" for name, value in stage.secrets().items() if value in sent),
            ),
            words=stage.words,
            cut=cut,
            limits=stage.seen.limits(),
        )
        return Seen(scenario, ended, witness, stage.units, self._limit_s, self._setting.sets_first)

    def abandon(self) -> None:
        """Kill the started processes, whose result nobody needs."""
        for subject in self._started:
            subject.kill()

    def _set_first(self, commit: str) -> None:
        """Let the path deploy the first release, and wait until it serves.

        Raises:
            NotPrepared: The release does not run.
        """
        stage = self._stage
        ended = self._run(commit, "before").end()
        system = stage.seen.system()
        if not ended.succeeded or not system.whole or system.revision != commit:
            limits = stage.seen.limits()
            problem = f"the path did not deploy the first system (--subject-first): it {how(ended, self._limit_s)}"
            not_run = ended.exit_code in NOT_FOUND and not stage.seen.activations()
            cause = Cause.LAB if limits else Cause.CANNOT_RUN if not_run else None
            raise NotPrepared(f"{problem}; {limits[0]}" if limits else problem, cause)
        stage.host.wait_serving()
        stage.seen.note_before()

    def _prepare(self) -> None:
        stage = self._stage
        if self._scenario.name == MOVED:
            stage.move_branch("main", stage.commit(OTHER))
        if self._scenario.unit and self._scenario.words:
            stage.let_behave(self._scenario.unit, self._scenario.words)
        match self._scenario.truth:
            case Truth.IMPOSTOR:
                stage.change_host_key()
            case Truth.CUT | Truth.RIVALS:
                stage.hold_activation()

    def _start(self, asked: str, name: str = "first") -> Subject:
        folder = self._folder / name
        given = environment(self._stage.given(asked, folder), self._setting.environ)
        subject = Subject.start(self._setting.command, asked=asked, given=given, folder=folder)
        self._started.append(subject)
        return subject

    def _run(self, asked: str, name: str = "first") -> Subject:
        subject = self._start(asked, name)
        subject.wait(self._limit(), given_up=self._given_up)
        return subject

    def _cut(self, asked: str) -> tuple[Subject, bool]:
        subject = self._start(asked)
        until = self._limit()
        over = lambda: not subject.running or self._given_up()  # noqa: E731 - two words
        if held := self._stage.await_held(until=until, given_up=over):
            self._stage.cut()
            subject.wait(min(until, time.monotonic() + CUT_S), given_up=self._given_up)
            self._then = None if subject.running else self._stage.seen.system()
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

    @property
    def _limit_s(self) -> float:
        return self._setting.command.limit_s

    def _limit(self) -> float:
        return time.monotonic() + self._limit_s
