"""Tries a deploy path with scenarios in the background, some at a time."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from switchproof.deploy.redact.redactor import Redactor
from switchproof.trials.attempt import Setting, attempt
from switchproof.trials.record import ScenarioResult
from switchproof.trials.scenario import Scenario

AT_ONCE = 2
"""Scenarios that are tried at the same time."""


class Exam:
    """Tries for as long as the block lasts.

    Args:
        redact: Takes secrets out of what is kept.
    """

    def __init__(self, redact: Redactor) -> None:
        self._redact = redact
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="trial")
        self._stop = threading.Event()
        self._tried: dict[tuple[str, str], Future[ScenarioResult]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def begin(self, setting: Setting, scenarios: Iterable[Scenario]) -> None:
        """Begin to try a path with scenarios, in this order."""
        for scenario in scenarios:
            future = self._pool.submit(
                attempt,
                setting,
                scenario,
                lab=f"trial-{os.getpid()}-{len(self._tried)}",
                redact=self._redact,
                given_up=self._stop.is_set,
            )
            self._tried[setting.command.text, scenario.name] = future

    def result(self, setting: Setting, name: str) -> ScenarioResult:
        """Wait until a path has been tried with a scenario, and return what came of it."""
        return self._tried[setting.command.text, name].result()

    @property
    def results(self) -> list[ScenarioResult]:
        """What has been tried by now."""
        done = [each for each in self._tried.values() if each.done() and not each.cancelled()]
        return [each.result() for each in done if each.exception() is None]
