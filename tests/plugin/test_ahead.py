"""When a session connects, and an audit asks: when nothing can refuse it, before its checks are collected."""

import json
import subprocess
import sys
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from switchproof.deploy.connection import Completed, Program
from switchproof.deploy.contract import ExitCode
from tests.own.sessions import Hosts, Scenario, prepare
from tests.own.test_waivers import waiver
from tests.run.hosts import Host

ROOT = Path(__file__).parents[2]
DEADLINE_S = 30.0
SCENARIOS = {
    "audit": (["audit"], Scenario(options=("-q",))),
    "deploy": (["deploy"], Scenario()),
    "listed": (["audit"], Scenario(options=("--collect-only",))),
    "refused": (["audit"], Scenario(options=("-q",), waivers=waiver("converge/no-such-check"))),
    "broken": (["audit"], Scenario(options=("-q",), checks={"test_own.py": "import nothing_of_this_name"})),
    "interrupted": (["audit"], Scenario(options=("-q",))),
}


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What each session did, all in one process of their own."""
    folder = tmp_path_factory.mktemp("ahead")
    command = [sys.executable, "-m", "tests.plugin.test_ahead", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    answers: dict[str, dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return answers


def test_the_hosts_of_a_deploy_are_connected_while_the_checks_are_collected(seen: dict[str, dict[str, Any]]) -> None:
    assert seen["deploy"] == {"status": ExitCode.CANONICAL, "before": True, "asked": False, "connected": True}


def test_the_hosts_of_an_audit_are_asked_while_the_checks_are_collected_and_only_once(
    seen: dict[str, dict[str, Any]],
) -> None:
    expected = {"status": ExitCode.CANONICAL, "before": True, "asked": True, "connected": True}
    assert seen["audit"] == {**expected, "verbs": ["observe"]}


@pytest.mark.parametrize(
    ("name", "status"),
    [("listed", ExitCode.CANONICAL), ("refused", ExitCode.USAGE), ("broken", ExitCode.USAGE)],
)
def test_a_session_that_ends_at_its_checks_connects_to_no_host(
    name: str, status: ExitCode, seen: dict[str, dict[str, Any]]
) -> None:
    assert seen[name] == {"status": status, "before": False, "asked": False, "connected": False}


def test_an_interrupt_before_the_first_check_leaves_no_connection_open(seen: dict[str, dict[str, Any]]) -> None:
    assert seen["interrupted"] == {
        "status": ExitCode.INTERRUPTED,
        "before": True,
        "asked": True,
        "connected": True,
        "closed": True,
    }


class Noted(Hosts):
    """A provider that notes when the first connection is made, and when the first question comes."""

    def __init__(self) -> None:
        super().__init__()
        self.made, self.asked = threading.Event(), threading.Event()

    def connect(self, host: str) -> Host:
        connected = super().connect(host)
        run = connected.run

        def noting(program: Program, *, timeout_s: float) -> Completed:
            self.asked.set()
            return run(program, timeout_s=timeout_s)

        connected.run = noting  # type: ignore[method-assign]
        self.made.set()
        return connected

    @property
    def host(self) -> Host:
        """The only host."""
        return self._hosts["a"]


def observe(name: str, folder: Path) -> dict[str, Any]:
    """Run a session, and note what was connected and asked when its checks had been collected."""
    import switchproof.deploy.providers
    from switchproof import command
    from switchproof.collection.plugin import Collection

    hosts, answer = Noted(), dict[str, Any]()
    verb, scenario = SCENARIOS[name]
    words = [word for word in prepare(folder / name, scenario) if word != "-p" and not word.startswith("no:")]
    collect = Collection.pytest_collection_modifyitems

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def note(self: Collection, config: pytest.Config, items: list[pytest.Item]) -> Generator[None, None, None]:
        answer["before"] = hosts.made.wait(DEADLINE_S if name in {"audit", "deploy", "interrupted"} else 0.0)
        answer["asked"] = hosts.asked.wait(DEADLINE_S if name in {"audit", "interrupted"} else 0.0)
        if name == "interrupted":
            raise KeyboardInterrupt
        yield from collect(self, config, items)

    switchproof.deploy.providers.open_provider = lambda *_, **__: hosts
    Collection.pytest_collection_modifyitems = note  # type: ignore[method-assign]
    try:
        answer["status"] = command.main([*verb, *words])
    finally:
        Collection.pytest_collection_modifyitems = collect  # type: ignore[method-assign]
    answer["connected"] = hosts.made.is_set()
    if name == "audit":
        answer["verbs"] = [question.verb for question in hosts.host.asked]
    if name == "interrupted":
        answer["closed"] = hosts.host.closed.wait(DEADLINE_S)
    return answer


if __name__ == "__main__":
    below = Path(sys.argv[1])
    print("\n" + json.dumps({name: observe(name, below) for name in SCENARIOS}))
