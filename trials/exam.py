"""Runs the scenarios of a trial in the background, two at a time."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from switchproof.deploy.redact.redactor import Redactor
from switchproof.trials.attempt import Setting, attempt
from switchproof.trials.record import ScenarioResult, cannot_run
from switchproof.trials.scenario import Scenario

AT_ONCE = 2
"""Scenarios that run at the same time."""


class Exam:
    """Runs scenarios until the end of the `with` block.

    Args:
        redact: Removes secrets from results and evidence.
    """

    def __init__(self, redact: Redactor) -> None:
        self._redact = redact
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="trial")
        self._stop = threading.Event()
        self._tried: dict[tuple[str, str], Future[ScenarioResult | None]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def begin(self, setting: Setting, scenarios: Iterable[Scenario]) -> None:
        """Start the scenarios, in this order.

        The others wait for the first one, which shows whether the command can be run at all.
        """
        first: Future[ScenarioResult | None] | None = None
        for scenario in scenarios:
            lab = f"trial-{os.getpid()}-{len(self._tried)}"
            future = self._pool.submit(self._try, setting, scenario, lab, first)
            first = first or future
            self._tried[setting.command.text, scenario.name] = future

    def _try(
        self, setting: Setting, scenario: Scenario, lab: str, first: Future[ScenarioResult | None] | None
    ) -> ScenarioResult | None:
        result = first.result() if first else None
        if result is not None and cannot_run([result]):
            return None
        given_up = self._stop.is_set
        return attempt(setting, scenario, lab=lab, redact=self._redact, given_up=given_up, first=result)

    def result(self, setting: Setting, name: str) -> ScenarioResult | None:
        """Wait for the result of a scenario.

        Returns:
            The result; None if it was not tried, because the command could not be run in the first scenario.
        """
        return self._tried[setting.command.text, name].result()

    @property
    def results(self) -> list[ScenarioResult]:
        """The results so far."""
        done = [each for each in self._tried.values() if each.done() and not each.cancelled()]
        results = [each.result() for each in done if each.exception() is None]
        return [result for result in results if result is not None]
