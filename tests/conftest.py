"""What all tests share: tests of many inputs have no deadline, and programs stand beside the interpreter."""

from __future__ import annotations

import operator
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.sampling import counted

if TYPE_CHECKING:
    from xdist.workermanage import WorkerController

_LEFT_OUT = pytest.StashKey[Counter[str]]()
_SAMPLED = pytest.StashKey[list[str]]()
_WORTH_TELLING_S = 10.0


def pytest_configure() -> None:
    """Let a busy machine take its time, and find `just` and the like though no environment is activated.

    Hundreds of sessions are started from this source: they share its compiled modules, as installed ones do.
    A deploy never calls this, and may lack hypothesis.
    """
    from hypothesis import settings

    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    settings.register_profile("busy", deadline=None)
    settings.load_profile("busy")


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    """Note what is left out, in the process that collects it."""
    items[0].config.stash.setdefault(_LEFT_OUT, Counter()).update(folder_of(item.nodeid) for item in items)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Note how many of the cases of each sampled kind are tried."""
    session.config.stash[_SAMPLED] = counted(session.items)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Let the process that prints know what a worker left out."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left_out"] = dict(session.config.stash.get(_LEFT_OUT, {}))
        session.config.workeroutput["sampled"] = session.config.stash.get(_SAMPLED, [])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: WorkerController) -> None:
    """Take over what a worker left out: each of them collects the same tests."""
    output = getattr(node, "workeroutput", {})
    if left_out := output.get("left_out"):
        node.config.stash[_LEFT_OUT] = Counter(left_out)
    if lines := output.get("sampled"):
        node.config.stash[_SAMPLED] = lines


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print where the time went and what was left out, by folder of tests, and what was only sampled."""
    seconds: defaultdict[str, float] = defaultdict(float)
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                seconds[folder_of(report.nodeid)] += report.duration
    if sum(seconds.values()) >= _WORTH_TELLING_S:
        terminalreporter.section("where the time went, all workers together")
        for folder, spent in sorted(seconds.items(), key=operator.itemgetter(1), reverse=True):
            terminalreporter.line(f"{spent:7.1f} s  {folder}")
    if left_out := config.stash.get(_LEFT_OUT, None):
        terminalreporter.section("left out; `just test-all` runs all tests")
        for folder, number in left_out.most_common():
            terminalreporter.line(f"{number:7}    {folder}")
    if lines := config.stash.get(_SAMPLED, None):
        terminalreporter.section("sampled")
        for line in lines:
            terminalreporter.line(line)


def folder_of(nodeid: str) -> str:
    """Return the folder below tests/ that a test stands in, or its file there."""
    return "/".join(nodeid.split("::", maxsplit=1)[0].split("/")[:2])
